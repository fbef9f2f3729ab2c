"""Measure how much sooner four machines of a fleet finish a night than one, and whether their verdicts are right.

    .venv/bin/python -m bench.fleet_night [--experiments 60] [--seconds 2]

The machines are processes on this computer with made-up names.  Each machine adds its own offset to every value (0,
0.06, 0.15, 0.25) and takes its own time for a program that sleeps.  One run has a noise of 0.003, and a win gains 0.03.
Both nights go through real Dask with TLS on 127.0.0.1, one after the other; the first night has one machine.
"""

from __future__ import annotations

import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path

from bench.fleet_processes import MACHINES, Made, counts, fleet, runs_twice, script, wrong


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=2.0)
    wanted = parser.parse_args()
    took = [night(machines, wanted.experiments, wanted.seconds) for machines in (MACHINES[:1], MACHINES)]
    print(f"ratio {took[1] / took[0]:.3f}")


def night(machines: tuple[Made, ...], experiments: int, seconds: float) -> float:
    """Run a night and print its outcome; return its wall-clock time in seconds."""
    steps = script(experiments)
    with tempfile.TemporaryDirectory() as name, fleet(Path(name), machines, steps, seconds) as running:
        began = time.monotonic()
        code = running.run(experiments).wait()
        took = time.monotonic() - began
        lost, doubled = counts(running, experiments)
        mistaken = wrong(running)
        statuses = Counter(e["status"] for e in running.events("finished") if e["number"] > 0)
        who = Counter(
            str(m["machine"].get("fleet_machine")) for e in running.events("finished") for m in e["measurements"]
        )
        who.update(str(e["measurement"]["machine"].get("fleet_machine")) for e in running.events("repeated"))
        print(f"{len(machines)} machines: {took:.1f} s, exit code {code}, {dict(statuses)}, runs {dict(who)}")
        print(f"  lost {lost}, doubled {doubled}, runs counted twice {runs_twice(running)}")
        print(f"  wrong verdicts: {len(mistaken)}", *mistaken, sep="\n  ")
        if code or not statuses:
            print(running.said("run")[-3000:])
    return took


if __name__ == "__main__":
    main()
