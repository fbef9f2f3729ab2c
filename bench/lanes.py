"""Measure how much sooner three lanes finish than one: 30 experiments of a program that sleeps for two seconds.

    .venv/bin/python -m bench.lanes [--experiments 30] [--seconds 2] [--lanes 3]

Both nights run one after the other, in this process, each in a lab of its own, with the default judge.  Both nights
have the same experiments: most lose, and every tenth gains, as in the public logs (docs/compare.md).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

BENCH = "import time\nfrom solver import X\ntime.sleep({seconds})\nprint(f'METRIC score={{X:.6f}}')\n"
LAB = '[target]\nkind = "command"\neditable = ["solver.py"]\nrun = "{python} -S bench.py"\nmetric = "score"\n'


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--lanes", type=int, default=3)
    wanted = parser.parse_args()
    took = {}
    for lanes in (1, wanted.lanes):
        with tempfile.TemporaryDirectory() as folder:
            lab = make_lab(Path(folder) / "lab", wanted.experiments, wanted.seconds)
            began = time.monotonic()
            night(lab, lanes, wanted.experiments)
            took[lanes] = time.monotonic() - began
            counts = Counter(e["status"] for e in finished(lab) if e["number"] > 0)
            check(lab, wanted.experiments)
            print(f"{lanes} lanes: {took[lanes]:.1f} s, {dict(counts)}, none lost, none doubled")
    print(f"ratio {took[wanted.lanes] / took[1]:.3f}")


def make_lab(root: Path, experiments: int, seconds: float) -> Path:
    root.mkdir()
    (root / "solver.py").write_text("X = 100.0\n")
    (root / "bench.py").write_text(BENCH.format(seconds=seconds))
    (root / "lab.toml").write_text(LAB.format(python=sys.executable))
    values = [99.0 - at if at % 10 == 5 else 200.0 + at for at in range(experiments)]
    steps = [{"title": f"X = {x}", "knobs": {"X": x}} for x in values]
    (root / "steps.json").write_text(json.dumps(steps))
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "--quiet"], ["add", "-A"], [*identity, "commit", "--quiet", "-m", "a lab"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def night(lab: Path, lanes: int, experiments: int) -> None:
    options = ["--agent", "scripted:steps.json", "--experiments", str(experiments), "--lanes", str(lanes)]
    command = [sys.executable, "-m", "autoresearch_mlx", "run", "--tag", "t", *options]
    subprocess.run(command, cwd=lab, check=True, capture_output=True)


def finished(lab: Path) -> list[dict[str, Any]]:
    lines = (lab / ".autoresearch" / "t" / "ledger.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "finished"]


def check(lab: Path, experiments: int) -> None:
    """Raise SystemExit when an experiment is missing or appears twice."""
    numbers = Counter(e["number"] for e in finished(lab))
    if numbers != dict.fromkeys(range(experiments + 1), 1):
        raise SystemExit(f"lost or doubled: {numbers}")


if __name__ == "__main__":
    main()
