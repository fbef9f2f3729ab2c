"""Prompts and replies as the command line shows them, before and after a call, and what the call cost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_cases import KNOB, MODEL, Y_LINE, blocks, fields
from command_runs import call, data, refused, script
from conftest import write_command_lab
from ollama_server import OllamaModel, OllamaServer
from server_behaviours import say

from autoresearch_mlx.agents.prompt.tokens import estimate
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.locks import locked

AGENT = """
[agent]
name = "ollama:{model}"
base_url = "{url}"
timeout_seconds = 20
patience_seconds = 0
max_tokens_total = 1_000_000
max_cost = 50.0
price_in = 1000.0
price_out = 2000.0
"""


def begin(root: Path, server: OllamaServer) -> Lab:
    lab = write_command_lab(root)
    (root / "program.md").write_text("Make the score small.\n")
    with (root / "lab.toml").open("a") as file:
        file.write(AGENT.format(model=MODEL, url=server.url))
    return lab


@pytest.fixture(scope="module")
def server() -> Iterator[OllamaServer]:
    with OllamaServer(OllamaModel(MODEL, parameters="30.5B")) as running:
        yield running


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, server: OllamaServer) -> Lab:
    """Make a lab with a baseline and one experiment of three calls."""
    lab = begin(tmp_path_factory.mktemp("talks") / "lab", server)
    server.then(say("no idea \x1b[2J"), say(fields(), reasoning="X = 3?", reasoning_field="thinking"))
    server.then(say(blocks(Y_LINE, "Y = 4")))
    done = call(lab, "run", "--tag", "t", "--experiments", "1")
    assert done.returncode == 0, done.stderr
    assert len(server.chats) == 3
    return lab


def sent(server: OllamaServer) -> str:
    """Return the newest request in the layout that `prompt` prints."""
    system, user = server.chats[-1].body["messages"]
    return f"[system]\n{system['content']}\n\n[user]\n{user['content']}\n"


# --- before


@pytest.mark.slow
def test_prompt_is_exactly_what_the_next_run_sends(lab: Lab, server: OllamaServer) -> None:
    assert call(lab, "steer", "smaller X first").returncode == 0
    before = len(server.chats)
    with locked(lab.folder("t")):  # as while a run is in progress
        text, whole = call(lab, "prompt"), data(lab, "prompt")
    assert text.returncode == 0
    assert len(server.chats) == before, "nothing is sent"
    tokens = estimate(whole["system"]) + estimate(whole["user"])
    first, *forms = text.stderr.splitlines()
    assert first == f"about {tokens:,} tokens by our estimate"
    assert [line.partition(":")[0] for line in forms] == ["menu", "values", "blocks", "whole"]
    assert f"blocks: {tokens:,} + at most 400 tokens (next)" in forms
    assert [(f["form"], f["next"]) for f in whole["forms"]] == [
        ("menu", False),
        ("values", False),
        ("blocks", True),
        ("whole", False),
    ]
    assert (whole["tokens"], whole["cut"]) == (tokens, [])
    assert text.stdout == f"[system]\n{whole['system']}\n\n[user]\n{whole['user']}\n"
    assert "smaller X first" in text.stdout

    server.then(say(KNOB))
    assert call(lab, "run", "--experiments", "1").returncode == 0
    assert sent(server) == text.stdout


@pytest.mark.slow
def test_prompt_shows_the_persons_idea_and_leaves_it_for_the_run(lab: Lab, server: OllamaServer) -> None:
    assert call(lab, "ideas", "add", "X a little lower").returncode == 0
    text = call(lab, "prompt").stdout
    assert "X a little lower" in text
    assert [idea["state"] for idea in data(lab, "ideas")] == ["open"]
    server.then(say(fields(title="lower", knobs=[{"name": "X", "value": 2.9}])))
    number = data(lab, "status")["experiments"] + 1
    assert call(lab, "run", "--experiments", "1").returncode == 0
    assert sent(server) == text
    assert [(i["state"], i["experiment"]) for i in json.loads(call(lab, "ideas", "--all", "--json").stdout)] == [
        ("done", number)
    ]


@pytest.mark.slow
def test_prompt_says_what_was_cut(lab: Lab) -> None:
    program = lab.root / "program.md"
    before = program.read_text()
    program.write_text("a line of the brief\n" * 20_000)
    try:
        done = call(lab, "prompt")
        cut = data(lab, "prompt")["cut"]
    finally:
        program.write_text(before)
    assert "the second half of program.md" in cut
    assert "; cut: the second half of program.md" in done.stderr


def test_prompt_of_hybrid_is_its_models(lab: Lab) -> None:
    text = call(lab, "prompt", "--agent", f"hybrid:ollama:{MODEL}").stdout
    assert "Make the score small." in text and "Best settings measured" in text


@pytest.mark.parametrize("agent", ["knobs", "playbook"])
def test_an_agent_without_a_model_has_no_prompt(lab: Lab, agent: str) -> None:
    said = refused(lab, "prompt", "--agent", agent)
    assert f"error: {agent} does not use a model, so there is no prompt" in said
    assert "hint: use --agent ollama:MODEL, or another agent with a model" in said


@pytest.mark.parametrize(
    ("form", "part"),
    [
        ("menu", "# The choices"),
        ("values", "# The constants"),
        ("blocks", "the code is asked for next"),
        ("whole", "the code is asked for next"),
    ],
)
def test_prompt_shows_the_question_in_each_form(lab: Lab, form: str, part: str) -> None:
    text = call(lab, "prompt", "--form", form)
    assert text.returncode == 0 and part in text.stdout
    shows_the_knobs = re.search(r"^X = \d", text.stdout, re.MULTILINE) is not None
    assert shows_the_knobs == (form != "menu")


def test_prompt_works_before_there_is_a_session(tmp_path: Path, server: OllamaServer) -> None:
    lab, before = begin(tmp_path / "lab", server), len(server.chats)
    shown = data(lab, "prompt")
    assert "This is experiment 1." in shown["user"] and "X = 4.0" in shown["user"]
    menu = call(lab, "prompt", "--form", "menu")
    assert "1. " in menu.stdout and "X 4.0 -> " in menu.stdout and "(next)" in menu.stderr
    assert lab.tags() == [] and len(server.chats) == before, "nothing is made and nothing is sent"
    assert "no session nope" in refused(lab, "prompt", "--tag", "nope")


def test_a_form_that_does_not_fit_is_refused_and_named(tmp_path: Path, server: OllamaServer) -> None:
    lab = begin(tmp_path / "lab", server)
    (lab.root / "lab.toml").write_text((lab.root / "lab.toml").read_text() + "context_tokens = 1400\n")
    text = call(lab, "prompt")
    assert "whole: not possible: the shortest prompt has about" in text.stderr and "values: " in text.stderr
    assert text.returncode == 0 and "# The constants" in text.stdout
    assert "there is room for" in refused(lab, "prompt", "--form", "whole")


# --- afterwards


def test_show_prompt_has_every_message_of_every_call(lab: Lab) -> None:
    text = call(lab, "show", "1", "--prompt").stdout
    for part in ("call 1: proposal from", "call 2: repair from", "call 3: code from", "[system]", "[user]"):
        assert part in text
    assert "[assistant]\nno idea" in text and "\x1b" not in text
    assert "Make the score small." in text


def test_show_reply_has_what_was_said_and_thought(lab: Lab) -> None:
    text = call(lab, "show", "1", "--reply").stdout
    assert "no idea" in text and "\x1b" not in text
    assert "[thinking]\nX = 3?\n[reply]\n{" in text
    assert "+Y" not in text and "Y = 4" in text


@pytest.mark.parametrize("part", ["--prompt", "--reply"])
def test_show_gives_the_calls_as_json(lab: Lab, part: str) -> None:
    calls = data(lab, "show", "1", part)
    assert [c["purpose"] for c in calls] == ["proposal", "repair", "code"]
    assert [c["finish"] for c in calls] == ["stop"] * 3
    assert calls[0]["reply"] == "no idea \x1b[2J", "as it came"
    assert all(c["prompt_tokens"] > 0 and c["model"] == f"ollama:{MODEL}" for c in calls)


@pytest.mark.parametrize("part", ["--prompt", "--reply"])
@pytest.mark.parametrize("number", ["0", "99"])
def test_where_nobody_was_asked_show_says_so(lab: Lab, part: str, number: str) -> None:
    said = refused(lab, "show", number, part)
    assert f"no model was called for experiment {number} of session t" in said


# --- the cost


def test_status_tells_what_was_spent_of_the_caps(lab: Lab) -> None:
    spent = data(lab, "status")["spent"]
    calls = [c for n in (1, 2, 3) for c in _calls(lab, n)]
    tokens = sum(c["prompt_tokens"] + c["completion_tokens"] for c in calls)
    cost = sum(c["prompt_tokens"] / 1000 + c["completion_tokens"] / 500 for c in calls)
    assert (spent["calls"], spent["tokens"], spent["estimated"]) == (len(calls), tokens, 0)
    assert (spent["max_tokens_total"], spent["max_cost"]) == (1_000_000, 50.0)
    assert spent["cost"] == pytest.approx(cost)
    text = call(lab, "status").stdout
    assert f"{len(calls)} calls, {tokens:,} of 1,000,000 tokens, cost {cost:.4f} of 50" in text


def _calls(lab: Lab, number: int) -> list[dict[str, int]]:
    done = call(lab, "show", str(number), "--prompt", "--json")
    return list(json.loads(done.stdout)) if done.returncode == 0 else []


def test_status_of_a_night_without_a_model_says_nothing_of_it(command_lab: Lab) -> None:
    agent = script(command_lab, {"title": "X nearer", "knobs": {"X": 3.5}})
    assert call(command_lab, "run", "--tag", "t", "--agent", agent, "--experiments", "1").returncode == 0
    assert "asked" not in call(command_lab, "status").stdout
    assert data(command_lab, "status")["spent"]["calls"] == 0


@pytest.mark.slow
def test_a_cap_ends_a_run_in_words_and_the_next_one_too(tmp_path: Path, server: OllamaServer) -> None:
    lab = begin(tmp_path / "lab", server)
    toml = lab.root / "lab.toml"
    toml.write_text(toml.read_text().replace("1_000_000", "3000"))
    server.default = say(fields(knobs=[{"name": "X", "value": 3.5}]))
    for status in (0, 1):  # the second run measures nothing
        done = call(lab, "run", "--tag", "t", "--experiments", "9")
        assert done.returncode == status
        assert "of max_tokens_total = 3,000 tokens are spent" in done.stdout
    assert data(lab, "status")["spent"]["tokens"] < 3000
    assert json.loads(call(lab, "log", "--json").stdout.splitlines()[-1])["number"] > 0
