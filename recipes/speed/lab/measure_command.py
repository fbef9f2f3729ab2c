"""Print how much faster the edited command is than the first version, and its time in seconds; the two take turns.

``hyperfine`` takes the times where it is installed.  ``hyperfine`` is started once for each pair.  In hyperfine's own
order (all runs of one version, then all of the other), a change of the machine's speed could affect one version alone.
"""

import json
import shutil
import subprocess
import tempfile
from math import exp, log
from pathlib import Path
from statistics import median
from time import perf_counter

COMMAND = "python3 overlaps_of_file.py < intervals.json"  # a shell line; it runs here and in the folder ORIGINAL
ORIGINAL = "original"
PAIRS = 6


def run(folder):
    """Return the output of the command in a folder.  Ends with an error when the command fails."""
    done = subprocess.run(["sh", "-c", COMMAND], cwd=folder, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{COMMAND} ended with exit code {done.returncode} in {folder}: {done.stderr.decode()[-300:]}")
    return done.stdout


def seconds(folders):
    """Return the time of one run in each folder, in this order."""
    if shutil.which("hyperfine"):
        lines = [f"cd '{folder}' && {COMMAND}" for folder in folders]
        with tempfile.TemporaryDirectory() as temporary:
            report = Path(temporary) / "times.json"
            options = ["--shell", "sh", "--runs", "1", "--style", "none", "--export-json", str(report)]
            subprocess.run(["hyperfine", *options, *lines], capture_output=True, check=True)
            return [result["mean"] for result in json.loads(report.read_text())["results"]]
    times = []
    for folder in folders:
        began = perf_counter()
        subprocess.run(["sh", "-c", COMMAND], cwd=folder, stdout=subprocess.DEVNULL, check=True)
        times.append(perf_counter() - began)
    return times


if run(".") != run(ORIGINAL):
    raise SystemExit(f"the output of {COMMAND} is not that of the first version")
logs, first = [], []
for pair in range(PAIRS):
    before, after = seconds([ORIGINAL, "."]) if pair % 2 == 0 else reversed(seconds([".", ORIGINAL]))
    logs.append(log(before / after))
    first.append(before)
gain = median((one + other) / 2 for one, other in zip(logs[::2], logs[1::2], strict=True))
print(f"METRIC log_speedup={gain:.5f}")
print(f"METRIC seconds={exp(-gain) * min(first):.6g}")
print(f"METRIC first_seconds={min(first):.6g}")
