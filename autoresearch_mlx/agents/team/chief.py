"""Write the next brief by fixed rules.  A model may word the question and order the axes, but never names an edit."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from autoresearch_mlx import terms
from autoresearch_mlx.agents.chat.calls import Calls
from autoresearch_mlx.agents.ideas.axes import choose_axis
from autoresearch_mlx.agents.ideas.axis_names import axes_touched, clean_axis
from autoresearch_mlx.agents.ideas.misses import choose_pair
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.prompt.tokens import estimate
from autoresearch_mlx.agents.team.agenda import Agenda
from autoresearch_mlx.agents.team.brief import Brief, BriefKind
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context, Experiment
from autoresearch_mlx.lab.source import axis_of, read_knobs
from autoresearch_mlx.models.wire import Ask, Endpoint, Message

_SHARES: Mapping[BriefKind, float] = {"explore": 0.5, "refine": 0.25, "combine": 0.15, "ablate": 0.1}
_LONGEST = 300
_NAMES_AN_EDIT = re.compile(r"```|\b[A-Za-z_]\w*\s*(:=|=|->|→)\s*\S|(?<![#\w.])[-+]?\d")
"""Pattern that finds an edit in a question of the chief: code, or a number other than an experiment's number.  A chief
must not name an edit."""
_REPLY_TOKENS = 800
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


class Voice(Protocol):
    """A model that answers a chief or a critic."""

    @property
    def name(self) -> str: ...

    def answer(self, number: int, purpose: str, system: str, user: str) -> Mapping[str, Any]:
        """Return the JSON object in the model's reply, or an empty mapping if the reply has no JSON object.

        Raises AgentError when the model does not answer.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Order:
    """The content of the next brief, before it is given to a junior."""

    kind: BriefKind
    axis: str
    question: str
    evidence: tuple[int, ...] = ()
    note: str | None = None
    """The user's note that this order follows."""


@dataclass(slots=True)
class Chief:
    """The chief writes briefs.  ``voice`` is the model that words the questions; if it is None, the questions are fixed
    texts."""

    seed: int
    voice: Voice | None = None
    office: Office = field(default_factory=Office)
    _heard: tuple[int, Mapping[str, Any]] = (-1, {})

    def order(self, context: Context, agenda: Agenda, taken: Collection[str], number: int) -> Order | None:
        """Return the next order, on an axis that is not taken; None when every axis is taken."""
        free = agenda.free(taken)
        if not free:
            return None
        dice = random.Random(f"brief {self.seed} {number}")
        told = self._advice(context, agenda, free)
        wish = self._wished(context, free)
        first = wish or next((a for a in _axes(told.get("order")) if a in free), None)
        axis = first or choose_axis(free, context.history, self.seed, number)
        assert axis is not None
        found = self._kind(context, agenda, frozenset(free), axis, dice, first is not None)
        wording = told.get("questions")
        words = wording.get(found.axis) if isinstance(wording, dict) else None
        if isinstance(words, str) and words.strip() and not _NAMES_AN_EDIT.search(words):
            found = replace(found, question=terms.one_line(words)[:_LONGEST])
        return replace(found, note=context.notes[-1]) if wish is not None else found

    def _kind(
        self, context: Context, agenda: Agenda, free: frozenset[str], axis: str, dice: random.Random, fixed: bool
    ) -> Order:
        kind = dice.choices(list(_SHARES), list(_SHARES.values()))[0]
        pair = choose_pair(context, dice) if kind == "combine" and not fixed else None
        if pair is not None and axes_touched(pair[0]) | axes_touched(pair[1]) <= free:
            one, other = pair
            axis = sorted(axes_touched(one))[0]
            question = f"Do #{one.number} and #{other.number} gain together, though neither did alone?"
            return Order("combine", axis, question, (one.number, other.number))
        kept = [e for e in context.history.experiments if e.number in agenda.keeps]
        own = [e for e in kept if axis in axes_touched(e)]
        if kind == "ablate" and own:
            return Order("ablate", axis, f"Is every part of #{own[-1].number} needed?", (own[-1].number,))
        if own:
            return Order("refine", axis, f"#{own[-1].number} gained on this axis; what is its best value?", _last(own))
        tried = [e for e in context.history.experiments if e.number > 0 and axis in axes_touched(e)]
        words = f"What has not been tried on {axis}?" if tried else f"Does a change of {axis} gain anything?"
        return Order("explore", axis, words, _last(tried))

    def _wished(self, context: Context, free: Sequence[str]) -> str | None:
        """Return the free axis that the user's newest note names; None if there is no such axis.

        A note may name an axis itself, or a constant that belongs to the axis.
        """
        if not context.notes:
            return None
        note = context.notes[-1].lower()
        asked = {e.talk.get("note") for e in context.history.experiments}
        if context.notes[-1] in asked:
            return None
        names = {axis: {axis, axis.rpartition(".")[2]} for axis in free}
        for text in context.files.values():
            for name in read_knobs(text):
                names.get(axis_of(name), set()).add(name.lower())
        said = set(re.findall(r"[\w.]+", note))
        return next((axis for axis, words in names.items() if words & said), None)

    def _advice(self, context: Context, agenda: Agenda, free: Sequence[str]) -> Mapping[str, Any]:
        """Return the model's advice on the briefs for this experiment; an empty mapping if there is no advice.

        The model is asked once for each experiment.
        """
        if self.voice is None or self._heard[0] == context.number:
            return self._heard[1] if self.voice is not None else {}
        rows = [
            f"- {n.axis}: {n.tries} tries, expected gain {n.expected_gain:.3g}" for n in agenda.axes if n.axis in free
        ]
        notes = [f"- {terms.one_line(note)[:_LONGEST]}" for note in context.notes[-5:]]
        user = "\n".join(
            [
                f"The metric is {context.history.metric} ({context.history.direction} is better). Axes that are free:",
                *rows,
                *(["From the person at the keyboard:", *notes] if notes else []),
                "Order the axes by what should be tried first. Write one question for each, without naming an edit.",
                'Answer with JSON: {"order": ["axis", ...], "questions": {"axis": "question"}}',
            ]
        )
        try:
            told = self.voice.answer(context.number, "brief", _SYSTEM, user)
        except AgentError as error:
            self.office.say(f"the chief's model {self.voice.name} is not asked now: {error}")
            told = {}
        self._heard = context.number, told
        return told


