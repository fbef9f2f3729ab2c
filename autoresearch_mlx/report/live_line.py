"""Write the live line: experiment, progress, best value and end of the run, or as many of these facts as fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Progress

_TITLE = 22
"""Number of columns reserved for the title before any fact is shown."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The facts for the live line.  Without a ``number``, the loop is between two experiments."""

    number: int | None = None
    title: str = ""
    progress: Progress | None = None
    best: float | None = None
    eta_seconds: float | None = None

    def at(self, progress: Progress) -> Scene:
        """Return the same scene with the experiment's newest progress."""
        return replace(self, progress=progress)

    def after(self, seconds: float) -> Scene:
        """Return the same scene ``seconds`` later, with less time left until the end of the run."""
        return self if self.eta_seconds is None else replace(self, eta_seconds=max(self.eta_seconds - seconds, 0.0))


def live_line(scene: Scene, width: int) -> str:
    """Return a line such as ``#12 MATRIX_LR 0.04 -> 0.028 | train step 143 loss 2.9213 | ... | ETA 3:41:00``.

    The line has at most ``width`` columns.
    """
    name = f"#{scene.number} " if scene.number is not None else ""
    title = terms.one_line(scene.title)
    if not name:
        title, scene = _between(scene.progress), replace(scene, progress=None)
    wanted = terms.columns(name) + min(terms.columns(title), _TITLE)
    facts = _fitting(scene, width - wanted)
    room = max(width - terms.columns(name) - terms.columns(facts), 0)
    return terms.cut(f"{name}{terms.cut(title, room)}".rstrip() + facts, width).removeprefix(" | ")


def _between(progress: Progress | None) -> str:
    """Return text that says what the loop is waiting for between two experiments."""
    if progress is not None and progress.phase == "waiting":
        return waiting(progress.words)
    if progress is None or progress.phase != "paused":
        return "waiting for a proposal"
    return "paused by hand" if progress.words is None else f"paused: {progress.words}"


def _fitting(scene: Scene, room: int) -> str:
    """Choose the most important facts that fit into ``room`` columns, and write them in their usual order."""
    facts = _facts(scene)
    shown: set[str] = set()
    if scene.progress is not None and scene.progress.phase == "waiting":
        facts["phase"] = terms.cut(facts["phase"], max(room - len(" | "), 1))
    for key in ("phase", "left", "loss", "best", "eta", "speed"):
        if key in facts and terms.columns(_joined(facts, shown | {key})) <= room:
            shown.add(key)
    return _joined(facts, shown)


def _facts(scene: Scene) -> dict[str, str]:
    p = scene.progress
    facts: dict[str, str | None] = {
        "phase": _phase(p) if p else None,
        "loss": f" loss {p.loss:.4f}" if p and p.loss is not None else None,
        "speed": f"{terms.count(p.tokens_per_second)} tok/s" if p and p.tokens_per_second is not None else None,
        "left": time_left(p.phase, p.step, p.seconds_left) if p and p.seconds_left is not None else None,
        "best": f"best {terms.value(scene.best)}" if scene.best is not None else None,
        "eta": f"ETA {terms.clock(scene.eta_seconds)}" if scene.eta_seconds is not None else None,
    }
    return {key: fact for key, fact in facts.items() if fact is not None}


def waiting(words: str | None) -> str:
    """Return text such as ``waiting: on battery``.

    If the reason begins with "for", no colon is needed: ``waiting for a quiet machine``.
    """
    if words is None:
        return "waiting"
    return f"waiting {words}" if words.startswith("for ") else f"waiting: {words}"


def _phase(progress: Progress) -> str:
    if progress.phase == "waiting":
        return waiting(progress.words)
    name = phase_word(progress.phase, progress.step)
    return name if progress.step is None else f"{name} step {progress.step:,}"


def phase_word(phase: str, step: int | None) -> str:
    """Return the word that the live line shows for a phase.

    The word is ``running`` for a program, which reports no steps; otherwise it is the phase's own name.
    """
    return "running" if phase == "train" and step is None else phase


def time_left(phase: str | None, step: int | None, seconds: float) -> str:
    """Return text such as ``4:10 left``, or ``at most 10:00`` for a program, because only its timeout is known."""
    program = phase == "guard" or (phase == "train" and step is None)
    return f"at most {terms.clock(seconds)}" if program else f"{terms.clock(seconds)} left"


def _joined(facts: dict[str, str], shown: set[str]) -> str:
    """Join the facts with bars between them; only the loss follows the step without a bar."""
    return "".join(fact if key == "loss" else f" | {fact}" for key, fact in facts.items() if key in shown)
