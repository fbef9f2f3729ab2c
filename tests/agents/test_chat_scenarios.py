"""What a model's server may do wrong, and what the ledger says afterwards in each case.

These tests use real HTTP, the real client, and the real loop with its git and its measurements.  The lab's own score is
(X - 3)^2 + (Y - 5)^2 + 1, and it starts at X = 4, Y = 2.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Recorder, git, opened
from ollama_server import OllamaModel, OllamaServer
from openai_server import OpenAIServer
from server_behaviours import (
    Behaviour,
    ModelServer,
    broken,
    busy,
    cut_off,
    drop,
    empty,
    fail,
    filtered,
    garbage,
    hang,
    html,
    say,
    slow,
    without_usage,
)

from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.hire import hired
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.store.talks import calls_of

MODEL = "tiny-coder:30b"


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    """Import the client beforehand, because its first import takes longer than the deadlines here."""
    import openai  # noqa: F401


def fields(**more: Any) -> str:
    return json.dumps({"title": "X nearer", "axis": "x", "hypothesis": "3 is best", "expected_gain": 1, **more})


def blocks(search: str, replace: str) -> str:
    return f"solver.py\n```python\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n```"


KNOB = fields(knobs={"X": 3.0})
CODE = f"```json\n{fields()}\n```\n\n{blocks('X = 4.0  # knob: lin 0 10', 'X = 3.0  # knob: lin 0 10')}"
WHOLE = f"```json\n{fields()}\n```\n\nsolver.py\n```python\nX = 3.0\nY = 2\n```"
ELIDED = WHOLE.replace("Y = 2", "def f():\n    return X\n\n# ... rest unchanged ...")
MISS = f"```json\n{fields()}\n```\n\n{blocks('X = 44.0  # something else', 'X = 3.0')}"


@dataclass(frozen=True)
class Scenario:
    """One test case: what the server does in each call, and how the experiment ends."""

    name: str
    calls: tuple[Behaviour, ...]
    status: str = "keep"
    reason: str = ""
    """A string that the reason in the ledger contains."""
    chats: int | None = None
    """Number of calls that the server received; None means as many as it has behaviours."""
    told: str = ""
    """A string in the last prompt, which tells the model what was wrong with its answer."""

    @property
    def settings(self) -> dict[str, float]:
        """The agent's patience: short if the server is silent or stays busy, else enough for a busy machine."""
        short = any(call.hang for call in self.calls) or "for ever" in self.name
        return {"timeout_seconds": 1.0 if short else 30.0, "patience_seconds": 2.5 if short else 60.0}


SCENARIOS = [
    Scenario("knobs only", (say(KNOB),)),
    Scenario("code in blocks", (say(CODE),)),
    Scenario("a whole file", (say(WHOLE),)),
    Scenario("thinking in a field", (say(KNOB, "hm, X", "reasoning"),)),
    Scenario("thinking in the other field", (say(KNOB, "hm, X", "reasoning_content"),)),
    Scenario("thinking in tags", (say(KNOB, "hm, X = 9?", "inline"),)),
    Scenario("fields first, then code", (say(fields()), say(blocks("Y = 2", "Y = 5")))),
    Scenario("no count of tokens", (without_usage(say(KNOB)),)),
    Scenario("slowly, piece by piece", (slow(KNOB, 0.002),)),
    # answers without an edit: they go back to the model with the reason
    Scenario("prose, then an edit", (say("I would try a lower X."), say(KNOB)), told="JSON"),
    Scenario("an empty reply", (empty(), say(KNOB)), told="The reply was empty."),
    Scenario("cut off by its limit", (cut_off(CODE[:150]), say(KNOB)), told="cut off"),
    Scenario("all of it thinking", (say("", "thinking and thinking", finish="length"), say(KNOB)), told="thinking"),
    Scenario("a refusal", (say("", refusal="I cannot help with that."), say(KNOB)), told="refused"),
    Scenario("a filtered reply", (filtered(), say(KNOB)), told="refused"),
    Scenario("a search text that is not there", (say(MISS), say(CODE)), told="X = 4.0"),
    Scenario(
        "a search text that is there twice",
        (say(CODE.replace("X = 4.0  # knob: lin 0 10\n", "  # knob:\n")), say(KNOB)),
    ),
    Scenario("another file", (say(CODE.replace("solver.py", "bench.py")), say(KNOB)), told="solver.py"),
    Scenario("code that does not parse", (say(CODE.replace("X = 3.0", "X = (")), say(KNOB)), told="parse"),
    Scenario("an unknown knob", (say(fields(knobs={"Z": 1})), say(KNOB)), told="Z"),
    Scenario("text for a number", (say(fields(knobs={"X": "blue"})), say(KNOB)), told="X"),
    Scenario("not a number", (say(fields(knobs={"X": float("nan")})), say(KNOB))),
    Scenario("no change", (say(fields(knobs={"X": 4.0})), say(KNOB))),
    Scenario(
        "an import that is not installed",
        (say(CODE.replace("X = 3.0", "import torch_xyz\nX = 3.0")), say(KNOB)),
        told="torch_xyz",
    ),
    Scenario("a file of changed constants alone", (say(WHOLE.replace("Y = 2", "# ... rest unchanged ...")),)),
    Scenario("elided code", (say(ELIDED), say(KNOB)), told="left out"),
    Scenario("prose three times", (say("a"), say("b"), say("c")), "invalid", "no proposal in the reply"),
    Scenario("empty three times", (empty(), empty(), empty()), "invalid", "The reply was empty.", chats=3),
    Scenario("the same bad edit again", (say(MISS), say(MISS), say(MISS)), "invalid", "SEARCH", chats=3),
    # a server that fails: the same experiment, after a pause
    Scenario("busy for a moment", (busy(429, retry_after=0.05), say(KNOB))),
    Scenario("a full queue", (busy(503), say(KNOB))),
    Scenario("an internal error", (fail(500, "something broke"), say(KNOB))),
    Scenario("a broken connection", (drop(), say(KNOB))),
    Scenario("an error inside the stream", (broken("out of memory for a moment"), say(KNOB))),
    Scenario("garbage inside the stream", (garbage(), say(KNOB))),
    Scenario("a page instead of an answer", (html(), say(KNOB))),
    Scenario("silence, then an answer", (hang(), say(KNOB))),
    Scenario("silence after some words", (hang("half an ans"), say(KNOB))),
    Scenario("silence for ever", (hang(), hang(), hang(), hang(), hang()), "invalid", "gave no answer (hung)"),
    Scenario("busy for ever", (*[busy(503)] * 9,), "invalid", "gave no answer (busy)"),
]


