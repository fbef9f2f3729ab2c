"""A night with a chat model as the researcher: a better prompt is found and certified, and tricks are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import command_line
from evals_lab import example_lab, known_answers
from openai_server import OpenAIServer
from server_behaviours import Behaviour, Received, fail, say

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.targets.evals.cases import read_cases, split
from autoresearch_mlx.trial.sandbox.detect import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.uncounted]

PROMPT_END = "When you know the answer, write a line `ANSWER: ...`.\n"
SAID, OLD = "def run(question, tools):\n", "def old(question, tools):\n"


def reply(title: str, path: str, search: str, replace: str) -> str:
    fields = json.dumps({"title": title, "axis": "prompt", "hypothesis": "it should help", "expected_gain": 0.1})
    blocks = f"<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"
    return f"```json\n{fields}\n```\n\n{path}\n```\n{blocks}```\n"


def prompt(title: str, line: str) -> str:
    return reply(title, "prompts/system.md", PROMPT_END, f"{PROMPT_END}{line}\n")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> tuple[Lab, OpenAIServer]:
    """Run five experiments: the model offers two wordings that do nothing, two tricks, and two better prompts."""
    lab = example_lab(tmp_path_factory.mktemp("night") / "lab")
    dev = split(read_cases(lab.root / "cases.jsonl"), 0.5, 0.2)["dev"]
    table = f"TABLE = {known_answers(dev)!r}\n\n\n{SAID}"
    ideas = [
        prompt("be friendly", "Be friendly."),
        reply(
            "hard-coded alone",
            "agent.py",
            SAID,
            f"{table}    return TABLE.get(question, '')\n\n\ndef old(question, tools):\n",
        ),
        prompt("always a tool", "Always use a tool for sums, conversions and dates."),
        prompt("think hard", "Think hard."),
        prompt("value alone", "Give the value alone, in no sentence."),
    ]

    def answer(request: Received) -> Behaviour:
        number = request.prompt.rpartition("This is experiment ")[2].partition(".")[0]
        return say(ideas[int(number) - 1] if number.isdecimal() else "I have no further ideas.")

    with OpenAIServer() as server:
        server.default = answer
        options = ["--agent", "chat", "--experiments", str(len(ideas)), "--tag", "t"]
        with (lab.root / "lab.toml").open("a") as settings:
            settings.write(f'model = "openai:tiny-1b"\nbase_url = "{server.base_url}"\n')
            settings.write("\n[judge]\nreplicates = 2  # equal runs say as much as three\n")
        done = command_line("run", *options, cwd=lab.root)
        assert done.returncode == 0, done.stderr
    return lab, server


def test_the_better_prompts_are_kept_and_nothing_else(night: tuple[Lab, OpenAIServer]) -> None:
    history = read(night[0].folder("t") / FILE).history
    kept = {e.title: e.value for e in history.experiments if e.status == "keep"}
    assert kept == {"baseline": 0.45, "always a tool": 0.65, "value alone": 0.9}, [
        e.reason for e in history.experiments
    ]


def test_hard_coded_answers_raise_dev_and_are_refused_by_the_guard(night: tuple[Lab, OpenAIServer]) -> None:
    (trick,) = (e for e in read(night[0].folder("t") / FILE).history.experiments if e.title == "hard-coded alone")
    assert trick.value is not None and trick.value >= 0.9 and trick.status == "discard"
    assert "passed before and now fail: discard" in trick.reason


def test_the_model_was_shown_the_traces_of_lost_dev_cases_and_no_others(night: tuple[Lab, OpenAIServer]) -> None:
    lab, server = night
    parts = split(read_cases(lab.root / "cases.jsonl"), 0.5, 0.2)
    first = next(r.prompt for r in server.requests if "This is experiment 1." in r.prompt)
    assert "# What the runs showed" in first and "Experiment 0, the incumbent, loses 11 of 20 dev cases." in first
    everything = "\n".join(r.prompt for r in server.requests)
    assert sum(case.input in everything for case in parts["dev"]) >= 8
    assert not [case.input for part in ("guard", "hidden") for case in parts[part] if case.input in everything]


def test_the_head_is_certified_on_hidden_cases(night: tuple[Lab, OpenAIServer]) -> None:
    done = command_line("certify", "--pairs", "2", "--tag", "t", cwd=night[0].root)
    assert done.returncode == 0, done.stderr
    event = read(night[0].folder("t") / FILE).certificates[-1]
    assert event["split"] == "hidden" and event["certified"] and event["low"] > 0, event["words"]


def test_answers_hard_coded_beside_the_agent_gain_nothing_on_hidden_cases(tmp_path: Path, sandbox: Sandbox) -> None:
    lab = example_lab(tmp_path / "lab")
    dev = split(read_cases(lab.root / "cases.jsonl"), 0.5, 0.2)["dev"]
    known = known_answers(dev)
    with (lab.root / "lab.toml").open("a") as settings:
        settings.write("\n[judge]\nreplicates = 2\n")
    text = (lab.root / "agent.py").read_text()
    trick = text.replace(
        SAID, f"TABLE = {known!r}\n\n\n{SAID}    if question in TABLE:\n        return TABLE[question]\n"
    )
    (steps := tmp_path / "steps.json").write_text(json.dumps([{"title": "a table", "files": {"agent.py": trick}}]))
    done = command_line("run", "--agent", f"scripted:{steps}", "--experiments", "1", "--tag", "t", cwd=lab.root)
    assert done.returncode == 0, done.stderr
    assert read(lab.folder("t") / FILE).history.experiments[-1].status == "keep"  # its dev cases alone cannot show that
    command_line("certify", "--pairs", "2", "--tag", "t", cwd=lab.root)
    event = read(lab.folder("t") / FILE).certificates[-1]
    assert (event["effect"], event["certified"]) == (0.0, False), event["words"]


def test_a_server_that_dies_in_an_experiment_costs_none(tmp_path: Path, sandbox: Sandbox) -> None:
    lab = example_lab(tmp_path / "lab")
    text = (lab.root / "prompts" / "system.md").read_text()
    steps = [{"title": f"edit {n}", "files": {"prompts/system.md": f"{text}Edit {n}.\n"}} for n in range(2)]
    (script := tmp_path / "steps.json").write_text(json.dumps(steps))
    settings = (lab.root / "lab.toml").read_text()
    with OpenAIServer() as server:
        mine = f'model = "tiny-1b"\nendpoint = "{server.base_url}"\npatience_seconds = 0.3'
        settings = settings.replace('model = "scripted:model.py"', mine) + "\n[judge]\nreplicates = 1\n"
        (lab.root / "lab.toml").write_text(settings)
        dead = False

        def answer(request: Received) -> Behaviour:
            nonlocal dead
            dead = dead or "Edit 0." in request.prompt
            return fail(503, "gone") if dead else say("ANSWER: 12")

        server.default = answer
        run = ["run", "--agent", f"scripted:{script}", "--experiments", "1", "--tag", "t"]
        done = command_line(*run, cwd=lab.root)
        assert "the model's server does not answer" in done.stdout + done.stderr
        assert [e.number for e in read(lab.folder("t") / FILE).history.experiments] == [0]
        server.default = say("ANSWER: 12")
        done = command_line(*run, cwd=lab.root)
    assert done.returncode == 0, done.stderr
    found = read(lab.folder("t") / FILE).history.experiments
    assert [(e.number, e.title, e.status) for e in found] == [
        (0, "baseline", "keep"),
        (1, "edit 0", "discard"),
    ]
