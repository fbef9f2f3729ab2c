"""The target ``command``: any program that prints a number.

The number is taken from the last line ``METRIC name=value`` of its output, or from the first group of a regular
expression.  Carriage returns end a line too, and colours are ignored, because progress bars write both.  A guard, if
there is one, must end with exit code 0 before the program runs.  The program runs in the worktree, so the code that
measures should not be in ``editable``: an edited file could print any number.  It runs without a sandbox, because it is
the user's own program; but its memory, the disk, and processes that it leaves running are watched.
"""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch_mlx.experiment import Assignment, Direction, Failure, Measurement, Phase, Progress, Reference, Seconds
from autoresearch_mlx.lab.config import METRIC_NAME
from autoresearch_mlx.lab.source import MARK, UNPARSABLE, parse, why_unparsable
from autoresearch_mlx.targets.contract import TargetBase
from autoresearch_mlx.terms import without_codes
from autoresearch_mlx.trial.autopsy import how_it_ended
from autoresearch_mlx.trial.blame import blame, not_counted
from autoresearch_mlx.trial.runner import Ended, Log, child_process_environment, run_child
from autoresearch_mlx.trial.sandbox.limits import MARKER, Limits, Watch
from autoresearch_mlx.trial.speed.clock import ReferenceClock

METRIC = re.compile(rf"^METRIC\s+({METRIC_NAME.pattern})\s*=\s*(\S+)\s*$")
_NEARLY = re.compile(rf"^\s*metric\b|\bmetric\s+{METRIC_NAME.pattern}\s*[=:]", re.IGNORECASE)
"""A line that was probably meant to give the metric, but has text before ``METRIC`` or another form."""
_LONGEST_QUOTE = 80
_LINE_ENDS = re.compile(rb"[\r\n]")
_LINE_LIMIT = 65536
_MOST_PROCESSES = 1000
"""Largest number of processes: a parallel build has a few hundred; a fork bomb passes this number in a second."""

_LEAST_SECONDS = 3.0
"""Shortest run in seconds for which the machine's speed is recorded: in a shorter run it is read only a few times."""


@dataclass(frozen=True, slots=True)
class Command(TargetBase):
    """A program to measure: ``run`` and ``guard`` are shell lines, with the seed in AUTORESEARCH_SEED."""

    run: str
    metric: str
    direction: Direction
    guard: str | None = None
    pattern: str | None = None
    timeout_seconds: float = 600.0
    limits: Limits = field(default_factory=Limits)
    """Memory of the program and its children, and disk space that must stay free; its folder may have any size."""
    name: str = "command"

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Refuse Python files that do not parse; other languages are left to the program."""
        for path, text in files.items():
            if path.endswith(".py"):
                try:
                    parse(text)
                except UNPARSABLE as error:
                    return f"{path} does not parse: {why_unparsable(error)}"
        return None

    def smoke(self, assignment: Assignment) -> Measurement | None:
        """Return None: only the program's owner knows a shorter run, and the guard precedes each measurement anyway."""
        return None

    def measure(self, assignment: Assignment) -> Measurement:
        """Run the guard, then the program, once.  A failure is returned as data, tainted if the machine caused it."""
        path = assignment.folder / "log.txt"
        figures = _Figures(self.pattern, self.metric)
        guarded = None
        if self.guard is not None:
            guarded = self._shell(self.guard, assignment, path, "guard", _Figures(None, self.metric))
            if (failure := self._failure(guarded, path, "the guard failed: ")) is not None:
                done = self._measurement(assignment, None, guarded, figures, failure)
                return not_counted(done, blame(guarded, path))
        family: list[int] = []
        clock = ReferenceClock(Reference(), lambda: family)
        clock.look()
        clock.record()

        def look(watch: Watch) -> None:
            family[:] = watch.pids()
            clock.look()

        ran = self._shell(self.run, assignment, path, "train", figures, look)
        failure = self._failure(ran, path) or figures.failure()
        done = self._measurement(assignment, ran, guarded, figures, failure)
        if ran.seconds >= _LEAST_SECONDS:
            found = clock.found()
            done = replace(done, speed=found.speed, disturbed_by=found.disturbed_by, machine=found.facts)
        return done if failure is None else not_counted(done, blame(ran, path))

    def _shell(
        self,
        line: str,
        assignment: Assignment,
        path: Path,
        phase: Phase,
        figures: _Figures,
        look: Callable[[Watch], None] = lambda watch: None,
    ) -> Ended:
        """Run a shell line to its end; ``look`` is called about ten times a second while it runs."""
        began, marker = time.monotonic(), uuid.uuid4().hex
        watch = Watch(
            replace(self.limits, folder=assignment.tree, folder_bytes=None, processes=_MOST_PROCESSES), marker
        )

        def overstayed() -> str | None:
            look(watch)
            spent = time.monotonic() - began
            assignment.watch(Progress(phase, seconds_left=self.timeout_seconds - spent))
            return f"did not end within {self.timeout_seconds:g} s; killed" if spent > self.timeout_seconds else None

        with Log(path) as log:
            log.write(f"$ {line}\n".encode())
            return run_child(
                ["/bin/sh", "-c", line],
                cwd=assignment.tree,
                environment=child_process_environment({"AUTORESEARCH_SEED": str(assignment.seed), MARKER: marker}),
                log=log,
                allowed=overstayed,
                on_output=figures.feed,
                watch=watch,
            )

    @staticmethod
    def _failure(ended: Ended, path: Path, prefix: str = "") -> tuple[Failure, str] | None:
        if ended.killed is not None:
            return "timeout", prefix + ended.killed
        if ended.exceeded is not None:
            return "crash", f"{prefix}{ended.exceeded}; killed"
        if ended.returncode != 0:
            return ("invalid" if prefix else "crash"), prefix + how_it_ended(ended.returncode, path)
        return None

    def _measurement(
        self,
        assignment: Assignment,
        ran: Ended | None,
        guarded: Ended | None,
        figures: _Figures,
        failure: tuple[Failure, str] | None,
    ) -> Measurement:
        kind, reason = failure if failure is not None else (None, "")
        return Measurement(
            value=figures.value if failure is None else None,
            seed=assignment.seed,
            failure=kind,
            reason=reason,
            seconds=Seconds(
                train=round(ran.seconds, 3) if ran else None,
                evaluate=round(guarded.seconds, 3) if guarded else None,
            ),
            peak_memory_mb=ran.peak_memory_mb if ran else None,
            log="log.txt",
            extra=dict(figures.others),
        )