def night(lab: Lab, agent: str, screen: Recorder, experiments: int = 1, **settings: Any) -> list[Experiment]:
    """Run the real loop with this agent and one run for each experiment; return the experiments after the baseline."""
    options = {
        "judge__mode": "margin",
        "judge__replicates": 1,
        "agent__name": agent,
        **{f"agent__{name}": value for name, value in settings.items()},
    }
    chosen = load_settings(lab.root, {name.replace("__", "."): value for name, value in options.items()}).settings
    with opened(lab, "t", **options) as session, hired(session, chosen, screen.say) as researcher:
        screen.said.append(research(session, researcher, Policy(experiments=experiments), screen))
        return [e for e in session.journal().history.experiments if e.number > 0]


def outcome(scenario: Scenario, server: ModelServer, lab: Lab, experiment: Experiment) -> None:
    assert experiment.status == scenario.status, experiment.reason
    assert scenario.reason in experiment.reason
    seen = [json.dumps(chat.body["messages"]) for chat in server.chats]
    if scenario.status != "invalid" or scenario.chats is not None:
        assert len(seen) >= (scenario.chats or len(scenario.calls))
    assert scenario.told in seen[-1]
    kept = list(calls_of(lab.folder("t"), experiment.number))
    assert len(kept) == len(seen), "every call is kept whole"
    assert set(experiment.knobs) <= {"X", "Y"}
    changed = git(lab.root, "diff", "--name-only", f"{experiment.base}", f"{experiment.commit}")
    assert changed == ("" if scenario.status == "invalid" else "solver.py")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_an_openai_compatible_server(scenario: Scenario, command_lab: Lab, screen: Recorder) -> None:
    with OpenAIServer() as server:
        server.then(*scenario.calls)
        model = {"base_url": f"{server.url}/v1", "model": MODEL, "format": "blocks"}
        (done,) = night(command_lab, "chat", screen, **model, **scenario.settings)
        outcome(scenario, server, command_lab, done)


OLLAMA = [s for s in SCENARIOS if "other field" not in s.name and "refusal" not in s.name and "filtered" not in s.name]


@pytest.mark.parametrize("scenario", OLLAMA, ids=lambda s: s.name)
@pytest.mark.slow
def test_ollamas_own_api(scenario: Scenario, command_lab: Lab, screen: Recorder) -> None:
    with OllamaServer(OllamaModel(MODEL, parameters="30.5B")) as server:
        server.then(*scenario.calls)
        (done,) = night(command_lab, f"ollama:{MODEL}", screen, base_url=server.url, **scenario.settings)
        outcome(scenario, server, command_lab, done)
