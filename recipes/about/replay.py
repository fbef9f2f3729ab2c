"""Print the processor time of the recorded calls, in seconds; with --compare only compare the results.

The first and the edited version of the editable files take turns on the calls in calls.pickle or, for Node, in
calls.json (A B, B A, ...).  The median of the ratios of all pairs says how much faster the edited version is, whatever
else the machine does.  This median, multiplied by the best time of the first version, is the time in seconds.  Each
version works in a process of its own, and its modules are loaded again before each pass, so that no result can be kept
from one pass to the next.
"""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
PAIRS = 11


class Version:
    """One version of the editable files, in a process of its own."""

    def __init__(self, which):
        in_node = (HERE / "calls.json").exists()
        worker = (
            ["node", str(HERE / "replay_node.mjs")] if in_node else [sys.executable, str(HERE / "replay_worker.py")]
        )
        command = [*worker, which]
        fixed = {**os.environ, "PYTHONHASHSEED": "0"}  # so that sets always have the same order
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=fixed)
        self.which = which

    def go(self, how="many"):
        """Make all calls, ``once`` or in ``many`` passes; return the seconds of a pass, and a line about each call."""
        try:
            self.process.stdin.write(f"{how}\n")
            self.process.stdin.flush()
            seconds, count = self.process.stdout.readline().split()
        except (BrokenPipeError, ValueError):
            raise SystemExit(f"the {self.which} version ended with exit code {self.process.wait()}") from None
        return float(seconds), [self.process.stdout.readline().rstrip("\n") for _ in range(int(count))]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(expected, found):
    """End with an error that shows the first difference if a call gives another result than in the first version."""
    for before, after in zip(expected, found, strict=True):
        if before != after:
            same = next((n for n, (x, y) in enumerate(zip(before, after, strict=False)) if x != y), len(before))
            at = max(same - 15, 0)
            name = before.partition(" ")[0]
            shown = f"{after[at : at + 40]!r} instead of {before[at : at + 40]!r}"
            raise SystemExit(f"{name} gives a different result than at first: {shown}")


if __name__ == "__main__":
    first, edited = Version("first"), Version("edited")
    ratios, times = [], []
    compare(first.go("once")[1], edited.go("once")[1])
    for pair in range(0 if "--compare" in sys.argv else PAIRS):
        order = (first, edited) if pair % 2 == 0 else (edited, first)
        took = {version: version.go() for version in order}
        compare(took[first][1], took[edited][1])
        ratios.append(took[edited][0] / took[first][0])
        times.append(took[first][0])
    first.close()
    edited.close()
    if ratios:
        print(f"METRIC seconds={median(ratios) * min(times):.6g}")
        print(f"METRIC share_of_first={median(ratios):.4g}")
