"""A scripted model inside this process, replies for the small solver, and nights with a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from conftest import Recorder, opened
from prompt_cases import experiment

from autoresearch_mlx.agents.chat import Chat
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.experiment import Context, Experiment, History, Proposal
from autoresearch_mlx.lab.config import AgentSettings, load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.hire import hired
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.models.wire import Ask, ModelFacts, Reply

MODEL = "tiny-coder:30b"
NAME = "voice:30b"
FACTS = ModelFacts("voice", billions=30.0, context_tokens=32_768, size_bytes=2**30)
Answer: TypeAlias = str | Reply | EndpointError | Callable[[Ask], str]


def fields(**more: Any) -> str:
    return json.dumps({"title": "X nearer", "axis": "x", "hypothesis": "3 is best", "expected_gain": 1, **more})


def blocks(search: str, replace: str) -> str:
    return f"solver.py\n```python\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n```"


def coded(search: str, replace: str, **more: Any) -> str:
    """Return a reply with fields and one block."""
    return f"```json\n{fields(**more)}\n```\n\n{blocks(search, replace)}"


X_LINE = "X = 4.0  # knob: lin 0 10"
Y_LINE = "Y = 2  # knob: int 0 8"
KNOB = fields(knobs={"X": 3.0})
CODE = coded(X_LINE, X_LINE.replace("4.0", "3.0"))
MISS = coded("X = 44.0  # something else", "X = 3.0")


def whole(text: str, **more: Any) -> str:
    return f"```json\n{fields(**more)}\n```\n\nsolver.py\n```python\n{text}```"


def reply(text: str, **more: Any) -> Reply:
    return Reply(text=text, **{"finish": "stop", "model": "voice", **more})


def away(kind: Any = "unreachable", **more: Any) -> EndpointError:
    return EndpointError(kind, "no server answers at 127.0.0.1:1", "start the server", **more)


class Voice:
    """An endpoint with given answers; the last one is repeated."""

    def __init__(self, *answers: Answer, facts: ModelFacts | EndpointError = FACTS, name: str = NAME) -> None:
        self.name = name
        self.answers = list(answers)
        self.asks: list[Ask] = []
        self.told = facts
        self.released = 0
        self.stays: EndpointError | None = None
        """Error to raise when the model is to be unloaded; None if it can be unloaded."""

    def facts(self) -> ModelFacts:
        if isinstance(self.told, EndpointError):
            raise self.told
        return self.told

    def ask(self, ask: Ask) -> Reply:
        self.asks.append(ask)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, EndpointError):
            raise answer
        if isinstance(answer, Reply):
            return answer
        return reply(answer if isinstance(answer, str) else answer(ask))

    def release(self) -> float | None:
        self.released += 1
        if self.stays is not None:
            raise self.stays
        return 0.25

    def close(self) -> None:
        pass

    def prompt(self, index: int = -1) -> str:
        """Return everything that the model was sent in one call."""
        return "\n".join(message.content for message in self.asks[index].messages)


def office(folder: Path | None = None, said: list[str] | None = None, **settings: Any) -> Office:
    chosen = AgentSettings(**{"patience_seconds": 0.0, **settings})
    return Office(chosen, seed=7, folder=folder, say=(said if said is not None else []).append)


def chat(voice: Voice, folder: Path | None = None, said: list[str] | None = None, **settings: Any) -> Chat:
    return Chat(voice, office(folder, said, **settings))


def after(context: Context, *done: Experiment, **changes: Any) -> Context:
    """Return the same session some experiments later."""
    whole = History((*context.history.experiments, *done), context.history.metric, context.history.direction)
    return replace(context, number=whole.experiments[-1].number + 1, history=whole, **changes)


def done(proposal: Proposal, number: int, status: str = "discard", **more: Any) -> Experiment:
    value = None if status == "invalid" else 20.0
    return experiment(number, status, value, agent=proposal.agent, talk=proposal.talk, title=proposal.title, **more)


def night(lab: Lab, agent: str, screen: Recorder, experiments: int = 1, **settings: Any) -> list[Experiment]:
    """Run the real loop with this agent; return the experiments after the baseline."""
    given = {"name": agent, "timeout_seconds": 5.0, "patience_seconds": 0.0, **settings}
    options = {f"agent.{name}": value for name, value in given.items()}
    chosen = load_settings(lab.root, options).settings
    with (
        opened(lab, "t", **{name.replace(".", "__"): value for name, value in options.items()}) as session,
        hired(session, chosen, screen.say) as researcher,
    ):
        screen.said.append(research(session, researcher, Policy(experiments=experiments), screen))
        return [e for e in session.journal().history.experiments if e.number > 0]
