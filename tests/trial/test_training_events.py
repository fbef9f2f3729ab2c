"""The edited script can write to the event pipe: valid messages are read, and all others are ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tiny_training as tiny

from autoresearch_mlx.experiment import Measurement, Progress
from autoresearch_mlx.trial.conditions import Conditions


def told(folder: Path, *events: Any, seen: list[Progress] | None = None) -> Measurement:
    """Run a script that only writes messages; of all rows, only those for training exist."""
    none, rows = folder / "none", folder / "rows.npy"
    np.save(rows, np.zeros((4, 33), np.uint16))
    under = Conditions("train_mlx.py", rows, none, none, 300, 32, 32, "cpu", 0.5, 10.0, 60.0, steps=1)
    text = "import json, os\nbuild_model = train = None\nfd = int(os.environ['AUTORESEARCH_EVENTS_FD'])\n"
    text += f"for line in {[json.dumps(event) for event in events]!r}:\n    os.write(fd, line.encode() + b'\\n')\n"
    return tiny.measure(text, folder, under, seen=seen)


def test_events_without_sense_neither_stop_the_loop_nor_reach_the_ledger(tmp_path: Path) -> None:
    seen: list[Progress] = []
    odd = {"step": "x", "loss": float("nan"), "tokens_per_second": [1], "steps": "a", "tokens": {}, "num_params": None}
    kinds = ["compile", "train", "step", "trained", "saved", "nosuch", 3, None, ["train"], {"a": 1}]
    done = told(tmp_path, *({"event": kind, **odd, "peak_memory_mb": "much"} for kind in kinds), seen=seen)
    assert done.failure == "invalid"
    assert "harness.main" in done.reason
    assert (done.steps, done.tokens, done.tokens_per_second, done.extra) == (None, None, None, {})
    assert {(p.step, p.loss, p.tokens_per_second) for p in seen} == {(None, None, None)}


def test_a_number_too_large_for_a_float_is_no_number(tmp_path: Path) -> None:
    assert told(tmp_path, {"event": "compile"}, {"event": "trained", "steps": 10**400}).failure == "invalid"


def test_a_failure_told_by_the_script_itself_is_a_crash(tmp_path: Path) -> None:
    done = told(tmp_path, {"event": "failed", "reason": {"no": "text"}})
    assert (done.failure, done.reason) == ("crash", "{'no': 'text'}")