_SYSTEM = "You lead a small research team. You choose questions, never edits. You answer with JSON only."


def _axes(told: object) -> list[str]:
    found = [clean_axis(axis) for axis in told if isinstance(axis, str)] if isinstance(told, list) else []
    return [axis for axis in found if axis is not None]


def _last(experiments: Sequence[Experiment]) -> tuple[int, ...]:
    return tuple(e.number for e in experiments[-3:])


def brief_from(order: Order, number: int, junior: str, context: Context, taken: Collection[str]) -> Brief:
    """Return the order as a brief for this junior."""
    best = context.history.incumbent
    parent = best.commit if best is not None else None
    return Brief(number, junior, order.kind, order.question, parent, order.axis, tuple(sorted(taken)), order.evidence)


class ModelVoice:
    """A model on a server that answers with one JSON object."""

    def __init__(self, endpoint: Endpoint, office: Office) -> None:
        self.name = endpoint.name
        self._endpoint, self._office = endpoint, office
        self._calls = Calls(endpoint, office, 0.0)

    def answer(self, number: int, purpose: str, system: str, user: str) -> Mapping[str, Any]:
        messages = (Message("system", system), Message("user", user))
        ask = Ask(
            messages=messages,
            prompt_tokens=sum(estimate(m.content) for m in messages),
            max_tokens=_REPLY_TOKENS,
            seconds=self._office.settings.timeout_seconds,
            temperature=self._office.settings.temperature,
            seed=self._office.seed + 1000 * number,
            think="off",
        )
        reply, _ = self._calls.make(number, purpose, ask)
        return _object(reply.text)

    def close(self) -> None:
        self._calls.close()
        self._endpoint.close()


class ScriptedVoice:
    """A voice that takes its answers from a JSON file: a list of objects, one object for each question.

    After the end of the list, the last object is repeated.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.  Raises AgentError when the file cannot be read, or is not a list of objects."""
        self.name = f"scripted:{path}"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AgentError(f"{path} cannot be read: {error}", "it should be a JSON list of objects") from None
        if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
            raise AgentError(f"{path} is not a list of objects", 'such as [{"order": ["lr"], "questions": {}}]')
        self._answers = found

    def answer(self, number: int, purpose: str, system: str, user: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return found

    def close(self) -> None:
        pass


def _object(text: str) -> Mapping[str, Any]:
    """Return the JSON object in a reply; empty when the reply has no readable object."""
    found = _OBJECT.search(text)
    try:
        told = json.loads(found[0]) if found is not None else {}
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
