"""Kill a team's night at random instants, continue it, and count what is lost or doubled.

    .venv/bin/python -m bench.team_deaths [--kills 30] [--lanes 1]

The chief runs in the process of ``run``. Proposals come from two scripted juniors, and from the chief when it follows
up a clear gain.  After each kill, the ledger must still have every line that it had.  At the end it must have every
experiment once and one outcome for every brief, and no two briefs that were open at the same time may share an axis.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

KNOBS = tuple(f"K{at}" for at in range(6))
BENCH = """\
import random, sys, time
from solver import {names}
time.sleep(0.1)
value = {formula}
print(f"METRIC score={{value + random.gauss(0, 0.05):.6f}}")
"""
LAB = """\
[target]
kind = "command"
editable = ["solver.py"]
run = "{python} -S bench.py"
metric = "score"
[team]
juniors = ["scripted:a.json", "scripted:b.json"]
"""


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    dice = random.Random(wanted.seed)
    with tempfile.TemporaryDirectory() as folder:
        lab = make_lab(Path(folder) / "lab", dice)
        before: dict[int, Any] = {}
        for _ in range(wanted.kills):
            before = kill(lab, wanted.lanes, dice, before)
        last = max(before, default=0) + 6
        done = subprocess.run(command(lab, wanted.lanes, 6), cwd=lab, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        check(lab, before, last)


def make_lab(root: Path, dice: random.Random) -> Path:
    root.mkdir()
    (root / "solver.py").write_text("".join(f"{name} = 5.0  # knob: lin 0 10\n" for name in KNOBS))
    formula = " + ".join(f"({name} - {at}) ** 2" for at, name in enumerate(KNOBS, 1))
    (root / "bench.py").write_text(BENCH.format(names=", ".join(KNOBS), formula=formula))
    (root / "lab.toml").write_text(LAB.format(python=sys.executable))
    for junior in "ab":
        chosen = [{dice.choice(KNOBS): round(dice.uniform(0, 10), 4)} for _ in range(400)]
        (root / f"{junior}.json").write_text(json.dumps([{"title": str(knobs), "knobs": knobs} for knobs in chosen]))
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for arguments in (["init", "--quiet"], ["add", "-A"], [*identity, "commit", "--quiet", "-m", "a lab"]):
        subprocess.run(["git", *arguments], cwd=root, check=True)
    return root


def command(lab: Path, lanes: int, experiments: int) -> list[str]:
    limits = ["--experiments", str(experiments), "--lanes", str(lanes)]
    return [sys.executable, "-m", "autoresearch_mlx", "run", "--agent", "team", "--tag", "t", *limits]


def kill(lab: Path, lanes: int, dice: random.Random, before: dict[int, Any]) -> dict[int, Any]:
    """Start the night, kill it at a random instant, and check that all earlier lines of the ledger are unchanged."""
    process = subprocess.Popen(
        command(lab, lanes, 1000), cwd=lab, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    time.sleep(dice.uniform(0.8, 3.0))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    now = finished(lab)
    lost = [number for number, line in before.items() if number > 0 and now.get(number) != line]
    if lost:
        raise SystemExit(f"lost or changed: {lost}")
    return now


def events(lab: Path) -> list[dict[str, Any]]:
    path = lab / ".autoresearch" / "t" / "ledger.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def finished(lab: Path) -> dict[int, Any]:
    return {event["number"]: event for event in events(lab) if event["event"] == "finished"}


def check(lab: Path, before: dict[int, Any], last: int) -> None:
    """Print the counts; raise SystemExit when anything is lost or doubled, or two open briefs share an axis."""
    told = events(lab)
    numbers = Counter(e["number"] for e in told if e["event"] == "finished" and e["number"] > 0)
    measured = sum(bool(e["measurements"]) for e in told if e["event"] == "finished")
    missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
    doubled = [number for number, times in numbers.items() if times > 1]
    given, ended = [e["brief"] for e in told if e["event"] == "brief"], Counter[int]()
    out: dict[int, Any] = {}
    shared = []
    for event in told:
        if event["event"] == "brief":
            shared += [event["brief"]] if event["axis"] and event["axis"] in out.values() else []
            out[event["brief"]] = event["axis"]
        elif event["event"] == "brief_ended" or (event["event"] == "finished" and event["talk"].get("brief")):
            number = event.get("brief", event.get("talk", {}).get("brief"))
            ended[number] += 1
            out.pop(number, None)
    wrong = [number for number in given if ended[number] != 1]
    print(f"{max(numbers)} experiments, {measured} measured; {len(given)} briefs")
    print(f"lost {missing}, doubled {doubled}, briefs without one outcome {wrong}, on a shared axis {shared}")
    if missing or doubled or wrong or shared:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
