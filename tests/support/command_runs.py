"""Run the real command in labs of its own, and read its output."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from conftest import command_line

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, read

STEPS: list[dict[str, Any]] = [
    {"title": "X nearer", "axis": "x", "knobs": {"X": 3.5}, "rationale": "the minimum is at 3"},
    {"title": "X too far", "knobs": {"X": 9.0}},
    {"title": "broken", "files": {"solver.py": "X = 1 / 0\nY = 2\n"}},
    {"title": "X too far, again", "knobs": {"X": 9.0}},
    {"title": "Y right 試", "knobs": {"Y": 5}},
]
STATUSES = {0: "keep", 1: "keep", 2: "discard", 3: "crash", 4: "duplicate", 5: "keep"}


def script(lab: Lab, *steps: dict[str, Any]) -> str:
    path = lab.root.parent / "steps.json"
    path.write_text(json.dumps(steps))
    return f"scripted:{path}"


def call(lab: Lab, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command, and check that it does not end in a traceback."""
    done = command_line(*arguments, cwd=lab.root, **environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def data(lab: Lab, *arguments: str) -> Any:
    """Return the JSON document of a command that prints nothing else."""
    done = call(lab, *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def refused(lab: Lab, *arguments: str, code: int = 1) -> str:
    """Return the message of a command that fails: an error and a hint on stderr, nothing on stdout."""
    done = call(lab, *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done
    if code == 1:
        assert re.match(r"(.*\n)*error: .+\nhint: .+\n", done.stderr), done.stderr
    return done.stderr


def experiments(lab: Lab, tag: str = "t") -> dict[int, str]:
    return {e.number: e.status for e in read(lab.folder(tag) / FILE).history.experiments}
