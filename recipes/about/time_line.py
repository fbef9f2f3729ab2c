"""Print the time of a shell line, in seconds: the first version and the edited one take turns.

The times are processor times, because other work on the machine hardly changes these.  With "wall" in time_line.json
they are times on a clock, so that waiting counts.

The first version is a copy of this folder with the files of measuring/first/ in it.  Both versions are built before the
first pair, and building is not timed.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LEAST_PAIRS, MOST_PAIRS, ENOUGH_SECONDS = 3, 21, 2.0
settings = json.loads((HERE / "time_line.json").read_text())


bins = [str(each / "node_modules" / ".bin") for each in (ROOT, *ROOT.parents)]
environment = {**os.environ, "PATH": os.pathsep.join([*bins, os.environ.get("PATH", os.defpath)])}


def clock():
    """Return the processor seconds of the ended child processes, or with "wall" the seconds of the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return perf_counter() if settings["wall"] else used.ru_utime + used.ru_stime


def run(line, folder):
    """Run a shell line; return its output and its seconds.  Ends with an error when the line fails."""
    began = clock()
    done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, env=environment)
    spent = clock() - began
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace")[-300:]
        raise SystemExit(f"{line} ended with exit code {done.returncode} in {folder}: {said}")
    return done.stdout, spent


def left_out(folder, names):
    """Return the names of the files that are not copied."""
    return {".git", ".autoresearch", "node_modules", ".venv"} & set(names)


with tempfile.TemporaryDirectory() as temporary:
    first = Path(temporary) / "first"
    shutil.copytree(ROOT, first, ignore=left_out, symlinks=True)
    for folder in ("node_modules", ".venv"):
        there = next((each / folder for each in (ROOT, *ROOT.parents) if (each / folder).exists()), None)
        if there is not None:
            (first / folder).symlink_to(there)
    for path in settings["editable"]:
        shutil.copyfile(HERE / "first" / f"{path}.txt", first / path)
        os.utime(first / path)  # makes the copy newer than files built from the edited version
    for folder in (first, ROOT):
        if settings["build"]:
            run(settings["build"], folder)
    results = [run(settings["run"], folder)[0] for folder in (first, ROOT)]
    if settings["same_output"] and results[0] != results[1]:
        raise SystemExit(f"the output of {settings['run']} differs from the first version's")
    if "--compare" in sys.argv:
        sys.exit()
    ratios, times, began = [], [], perf_counter()
    while len(ratios) < LEAST_PAIRS or (len(ratios) < MOST_PAIRS and perf_counter() - began < ENOUGH_SECONDS):
        order = (first, ROOT) if len(ratios) % 2 == 0 else (ROOT, first)
        took = {folder: run(settings["run"], folder)[1] for folder in order}
        ratios.append(took[ROOT] / took[first])
        times.append(took[first])
print(f"METRIC seconds={median(ratios) * min(times):.6g}")
print(f"METRIC share_of_first={median(ratios):.4g}")
