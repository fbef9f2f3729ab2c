"""Read the ledger for the optimiser: every past experiment becomes a point with its outcome.

Nothing is stored between proposals: a resumed session computes the points from the history again.  Each point gets a
*score*: the part of its gain over the baseline that comes from knobs; positive is better.  A kept change of code
changes the metric but no knob.  The scores leave out the gain of such a change, so that points from before and after
the change stay comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoresearch_mlx.agents.knobs.space import Point, Space
from autoresearch_mlx.experiment import Experiment, History, KnobChanges, Running
from autoresearch_mlx.lab.source import read_knobs

_VOID = frozenset({"interrupted", "duplicate"})
_EVIDENCE = frozenset({"crash", "timeout", "invalid"})


@dataclass(frozen=True, slots=True)
class Trial:
    """One past experiment in the coordinates of the space."""

    point: Point
    origin: Point
    """The incumbent from which the experiment started."""
    score: float | None
    """Gain over the baseline that comes from knobs, in the metric's unit; None when the experiment failed."""
    gain: float | None
    kept: bool
    memory_mb: float | None = None
    """Largest peak memory of the experiment's runs, in MB; None when no run reported its peak."""
    number: int = 0
    """The experiment's number; the baseline has 0."""

    @property
    def failed(self) -> bool:
        return self.score is None

    @property
    def moved(self) -> tuple[int, ...]:
        """Indices of the knobs whose values differ from the trial's origin."""
        pairs = zip(self.point, self.origin, strict=True)
        return tuple(i for i, (here, there) in enumerate(pairs) if here != there)


@dataclass(frozen=True, slots=True)
class Memory:
    """The past experiments: the trials (oldest first), the points that were tried, and the incumbent's score."""

    trials: tuple[Trial, ...]
    tried: frozenset[Point]
    score: float
    """The incumbent's own score."""
    running: tuple[Point, ...] = ()
    """Points that other lanes are measuring now.  They have no outcome yet, and must not be proposed."""


def first_values(history: History) -> dict[str, Any]:
    """Return the value at the start of the session for every knob that a kept experiment moved, by the knob's name."""
    firsts: dict[str, Any] = {}
    for experiment in history.experiments:
        if experiment.status == "keep":
            for name, (before, _) in experiment.knobs.items():
                firsts.setdefault(name, before)
    return firsts


def remember(space: Space, history: History, running: Sequence[Running] = ()) -> Memory:
    """Turn the history and the ``running`` experiments of other lanes into points of this space."""
    origins = _origins(space, history)
    score, trials, tried = 0.0, [], {space.start}
    value = None
    levels: dict[str, tuple[float, float | None]] = {}
    """Score and value of each incumbent, by its commit."""
    for experiment in history.experiments:
        origin = origins[experiment.number]
        point = _moved(space, origin, experiment.knobs)
        # Every origin was measured as the incumbent, so no origin is proposed again.
        tried.add(origin)
        if not experiment.cut_off:
            tried.add(point)
        level, over = levels.get(experiment.against or "", (score, value))
        trial = _trial(experiment, point, origin, level, _gain(experiment, history, over))
        if trial is not None:
            trials.append(trial)
        if experiment.status == "keep":
            value = experiment.value
            score = trial.score if trial is not None and trial.score is not None else score
            levels[experiment.commit or ""] = score, value
    now = tuple(_place(space, each) for each in running)
    return Memory(tuple(trials), frozenset({*tried, *now}), score, now)


def _place(space: Space, running: Running) -> Point:
    """Return the point that a running experiment measures.

    A knob that the running experiment's files do not have gets its value from the present files.
    """
    knobs = {path: read_knobs(text) for path, text in running.files.items()}
    values = list(space.start)
    for i, dimension in enumerate(space):
        knob = knobs.get(dimension.path, {}).get(dimension.knob)
        if knob is not None and dimension.holds(knob.value):
            values[i] = knob.value
    return tuple(values)


def _origins(space: Space, history: History) -> dict[int, Point]:
    """Return the incumbent from which each experiment started, by the experiment's number.

    The current files are those of the last incumbent.  The function starts from the last incumbent and undoes the
    changes of the kept experiments, newest first, so it arrives at each earlier incumbent in turn.
    """
    at: dict[str, Point] = {}
    now = space.start
    chain: dict[int, Point] = {}
    for experiment in reversed(history.experiments):
        if experiment.status == "keep":
            if experiment.commit is not None:
                at[experiment.commit] = now
            now = _moved(space, now, experiment.knobs, back=True)
        chain[experiment.number] = now
    # If an experiment's base is a known commit, the experiment started there, whatever its place in the ledger.
    return {e.number: at.get(e.base or "", chain[e.number]) for e in history.experiments}


def _moved(space: Space, point: Point, knobs: KnobChanges, back: bool = False) -> Point:
    """Return the point after these changes of ``point``; with ``back``, return the point before these changes.

    Changes of knobs outside the space are ignored, and so are values of a type that the range does not have, such as
    ``"auto"``.
    """
    values = list(point)
    for i, dimension in enumerate(space):
        change = knobs.get(dimension.name) or knobs.get(dimension.knob)
        value: Any = change[0 if back else 1] if change else None
        if dimension.holds(value):
            values[i] = value
    return tuple(values)


def _gain(experiment: Experiment, history: History, incumbent: float | None) -> float | None:
    """Return the measured gain, or an estimate for a run that was stopped early; None if neither is possible.

    The gain is not shrunk towards zero, because the surrogate estimates the noise itself.
    """
    if (raw := experiment.effect.get("raw")) is not None:
        return float(raw)
    if experiment.gain is not None or incumbent is None:
        return experiment.gain
    if experiment.value is None:
        return _lost(experiment, incumbent)
    return history.gain(experiment.value, over=incumbent)


def _lost(experiment: Experiment, incumbent: float) -> float | None:
    """Estimate the gain, a negative number, of a run that was stopped early.

    The ledger says by which share the run's training loss was higher than the incumbent's when the run was stopped.
    The estimate assumes that the run's bits per byte are worse by this share.  No verdict depends on the estimate.
    Without the estimate, a step whose run was stopped would look like a step that was never tried.
    """
    stops = (m.extra.get("stop") for m in experiment.measurements if m.failure == "stopped")
    gap = next((stop["gap"] for stop in stops if isinstance(stop, dict) and stop.get("gap")), None)
    return None if gap is None else -gap * abs(incumbent)


def _trial(experiment: Experiment, point: Point, origin: Point, score: float, gain: float | None) -> Trial | None:
    """Return the experiment as a trial; None if its outcome reveals nothing about the knobs."""
    number = experiment.number
    if experiment.status in _VOID or (point == origin and number != 0):
        return None
    if experiment.failed and experiment.status != "conflict":  # a conflict is not a failure of the run
        measured = any(m.failure in _EVIDENCE and not m.tainted for m in experiment.measurements)
        return Trial(point, origin, None, None, kept=False, number=number) if measured else None
    memory = max((m.peak_memory_mb for m in experiment.measurements if m.peak_memory_mb), default=None)
    if point == origin:
        return Trial(point, origin, 0.0, None, kept=False, memory_mb=memory, number=number)
    if gain is None:
        return None
    return Trial(point, origin, score + gain, gain, experiment.status == "keep", memory, number)
