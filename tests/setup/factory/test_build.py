"""A model may write the agent and its prompts, and nothing else; a hostile build has no effect outside its lab."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from ollama_server import OllamaServer

from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.setup.factory.asking import Unfit
from autoresearch_mlx.setup.factory.build import AGENT, AgentModel, files_in, fixed_files, lay_out, parse_fault
from autoresearch_mlx.setup.factory.ledger import Problem
from autoresearch_mlx.setup.factory.model import staff
from autoresearch_mlx.setup.factory.verify import verify
from autoresearch_mlx.trial.sandbox.detect import Sandbox

RUN = "def run(question, tools):\n    return question\n"
SPEC = {"title": "Repeat", "input": "a word", "output": "it twice", "solved": "it is there twice", "tools": []}
COUNTS = {"dev": 4, "guard": 2, "hidden": 4}


def quiet(text: str) -> None:
    pass


@pytest.mark.parametrize(
    ("reply", "files"),
    [
        (f"agent.py\n```python\n{RUN}```\n", {AGENT: RUN}),
        (f"Sure!\n\n**`agent.py`**\n\n```py\n{RUN}```\nDone.", {AGENT: RUN}),
        (f"### File: agent.py\r\n```\r\n{RUN}```\r\n", {AGENT: RUN}),
        (f"```python\n{RUN}```", {AGENT: RUN}),
        (
            f"prompts/system.md\n```\nBe brief.\n```\n\nagent.py\n```python\n{RUN}```",
            {"prompts/system.md": "Be brief.\n", AGENT: RUN},
        ),
        (
            f"agent.py\n```python\n{RUN}```\n\ncases.jsonl\n```\nmine\n```\n\n../../x.py\n```python\nevil\n```\n\n"
            "tools.py\n```python\nevil\n```",
            {AGENT: RUN},
        ),
    ],
    ids=["as asked", "with marks", "a heading", "no path", "two files", "files that may not be written"],
)
def test_the_files_of_a_reply(reply: str, files: dict[str, str]) -> None:
    assert files_in(reply) == files


@pytest.mark.parametrize(
    "reply", ["", "I cannot do that.", "```text\nno program\n```", f"agent.py\n```\n{'x' * 50_000}\n```"]
)
def test_a_reply_without_a_usable_file_is_sent_back(reply: str) -> None:
    with pytest.raises(Unfit):
        files_in(reply)


@pytest.mark.parametrize(
    ("text", "fault"),
    [(RUN, ""), ("def run(:\n", "does not parse"), ("x = 1\n", "lacks the function run"), ("\0", "does not parse")],
)
def test_what_is_no_program(text: str, fault: str) -> None:
    assert fault in parse_fault({AGENT: text}) and bool(parse_fault({AGENT: text})) == bool(fault)


def laid_out(folder: Path, agent: str) -> tuple[Problem, Path]:
    """Return a problem with cases, and its lab with this agent."""
    from autoresearch_mlx.targets.evals.cases import part_of

    ids = []
    for part, count in COUNTS.items():
        ids += [n for k in range(400) if part_of(n := f"{part}-{k}", 0.4, 0.2) == part][:count]
    cases = folder / "cases.jsonl"
    lines = [{"id": name, "input": name, "check": {"exact": name * 2}} for name in ids]
    cases.write_text("".join(json.dumps(line) + "\n" for line in lines))
    trivial = dict.fromkeys(("dev", "guard", "hidden", "constant"), 0.0)
    told = {"counts": COUNTS, "trivial": trivial}
    lab = folder / "lab"
    lay_out(
        Problem("p1", "t", "s", (), 3, 3, spec=SPEC),
        lab,
        cases,
        {AGENT: agent},
        AgentModel("m", "http://127.0.0.1:9/v1"),
    )
    built = {"attempt": 1, "fixed": fixed_files(lab)}
    return Problem("p1", "t", "s", (), 3, 3, spec=SPEC, cases=told, builds=(built,)), lab


@pytest.mark.slow
def test_a_build_that_looks_for_the_cases_and_for_the_network_finds_neither(tmp_path: Path, sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        agent = f"""\
import json, os, socket, urllib.request
LAB, PORT = {str(tmp_path)!r}, {listening.getsockname()[1]}
def key(question):
    for path in ("cases.jsonl", "lab/cases.jsonl"):
        for line in open(os.path.join(LAB, path)):
            case = json.loads(line)
            if case["input"] == question:
                return case["check"]["exact"]
def run(question, tools):
    for attempt in (lambda: key(question), lambda: socket.create_connection(("127.0.0.1", PORT), 2)):
        try:
            return attempt() and question * 2
        except OSError:
            pass
    open(os.path.join(LAB, "lab", "cases.jsonl"), "w").write("mine")
"""
        problem, lab = laid_out(tmp_path, agent)
        before = (lab / "cases.jsonl").read_bytes()
        found = verify(problem, lab, tmp_path / "runs", (), quiet)
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert "PermissionError" in found.fault and found.dev is None
    assert (lab / "cases.jsonl").read_bytes() == before
    assert [name for name, _ in found.checks] == ["template", "sandbox", "network"]


def test_a_lab_whose_tools_or_cases_were_changed_is_not_run(tmp_path: Path) -> None:
    problem, lab = laid_out(tmp_path, RUN)
    for name in ("tools.py", "cases.jsonl", "lab.toml"):
        text = (lab / name).read_text()
        (lab / name).write_text(text + "\n# changed\n")
        assert (
            verify(problem, lab, tmp_path / "runs", (), quiet).fault
            == "a file that comes from the template was changed"
        )
        (lab / name).write_text(text)


def test_without_a_name_the_model_of_an_ollama_is_chosen_and_the_agents_ask_it_too(tmp_path: Path) -> None:
    with OllamaServer() as server:
        (tmp_path / "lab.toml").write_text(f'[agent]\nbase_url = "{server.url}"\n')
        chosen = staff(tmp_path, tmp_path, None, None, quiet)
        found = chosen.agent_model(None, None)
        assert found.endpoint == f"{server.url}/v1" and chosen.writer.endpoint.name == f"ollama:{found.name}"


def test_a_server_that_would_end_with_the_factory_is_refused_for_the_agents(tmp_path: Path) -> None:
    chosen = staff(tmp_path, tmp_path, "mlx:org/model", None, quiet)
    with pytest.raises(AgentError, match="the agents need a server that runs without this program"):
        chosen.agent_model(None, None)
    assert chosen.agent_model("m", "http://127.0.0.1:8080/v1") == AgentModel("m", "http://127.0.0.1:8080/v1")
