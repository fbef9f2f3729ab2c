"""Runs during which the machine slept or the program was stopped are repeated, never judged."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Recorder, Steps, command_line, git, opened
from live_run import going, slow_lab, started, until

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Assignment, Failure, Measurement, Target
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.certify import certify
from autoresearch_mlx.loop.measure import repeat
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.targets.contract import TargetBase

pytestmark = pytest.mark.uncounted


@dataclass
class Shaky(TargetBase):
    """A target that reports some of its measurements as disturbed: those whose numbers, from 0, are in ``disturbed``.

    With ``failure``, the disturbed ones have failed too.
    """

    target: Target
    disturbed: Sequence[int]
    failure: Failure | None = "timeout"
    taken: int = 0
    name: str = "command"
    metric: str = "score"
    direction: Any = "min"
    seeds: list[int] = field(default_factory=list)

    def refuse(self, files: Any) -> str | None:
        return self.target.refuse(files)

    def smoke(self, assignment: Assignment) -> Measurement | None:
        return None

    def measure(self, assignment: Assignment) -> Measurement:
        self.seeds.append(assignment.seed)
        self.taken += 1
        done = self.target.measure(assignment)
        if self.taken - 1 not in self.disturbed:
            return done
        spoiled = {"value": None, "reason": "did not end", "failure": self.failure} if self.failure else {"value": 99.0}
        return replace(done, tainted=True, **spoiled)  # type: ignore[arg-type]


@contextmanager
def shaky(
    lab: Lab, *disturbed: int, failure: Failure | None = "timeout", **options: Any
) -> Iterator[tuple[Session, Shaky]]:
    with opened(lab, "t", **options) as session:
        target = Shaky(session.target, disturbed, failure)
        yield session.measuring(target=target), target


BOTH = pytest.mark.parametrize("failure", ["timeout", None], ids=["failed", "with a value"])


@BOTH
def test_a_disturbed_run_of_the_baseline_is_taken_again(failure: Any, command_lab: Lab, screen: Recorder) -> None:
    with shaky(command_lab, 1, failure=failure) as (session, target):
        research(session, Steps(), Policy(experiments=0), screen)
        (baseline,) = session.journal().history.experiments
    assert (baseline.status, baseline.value, target.taken) == ("keep", 11.0, 4)
    assert [m.tainted for m in baseline.measurements] == [False, True, False, False]


@BOTH
def test_a_baseline_that_is_always_disturbed_has_an_end(failure: Any, command_lab: Lab, screen: Recorder) -> None:
    with shaky(command_lab, *range(99), failure=failure) as (session, target):
        with pytest.raises(LabError, match="all 6 runs of the baseline were disturbed"):
            research(session, Steps(), Policy(experiments=0), screen)
        assert target.taken == 6


@BOTH
@pytest.mark.parametrize("mode", ["auto", "margin"])
def test_a_disturbed_run_of_a_candidate_decides_nothing(
    mode: str, failure: Any, command_lab: Lab, screen: Recorder
) -> None:
    first = 3 if mode == "auto" else 1
    with shaky(command_lab, first, first + 1, failure=failure, judge__mode=mode) as (session, target):
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert (done.status, done.value, done.gain) == ("keep", 10.25, 0.75)
    assert [m.tainted for m in done.measurements] == [True, True, False]
    assert target.taken == first + 3


@pytest.mark.parametrize(("mode", "failure"), [("auto", "timeout"), ("margin", None)])
def test_after_three_disturbed_runs_the_verdict_is_that(
    mode: str, failure: Any, command_lab: Lab, screen: Recorder
) -> None:
    first = 3 if mode == "auto" else 1
    with shaky(command_lab, *range(first, 99), failure=failure, judge__mode=mode) as (session, _):
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert (done.status, len(done.measurements)) == ("invalid", 3)
    assert done.reason == "all 3 runs were disturbed, so nothing can be compared"


def test_what_was_only_ever_disturbed_may_be_tried_again(command_lab: Lab, screen: Recorder) -> None:
    with shaky(command_lab, 3, 4, 5) as (session, _):
        research(session, Steps({"X": 3.5}, {"X": 3.5}), Policy(experiments=2), screen)
        statuses = [e.status for e in session.journal().history.experiments]
    assert statuses == ["keep", "invalid", "keep"]


def test_an_undisturbed_failure_decides_at_once(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps("X = 1 / 0\nY = 2\n"), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert (done.status, len(done.measurements)) == ("crash", 1)


def test_a_disturbed_refresh_of_the_incumbent_is_taken_again_on_its_seed(command_lab: Lab, screen: Recorder) -> None:
    with shaky(command_lab, 3, 4) as (session, _):
        research(session, Steps(), Policy(experiments=0), screen)
        best = session.journal().history.incumbent
        assert best is not None
        repeat(session, session.worker, best, lambda progress: None)
        taken = [r.measurement for r in session.journal().history.repeats]
    assert [(m.tainted, m.seed) for m in taken] == [(True, 45), (True, 45), (False, 45)]


def test_a_disturbed_run_of_a_certification_is_taken_again(command_lab: Lab, screen: Recorder) -> None:
    with shaky(command_lab, 5) as (session, target):
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        found = certify(session, 2, None, screen)
    assert (found["runs"], target.taken) == (4, 3 + 1 + 4 + 1)
    assert target.seeds[5] in target.seeds[6:7]


def test_certifying_ends_where_every_run_is_disturbed(command_lab: Lab, screen: Recorder) -> None:
    with shaky(command_lab, *range(4, 99)) as (session, _):
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        with pytest.raises(LabError, match=r"3 runs of experiment \d were disturbed: .+") as refused:
            certify(session, 2, None, screen)
    assert "wait until the machine is quiet, or close other programs" in str(refused.value.hint)


# --- real stops of real processes

BENCH = """\
import time
from solver import X, Y
time.sleep(1.5 if X == 8.0 else 0.1)
print(f"METRIC score={(X - 3) ** 2 + (Y - 5) ** 2 + 1:.6f}")
"""


@pytest.mark.slow
def test_a_loop_that_was_stopped_with_its_program_repeats_the_run_and_says_why(tmp_path: Path) -> None:
    lab = slow_lab(tmp_path / "lab")
    (lab.root / "bench.py").write_text(BENCH)
    git(lab.root, "commit", "-qam", "a second and a half")
    with going(lab, [{"title": "stopped", "knobs": {"X": 8.0}}], "--experiments", "1") as run:
        until(lambda: started(lab) == 1 and measuring(run.pid), "the first experiment")
        everything = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)]
        for process in everything:
            process.suspend()
        time.sleep(3.6)
        for process in reversed(everything):
            with suppress(psutil.NoSuchProcess):
                process.resume()
        _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    done = read(lab.folder("t") / FILE).history.experiments[1]
    assert done.status == "discard"
    assert [m.tainted for m in done.measurements] == [True, False]
    assert done.measurements[0].extra["tainted"] == "this program could not run for 4 s"
    shown = command_line("show", "1", cwd=lab.root).stdout
    assert "disturbed" in shown and "this program could not run for 4 s; this run does not count" in shown
    assert (
        "disturbed    1 run of experiment 1 does not count; `show 1` says why"
        in command_line("status", cwd=lab.root).stdout
    )


def measuring(pid: int) -> bool:
    """Return whether the lab's program runs; git and the helper that keeps the machine awake do not count."""
    with suppress(psutil.Error):
        return any("bench.py" in " ".join(child.cmdline()) for child in psutil.Process(pid).children(recursive=True))
    return False
