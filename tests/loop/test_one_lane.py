"""With one lane, a ledger is the same as before lanes existed, line for line, except for times and seeds."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import command_line

GOLDEN = Path(__file__).parent / "golden" / "one_lane.jsonl"
"""Ledger that the version before lanes wrote in the lab below, without fields that differ between runs and machines.

Since then, a candidate first runs on a seed of the incumbent's newest runs.  The seeds, and the values and gains that
follow from them, were written anew; every verdict stayed the same.
"""
VARIES = {
    *("time", "started", "finished", "seconds", "peak_memory_mb"),
    *("machine", "version", "host", "profile", "preset", "comparability", "key"),
}
SOLVER = "X = 4.0  # knob: lin 0 10\nY = 2  # knob: int 0 8\n"
BENCH = """\
import os
from solver import X, Y
noise = (int(os.environ["AUTORESEARCH_SEED"]) * 7919 % 101 - 50) / 5000
print(f"METRIC score={(X - 3) ** 2 + (Y - 5) ** 2 + 1 + noise:.6f}")
"""
LAB = """\
[target]
kind = "command"
editable = ["solver.py"]
run = "python3 -S bench.py"
metric = "score"

[judge]
refresh_every = 4
removal_every = 3
"""
AGENT = """\
import json
from autoresearch_mlx.experiment import Proposal
from autoresearch_mlx.lab.source import set_knobs

class Replayed:
    '''Proposes what the optimiser of that version proposed.'''

    name = "knobs"

    def propose(self, context):
        lines = map(json.loads, open({golden!r}))
        e = next(e for e in lines if e["event"] == "finished" and e["number"] == context.number)
        text = set_knobs(context.files["solver.py"], {{name: after for name, (_, after) in e["knobs"].items()}})
        return Proposal(e["title"], {{"solver.py": text}}, e["axis"], e["rationale"], e["agent"], talk=e["talk"])
"""
DATES = {f"GIT_{who}_DATE": "2026-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")}
"""Fixed dates for git, so that the hashes of the commits are always the same."""


@pytest.mark.slow
def test_a_night_with_one_lane_is_written_as_before(tmp_path: Path) -> None:
    root = tmp_path / "lab"
    root.mkdir()
    for name, text in {"solver.py": SOLVER, "bench.py": BENCH, "lab.toml": LAB}.items():
        (root / name).write_text(text)
    told(root, "git", "init", "--quiet", "-b", "main")
    told(root, "git", "add", "-A")
    told(root, "git", "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-qm", "a lab")
    (root / "replayed.py").write_text(AGENT.format(golden=str(GOLDEN)))  # not committed
    run = ("run", "--tag", "t", "--agent", "replayed:Replayed", "--experiments", "14")
    assert command_line(*run, cwd=root, **DATES).returncode == 0
    written = (root / ".autoresearch" / "t" / "ledger.jsonl").read_text().splitlines()
    expected = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    assert [steady(json.loads(line)) for line in written] == expected
    assert [list(steady(json.loads(line))) for line in written] == [list(event) for event in expected]


def told(root: Path, *command: str) -> None:
    subprocess.run(command, cwd=root, env={**os.environ, **DATES}, capture_output=True, check=True, timeout=300)


def steady(value: Any) -> Any:
    """Return the value without the parts that differ from run to run."""
    if isinstance(value, dict):
        return {name: steady(held) for name, held in value.items() if name not in VARIES}
    return [steady(each) for each in value] if isinstance(value, list) else value