class _Figures:
    """Reads the metric and other ``METRIC`` lines from a program's output; the last line with a name counts."""

    def __init__(self, pattern: str | None, metric: str) -> None:
        self.value: float | None = None
        self.others: dict[str, float] = {}
        self._text: str | None = None
        self._pattern = re.compile(pattern) if pattern else None
        self._metric = metric
        self._rest = b""
        self._near = ""

    def feed(self, data: bytes) -> None:
        *lines, rest = _LINE_ENDS.split(self._rest + data)
        self._rest = rest[-_LINE_LIMIT:]
        for line in lines:
            self._line(line.decode(errors="replace"))

    def failure(self) -> tuple[Failure, str] | None:
        """Say why there is no number; return None when there is one."""
        if self._rest:
            self._line(self._rest.decode(errors="replace"))
        if self._text is None:
            wanted = f"/{self._pattern.pattern}/" if self._pattern else f"METRIC {self._metric}=value"
            return "invalid", f"the program ended without printing {wanted}{self._printed_instead()}"
        if self.value is None:
            return "invalid", f"{self._metric} is {self._text!r}, which is not a finite number"
        return None

    def _printed_instead(self) -> str:
        """Return the end of a sentence that says what the program printed instead; empty if nothing was similar."""
        if self._pattern is not None:
            return ""
        if self._near:
            return f"; the line {self._near!r} is not written like that"
        return f"; it printed METRIC {', '.join(self.others)}" if self.others else ""

    def _line(self, line: str) -> None:
        plain = _without_backspaces(without_codes(line)).removeprefix(MARK)
        if self._pattern is not None and (found := self._pattern.search(plain) or self._pattern.search(line)):
            self._text = (found.group(1) if found.groups() else found.group(0)) or ""
            self.value = _finite(self._text)
        match = METRIC.match(plain)
        if match is None:
            if near := _NEARLY.search(plain):
                begins = max(0, near.end() - _LONGEST_QUOTE // 2)
                self._near = plain[begins : begins + _LONGEST_QUOTE].rstrip()
            return
        name, text = match.groups()
        if self._pattern is None and name == self._metric:
            self._text, self.value = text, _finite(text)
        elif (value := _finite(text)) is not None:
            self.others[name] = value


def _without_backspaces(text: str) -> str:
    """Return the text as a terminal shows it after backspaces, with which some progress bars erase their figures."""
    if "\b" not in text:
        return text
    shown: list[str] = []
    for character in text:
        if character != "\b":
            shown.append(character)
        elif shown:
            shown.pop()
    return "".join(shown)


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
