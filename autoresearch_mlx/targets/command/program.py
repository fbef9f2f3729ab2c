"""Measure with any program that prints a number: the target ``command``.

The number is taken from the last line ``METRIC name=value`` of the program's output, or from the first group of a
regular expression.  A carriage return ends a line as a newline does, and colours are ignored, because progress bars
write carriage returns and colours.  A guard and named checks, if there are any, must end with exit code 0 before the
program runs.  The program runs in the worktree.  So ``editable`` should not name code that measures, because an edited
file could print any number.  The program is the user's own, so it runs without a sandbox.  But the parent watches the
program's memory, the disk, and processes that the program leaves running.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch_mlx.experiment import Assignment, Direction, Failure, Measurement, Phase, Progress, Reference, Seconds
from autoresearch_mlx.lab.source import UNPARSABLE, parse, why_unparsable
from autoresearch_mlx.targets.command.checks import GUARD, Check, Outcome
from autoresearch_mlx.targets.command.figures import Figure, Figures, Taken
from autoresearch_mlx.targets.contract import TargetBase
from autoresearch_mlx.trial.autopsy import how_it_ended
from autoresearch_mlx.trial.blame import blame, not_counted
from autoresearch_mlx.trial.runner import Ended, Log, child_process_environment, run_child
from autoresearch_mlx.trial.sandbox.limits import MARKER, Limits, Watch
from autoresearch_mlx.trial.speed.clock import ReferenceClock

_MOST_PROCESSES = 1000
"""Largest number of processes that a run may have.

A parallel build has a few hundred processes, and a fork bomb exceeds this limit within a second.
"""

_LEAST_SECONDS = 3.0
"""Length in seconds of the shortest run for which the machine's speed is recorded; a shorter run gives too few
readings."""


@dataclass(frozen=True, slots=True)
class Command(TargetBase):
    """A program to measure: ``run`` and the checks are shell commands that read the seed from AUTORESEARCH_SEED."""

    run: str
    metric: str
    direction: Direction
    checks: tuple[Check, ...] = ()
    """Checks that an edit must pass before the program runs, in this order."""
    figures: tuple[Figure, ...] = ()
    """The figures that lab.toml declares.

    The metric is read from a single run of ``run`` if lab.toml does not declare it as a figure.
    """
    pattern: str | None = None
    timeout_seconds: float = 600.0
    """Time limit for one run of the program, in seconds."""
    limits: Limits = field(default_factory=Limits)
    """Limits on the memory of the program and its children, and on free disk space.

    The run folder may have any size.
    """
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables with which the shell commands find the lab's tools."""
    name: str = "command"

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Return why an edit is refused: a Python file does not parse.  Returns None for every other edit."""
        for path, text in files.items():
            if path.endswith(".py"):
                try:
                    parse(text)
                except UNPARSABLE as error:
                    return f"{path} does not parse: {why_unparsable(error)}"
        return None

    def smoke(self, assignment: Assignment) -> Measurement | None:
        """Return None, because not every program has a shorter run.  The guard runs before each measurement anyway."""
        return None

    def measure(self, assignment: Assignment) -> Measurement:
        """Run the checks, then the program.

        A failure is returned as a measurement.  If the machine caused the failure, the measurement is marked
        ``tainted`` and does not count.
        """
        path = assignment.folder / "log.txt"
        outcomes: list[Outcome] = []
        for check in self.checks:
            ended = self._shell(check.run, assignment, path, "guard", check.timeout_seconds, lambda output: None)
            failure = self._failure(ended, path, check.prefix)
            outcomes.append(Outcome.of(check, ended, failure))
            if failure is not None:
                left = [Outcome(each.name) for each in self.checks[len(outcomes) :]]
                done = self._measurement(assignment, Taken(), [*outcomes, *left], failure)
                return not_counted(done, blame(ended, path))
        family: list[int] = []
        clock = ReferenceClock(Reference(), lambda: family)
        clock.look()
        clock.record()

        def look(watch: Watch) -> None:
            family[:] = watch.pids()
            clock.look()

        taken, failure, ran = Taken(), None, None
        for line, figures in self._lines():
            for number in range(max(figure.repeats for figure in figures)):
                pattern = self.pattern if line == self.run else None
                found = Figures(pattern, figures[0].name)
                ran = self._shell(line, assignment, path, "train", self.timeout_seconds, found.feed, look)
                lacking = taken.add(ran, found, figures, number)
                failure = self._failure(ran, path) or lacking
                if failure is not None:
                    break
            if failure is not None:
                break
        done = self._measurement(assignment, taken, outcomes, failure)
        if taken.seconds >= _LEAST_SECONDS:
            seen = clock.found()
            done = replace(done, speed=seen.speed, disturbed_by=seen.disturbed_by, machine=seen.facts)
        return done if failure is None or ran is None else not_counted(done, blame(ran, path))

    def _lines(self) -> list[tuple[str, list[Figure]]]:
        """Return each shell command that measures, with the figures that it prints.  The first command prints the
        metric."""
        primary = next((each for each in self.figures if each.name == self.metric), Figure(self.metric))
        lines = {primary.run or self.run: [primary]}
        for figure in self.figures:
            if figure is not primary:
                lines.setdefault(figure.run or self.run, []).append(figure)
        return list(lines.items())

    def _shell(
        self,
        line: str,
        assignment: Assignment,
        path: Path,
        phase: Phase,
        timeout_seconds: float,
        on_output: Callable[[bytes], None],
        look: Callable[[Watch], None] = lambda watch: None,
    ) -> Ended:
        """Run a shell command to its end; until then, ``look`` is called about ten times a second."""
        began, marker = time.monotonic(), uuid.uuid4().hex
        watch = Watch(
            replace(self.limits, folder=assignment.tree, folder_bytes=None, processes=_MOST_PROCESSES), marker
        )

        def overstayed() -> str | None:
            look(watch)
            spent = time.monotonic() - began
            assignment.watch(Progress(phase, seconds_left=timeout_seconds - spent))
            return f"did not end within {timeout_seconds:g} s; killed" if spent > timeout_seconds else None

        with Log(path) as log:
            log.write(f"$ {line}\n".encode())
            return run_child(
                ["/bin/sh", "-c", line],
                cwd=assignment.tree,
                environment=child_process_environment(
                    {**self.environment, "AUTORESEARCH_SEED": str(assignment.seed), MARKER: marker}
                ),
                log=log,
                allowed=overstayed,
                on_output=on_output,
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
        taken: Taken,
        outcomes: list[Outcome],
        failure: tuple[Failure, str] | None,
    ) -> Measurement:
        kind, reason = failure if failure is not None else (None, "")
        checks = [outcome.record() for outcome in outcomes if outcome.name != GUARD]
        spent = [outcome.seconds for outcome in outcomes if outcome.seconds is not None]
        return Measurement(
            value=taken.value(self.metric) if failure is None else None,
            seed=assignment.seed,
            failure=kind,
            reason=reason,
            seconds=Seconds(
                train=round(taken.seconds, 3) if taken.seconds else None,
                evaluate=round(sum(spent), 3) if spent else None,
            ),
            peak_memory_mb=taken.peak_memory_mb,
            log="log.txt",
            extra={**taken.others(self.metric), **({"checks": checks} if checks else {})},
        )
