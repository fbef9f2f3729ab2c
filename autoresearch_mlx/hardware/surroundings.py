"""Watch the machine around a session's runs: record its state with each run, warn of each trouble once, and wait
between experiments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch_mlx.experiment import History, Measurement, Watch, Workload
from autoresearch_mlx.hardware.awake import kept_awake
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.machine_lock import machine_lock
from autoresearch_mlx.hardware.quiet import wait_for_quiet
from autoresearch_mlx.hardware.speed import FRESH_SECONDS, Speed, probe_arguments
from autoresearch_mlx.hardware.state import State, read_state
from autoresearch_mlx.hardware.state.advice import reason_to_wait, unusual_speed, worries
from autoresearch_mlx.lab.config import MachineSettings
from autoresearch_mlx.trial.runner import python_command, trusted_environment

_STALE_SECONDS = 5.0
"""Age in seconds up to which a reading is used again, so that runs of milliseconds do not wait for a new reading."""
_ECHO_SECONDS = 10.0
"""Seconds after a run for which the GPU's load is ignored, because the run itself may have caused it."""
_PROBE_FROM_SECONDS = 60.0
"""Shortest budget on a CPU, in seconds, at which each run gets two speed probes; in shorter runs they cost too much."""
COOLING_SECONDS = 900.0
"""Longest wait for cooling, in seconds.  A machine that is still hot by then will stay hot."""


def _read() -> State:
    return read_state()


@dataclass(slots=True)
class Surroundings:
    """Reads the state of the machine before and after the runs of one session."""

    settings: MachineSettings = field(default_factory=MachineSettings)
    gpu: bool = False
    """True if the runs train on a GPU."""
    speed: Speed | None = None
    """The speed probe; None if the runs have no probe."""
    counts: bool = False
    """True if budgets are in reference seconds; the baseline then needs a quiet machine."""
    read: Callable[[], State] = _read
    clock: Callable[[], float] = time.monotonic
    _last: tuple[float, State] | None = None
    _first: State | None = None
    _said: set[str] = field(default_factory=set)
    _ended: float | None = None
    """The clock's reading at the end of the session's last run."""

    def state(self, age: float = _STALE_SECONDS) -> State:
        """Return a reading of the machine that is at most ``age`` seconds old."""
        now = self.clock()
        if self._last is None or now - self._last[0] > age:
            seen = self.read()
            ours = self._ended is not None and now - self._ended < _ECHO_SECONDS
            self._last = now, replace(seen, gpu=replace(seen.gpu, busy_percent=None)) if ours else seen
        self._first = self._first or self._last[1]
        return self._last[1]

    def beside_a_run(self) -> Callable[[Measurement], Measurement]:
        """Read the machine before a run; return a function that adds the machine's facts to the run's measurement.

        Call that function after the run.  Other programs are read before the run, heat and memory after the run, and
        the speed before and after.
        """
        company = self.state().company()
        before = self._probe(FRESH_SECONDS)

        def with_facts(measured: Measurement) -> Measurement:
            self._ended = self.clock()
            facts = {**self.state().facts(), **company}
            if self.speed is not None:
                facts |= {"speed_before": before, "speed_after": self._probe(0.0)}
            return replace(measured, machine={**measured.machine, **facts})

        return with_facts

    def wait_for_quiet(self, watch: Watch, most: float | None = None) -> None:
        """Wait until other programs leave the processor free, at most ``quiet_seconds`` of the settings and at most
        ``most`` seconds."""
        allowed = self.settings.quiet_seconds
        wait_for_quiet(allowed if most is None else min(allowed, most), watch)

    def news(self, history: History | None = None, more: Sequence[tuple[str, str]] = ()) -> list[str]:
        """Return sentences about the machine that the user should read, each only once in this command.

        ``more`` has further (name, sentence) pairs to report.
        """
        state = self.state()
        found = list(worries(state, self._first or state, self.gpu))
        if history is not None and self.speed is not None and (said := _speed_news(history)) is not None:
            found.append(("speed", said))
        found += more
        new = [(name, words) for name, words in found if name not in self._said]
        self._said |= {name for name, _ in new}
        return [words for _, words in new]

    def reason_to_wait(self, since: float | None = None) -> str | None:
        """Return why no experiment should start now; None if one may start.

        The settings say whether to wait for mains power and for cooling.  ``since`` is the clock's reading when the
        wait began; the wait for cooling ends after ``COOLING_SECONDS``.
        """
        wanted = self.settings
        if not (wanted.wait_for_mains or wanted.wait_for_cooling):
            return None
        cooling = wanted.wait_for_cooling and (since is None or self.clock() - since < COOLING_SECONDS)
        return reason_to_wait(self.state(), wanted.wait_for_mains, cooling)

    def _probe(self, fresh: float) -> float | None:
        return None if self.speed is None else self.speed.probe(fresh)


def surroundings(settings: MachineSettings, machine: Machine, workload: Workload) -> Surroundings:
    """Return the :class:`Surroundings` for runs of this ``workload``; only training has a speed probe."""
    kind = machine.gpu.kind if machine.gpu is not None else None
    gpu = workload.device == "gpu"
    speed = None
    if workload.device is not None and _probing(settings, gpu, workload.most_seconds or 0.0):
        command = python_command(*probe_arguments(workload.device))
        speed = Speed(command, trusted_environment(workload.environment))
    counts = settings.clock == "reference" and workload.device is not None and workload.budget_seconds is not None
    return Surroundings(settings, gpu, speed, counts, read=lambda: read_state(kind))


@contextmanager
def machine_for(
    lab: Path,
    who: str,
    settings: MachineSettings,
    gpu: bool,
    cache: Path,
    say: Callable[[str], None],
) -> Iterator[None]:
    """Keep the machine awake until the end of the block, and reserve it for this command if the settings say so.

    ``who`` names the session or the work that is measured; ``gpu`` says whether the runs train on a GPU.  Raises
    LockedError when another command has reserved the machine.
    """
    lock = machine_lock(cache, lab, who, say) if exclusive(settings, gpu) else nullcontext()
    with lock, kept_awake(settings.keep_awake == "auto"):
        yield


def exclusive(settings: MachineSettings, gpu: bool) -> bool:
    """Return whether a command that measures reserves the machine; by default it does if it trains on a GPU."""
    return settings.exclusive == "always" or (settings.exclusive == "auto" and gpu)


def _probing(settings: MachineSettings, gpu: bool, budget_seconds: float) -> bool:
    return settings.probe == "auto" and (gpu or budget_seconds >= _PROBE_FROM_SECONDS)


def _speed_news(history: History) -> str | None:
    """Return a sentence if the newest speed probe is far from the session's earlier probes; else None."""
    experiments = [m for e in history.experiments for m in e.measurements]
    runs = [*experiments, *(r.measurement for r in history.repeats)]
    newest = max(history.experiments, key=lambda e: e.number).measurements[-1:] if history.experiments else ()
    known = [speed for m in runs if m not in newest for speed in _speeds(m)]
    now = [speed for m in newest for speed in _speeds(m)]
    return unusual_speed(now[-1], known) if now else None


def _speeds(measured: Measurement) -> list[float]:
    found = (measured.machine.get(name) for name in ("speed_before", "speed_after"))
    return [float(speed) for speed in found if isinstance(speed, int | float) and speed > 0]
