"""Run a short night that shows its progress on standard error, as a child process of test_live_terminal."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

from autoresearch_mlx.experiment import Experiment, Progress, Status
from autoresearch_mlx.report.screens import open_screen


def night(folder: Path, pause: float) -> None:
    screen = open_screen(sys.stderr, folder, "val_bpb")
    last = "interrupted"
    try:
        screen.say("session jul14")
        for number, status, value, gain, title, reason in RUNS:
            screen.started(number, title, 2.512345, 13260.0)
            for step in range(12):
                screen.progress(Progress("train", step * 100, 2.9, 11520.0, 12.0 - step))
                time.sleep(pause)
            screen.progress(Progress("evaluate"))
            screen.finished(experiment(number, status, value, gain, title, reason))
            if number == 1:
                with suppress(OSError):
                    print("a warning of some library", file=sys.stderr)
        last = "done"
    finally:
        screen.close()
        screen.progress(Progress("train", 1))
        screen.say(last)


RUNS: list[tuple[int, Status, float | None, float | None, str, str]] = [
    (1, "keep", 2.431022, 0.081323, "MATRIX_LR 0.04 -> 0.028", "gain"),
    (2, "discard", 2.436022, -0.005, "a title that is far too long for [red]any[/red] line 試してみる", "loss"),
    (3, "crash", None, None, "DEPTH 4 -> 6", "ValueError: shapes"),
]


def experiment(
    number: int, status: Status, value: float | None, gain: float | None, title: str, reason: str
) -> Experiment:
    return Experiment(number, status, value, gain, None, None, None, title, None, {}, "", reason, "", "")


if __name__ == "__main__":
    try:
        night(Path(sys.argv[1]), 1.0 if "slow" in sys.argv else 0.01)
    except KeyboardInterrupt:
        sys.exit(130)
