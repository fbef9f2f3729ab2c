"""The speed of the machine during a run: a slowdown is recognised, its cause named, and the budget lengthened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Reference
from autoresearch_mlx.trial.speed.clock import ReferenceClock, RunSpeed
from autoresearch_mlx.trial.speed.company import Others, _from_ps
from autoresearch_mlx.trial.speed.probe import Probe, Reading
from autoresearch_mlx.trial.speed.processor import Totals, Use, cores, stopped, used
from autoresearch_mlx.trial.timing import Timing

COUNTING = "import sys\nn = 0\nwhile True:\n    n += 1\n    n % 20000 or print(n, file=sys.stderr, flush=True)"
"""A program that does the same work again and again, and prints how much it has done."""
HOG = "import numpy as np\na = np.ones(2**23)\nb = a.copy()\nwhile True: np.copyto(b, a)"


@contextmanager
def program(
    code: str, count: int = 1, nice: int = 0, said: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """Start real programs, each in a session of its own, because the scheduler divides time by session."""
    line = ["nice", "-n", str(nice), sys.executable, "-S", "-c", code] if nice else [sys.executable, "-c", code]
    running = [subprocess.Popen(line, start_new_session=True, stderr=said) for _ in range(count)]
    try:
        time.sleep(0.2)
        yield running[0]
    finally:
        for each in running:
            os.killpg(each.pid, signal.SIGKILL)
            each.wait()


def watched(child: subprocess.Popen[bytes], seconds: float = 2.0, reference: Reference | None = None) -> RunSpeed:
    clock = ReferenceClock(reference or Reference(), lambda: [child.pid])
    clock.look()
    clock.record()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        clock.look()
    return clock.found()


@contextmanager
def stopped_in_slices(pid: int, stop: float, go: float) -> Iterator[None]:
    over = threading.Event()

    def slices() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(stop)
            os.kill(pid, signal.SIGCONT)
            over.wait(go)

    thread = threading.Thread(target=slices)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("got", "waited", "wall", "processors", "share"),
    [
        pytest.param(1.0, 0.0, 1.0, 2, 1.0, id="one busy thread alone"),
        pytest.param(0.6, 0.4, 1.0, 2, 0.6, id="one busy thread that has to wait"),
        pytest.param(0.3, 0.0, 1.0, 2, 1.0, id="a thread that sleeps does not wait"),
        pytest.param(0.2, 0.2, 1.0, 2, 0.8, id="a thread that sleeps six tenths loses what it waits"),
        pytest.param(2.0, 2.0, 1.0, 2, 1.0, id="four threads on two processors wait for each other"),
        pytest.param(1.0, 3.0, 1.0, 2, 0.5, id="four threads that get one of two processors"),
        pytest.param(2.4, 0.6, 1.0, 8, 0.8, id="three threads on eight processors"),
    ],
)
def test_the_share_of_its_pace_that_a_run_keeps(
    got: float, waited: float, wall: float, processors: int, share: float
) -> None:
    assert Use(got, waited).share(wall, processors) == pytest.approx(share)


def test_a_thread_that_has_ended_takes_nothing_back() -> None:
    assert used({(1, 1): (5.0, 1.0), (1, 2): (3.0, 0.0)}, {(1, 1): (6.0, 1.5), (1, 3): (0.2, 0.1)}) == Use(1.2, 0.6)


@pytest.mark.slow
def test_a_run_beside_busy_programs_is_slow_and_they_are_named() -> None:
    with program("while True: pass", count=2 * cores()), program("while True: pass", nice=5) as child:
        found = watched(child)
    assert found.speed is not None and found.speed < 0.7
    assert found.disturbed_by.startswith("other programs took ") and "python" in found.disturbed_by


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "go"), [(0.05, 0.45), (0.1, 0.4), (0.3, 0.3)])
def test_a_run_stopped_in_slices_is_seen_and_said(stop: float, go: float) -> None:
    share = stop / (stop + go)
    with program("while True: pass") as child, stopped_in_slices(child.pid, stop, go):
        found = watched(child, 3.0)
    assert found.speed is not None and found.speed < 1 - 0.5 * share
    assert "the run was stopped for " in found.disturbed_by
    told = int(found.disturbed_by.split("the run was stopped for ")[1].split(" %")[0]) / 100
    assert 0.5 * share < told < 2 * share + 0.1


@pytest.mark.slow
def test_hogs_of_memory_are_named() -> None:
    with program(HOG, count=2 * cores()), program(HOG) as child:
        found = watched(child)
    assert found.speed is not None and found.speed < 0.8
    assert "python" in found.disturbed_by


@pytest.mark.slow
def test_equal_work_takes_equal_reference_seconds_however_busy_the_machine_is(tmp_path: Path) -> None:
    def work_per_second(disturbed: bool) -> float:
        with (tmp_path / "said").open("wb") as said, program(COUNTING, said=said.fileno()) as child:
            clock = ReferenceClock(Reference(), lambda: [child.pid])
            clock.look()
            began = done(tmp_path / "said")
            slices = stopped_in_slices(child.pid, 0.2, 0.2) if disturbed else stopped_in_slices(child.pid, 0.0, 9.0)
            end = time.monotonic() + 2.0
            with slices:
                while time.monotonic() < end:
                    time.sleep(0.02)
                    clock.look()
            return (done(tmp_path / "said") - began) / clock.reached()

    assert work_per_second(disturbed=True) == pytest.approx(work_per_second(disturbed=False), rel=0.3)


def done(said: Path) -> int:
    return int((said.read_bytes().splitlines() or [b"0"])[-1])


def test_a_stopped_process_is_told_from_a_running_and_from_an_ended_one() -> None:
    with program("import time; time.sleep(60)") as child:
        assert not stopped(child.pid)
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(0.05)
        assert stopped(child.pid)
    assert not stopped(child.pid)


# --- probes, with a clock and readings made up by the test


class Machine:
    """A machine whose clock moves when the test says so, and whose run gets all of the processor time."""

    def __init__(self, *readings: Reading) -> None:
        self.now = 100.0
        self._readings = list(readings)

    def probe(self) -> Reading:
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]

    def read(self, pids: Collection[int]) -> Totals:
        return {(1, 1): (self.now, 0.0)}

    def speed(self, reference: Reference, seconds: float = 10.0) -> RunSpeed:
        clock = ReferenceClock(reference, list, self.probe, lambda: self.now, self.read)
        clock.look()
        clock.record()
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            clock.look()
        assert clock.reached() == pytest.approx(seconds * min(clock.found().speed or 0.0, 1.0), rel=0.01)
        return clock.found()


QUIET = Reference(1.0, 0.1, 3.0)


def test_a_throttled_processor_slows_the_reference_seconds_down() -> None:
    found = Machine(Reading(0.16, 3.0)).speed(QUIET)
    assert found.speed == pytest.approx(1 / 1.6, abs=0.01)
    assert found.disturbed_by == "the processor was 60 % slower than in the baseline" and not found.doubtful


def test_a_run_on_a_cooler_processor_than_the_baselines_counts_more_but_its_budget_stays_long() -> None:
    assert Machine(Reading(0.07, 3.0)).speed(QUIET).speed == pytest.approx(1 / 0.7, abs=0.02)


def test_slow_memory_counts_half_and_very_slow_memory_spoils_the_run() -> None:
    slow, spoiled = Machine(Reading(0.1, 4.8)).speed(QUIET), Machine(Reading(0.1, 7.5)).speed(QUIET)
    assert slow.speed == pytest.approx(1 / 1.3, abs=0.01) and not slow.doubtful
    assert slow.disturbed_by.startswith("memory was 60 % slower than in the baseline")
    assert spoiled.doubtful


@pytest.mark.parametrize("readings", [(0.078, 3.0), (0.1, 3.0), (0.11, 4.0), (0.09, 2.5)])
def test_probes_within_their_noise_change_nothing(readings: tuple[float, float]) -> None:
    found = Machine(Reading(*readings)).speed(QUIET)
    assert (found.speed, found.disturbed_by) == (1.0, "")


def test_one_slow_probe_among_quick_ones_changes_nothing() -> None:
    machine = Machine(Reading(0.1, 3.0), Reading(0.5, 9.0), Reading(0.1, 3.0))
    assert machine.speed(QUIET).speed == 1.0


def test_a_real_probe_takes_milliseconds() -> None:
    reading = Probe().take()
    assert 0 < reading.product_ms < 50 and 0 < reading.copy_ms < 200


# --- a GPU, whose probes the harness takes in the child


def gpu(*probes: float, reference: Reference | None = None) -> RunSpeed:
    return Timing(1.0, 1.0, charged=True, reference=reference, probes=list(probes)).speed(cut=False)


def test_the_baseline_of_a_gpu_sets_the_reference() -> None:
    found = gpu(2.0, 2.2, 2.1)
    assert (found.speed, found.facts, found.spoiled) == (1.0, {"product_ms": 2.1}, None)
    assert gpu(2.3, reference=Reference(product_ms=2.1)).speed == 1.0  # within the noise
    assert gpu() == RunSpeed()


def test_a_gpu_that_heat_slows_down_is_told_and_far_too_slow_a_one_spoils_the_run() -> None:
    reference = Reference(product_ms=2.0)
    warm, hot = gpu(2.0, 2.6, 2.7, reference=reference), gpu(4.0, 4.2, reference=reference)
    assert (warm.speed, warm.spoiled) == (pytest.approx(0.77, abs=0.01), None)
    assert warm.disturbed_by == "the GPU was 30 % slower than in the baseline"
    assert (
        hot.spoiled == "the machine ran at 49 % of its reference speed: the GPU was 105 % slower than in the baseline"
    )


def test_probes_of_a_gpu_never_lengthen_a_budget() -> None:
    timing = Timing(1.0, 1.0, charged=True, counting=True, reference=Reference(product_ms=1.0), probes=[50.0])
    assert not timing.counts and timing.rate == 1.0


# --- names of the causes


def test_the_lines_of_ps_become_names_that_people_know() -> None:
    text = "    1   1:02.50 /sbin/launchd\n  312  75:04.06 /System/a b/mds_stores\n  400 101:00:01 x\n odd line\n"
    assert _from_ps(text) == {1: ("launchd", 62.5), 312: ("mds_stores", 4504.06), 400: ("x", 363601.0)}


def test_what_others_took_is_said_with_their_names() -> None:
    assert (
        Others(0.6, ("Spotlight", "python")).words() == "other programs took 60 % of the processor: Spotlight, python"
    )
    assert Others(0.6, ()).words() == "other programs took 60 % of the processor"


# --- in a real training


@pytest.mark.slow
def test_a_run_on_far_too_slow_a_machine_is_cut_at_one_and_a_half_times_its_budget(tmp_path: Path) -> None:
    """The reference speed is the speed of a machine whose matrix products are a thousand times as fast."""
    under = tiny.conditions(tiny.corpus(tmp_path / "cache"), tmp_path / "cache", budget_seconds=1.0)
    done = tiny.measure(tiny.script(), tmp_path / "lab", under, reference=Reference(1.0, 1e-4, 1.0))
    assert done.failure is None and done.tainted
    assert done.stretch is not None and done.stretch > 1.4
    assert done.speed is not None and done.speed < 0.2
    assert done.extra["tainted"] == (
        f"the machine ran at {100 * done.speed:.0f} % of its reference speed: {done.disturbed_by}"
    )
    assert "the processor was " in done.disturbed_by


@pytest.mark.slow
def test_a_run_counted_by_the_wall_clock_tells_its_speed_too(tmp_path: Path) -> None:
    under = tiny.conditions(tiny.corpus(tmp_path / "cache"), tmp_path / "cache")
    done = tiny.measure(tiny.script(), tmp_path / "lab", under)
    assert done.speed is not None and 0 < done.speed <= 1 and not done.tainted
    assert done.stretch == pytest.approx(1.0, abs=0.5)
    assert done.machine["product_ms"] > 0 and done.machine["copy_ms"] > 0 and 0 < done.machine["processor_share"] <= 1
