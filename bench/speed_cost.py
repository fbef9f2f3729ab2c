"""Measure the cost of watching the machine's speed: ``python -m bench.speed_cost [--seconds 20] [--rounds 3]``

A child process does the same work again and again for ``--seconds``, in pairs of runs in the order A B B A.  In A this
process watches the child as it watches a training run; in B it does not watch it.  Two figures are printed for each
pair.  The first is the child's work per second of its own processor time, in A divided by B.  The second is the
processor time that the watching took, as a share of the run; other programs hardly change it.  This share should be at
most 1 % of 20 s.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import fmean

import psutil

from autoresearch_mlx.experiment import Reference
from autoresearch_mlx.trial.speed.clock import ReferenceClock
from autoresearch_mlx.trial.speed.probe import Probe

WORK = """\
import sys, threading
import numpy as np
a = np.random.default_rng(0).random((384, 384), np.float32)
done = 0
def read():
    sys.stdin.read(1)
    print(done, flush=True)
    sys.stdin.read()
threading.Thread(target=read).start()
while threading.active_count() > 1:
    a @ a
    done += 1
"""
_TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the child."""

    pace: float
    """Products per second of the child's processor time."""
    watching: float
    """Processor seconds that the watching took, as a share of the run."""


def measure(seconds: float, probe: Probe | None) -> Run:
    """Let the child work for a few seconds; it is watched if there is a ``probe``, and otherwise left alone."""
    environment = {"OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert child.stdin is not None and child.stdout is not None
    clock = ReferenceClock(Reference(), lambda: [child.pid], probe.take) if probe is not None else None
    end, took = time.monotonic() + seconds, 0.0
    if clock is not None:
        clock.look()
        clock.record()
    while time.monotonic() < end:
        time.sleep(_TICK_SECONDS)
        if clock is not None:
            before = time.thread_time()
            clock.look()
            took += time.thread_time() - before
    if clock is not None:
        before = time.thread_time()
        clock.found()
        took += time.thread_time() - before
    times = psutil.Process(child.pid).cpu_times()
    child.stdin.write(b"1")
    child.stdin.flush()
    done = int(child.stdout.readline())
    child.stdin.close()
    child.wait()
    return Run(done / (times.user + times.system), took / seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.speed_cost", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    probe = Probe()
    costs, ratios = [], []
    for at in range(options.rounds):
        order = (probe, None) if at % 2 == 0 else (None, probe)
        pair = [measure(options.seconds, each) for each in order]
        watched, alone = pair if at % 2 == 0 else reversed(pair)
        costs.append(watched.watching)
        ratios.append(watched.pace / alone.pace)
        print(f"pair {at + 1}: work watched / alone {ratios[-1]:.3f}, watching {100 * costs[-1]:.2f} % of the run")
    print(f"mean: work watched / alone {fmean(ratios):.3f}, watching {100 * fmean(costs):.2f} %")


if __name__ == "__main__":
    main()
