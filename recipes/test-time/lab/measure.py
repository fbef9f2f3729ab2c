"""Print how much faster the tests are than those of the first version, and their time in seconds.

The first version's tests, in ``original/``, and the edited ones take turns, A B and then B A, each run in a new copy of
the lab.  So the load of the machine hardly changes the number.  The number is the logarithm of the ratio of the times.
Each run must run the same tests and make the same assertions as the first version, even while its time is taken.
"""

import json
import shutil
import tempfile
from math import exp, log
from pathlib import Path
from statistics import median

from runs import copied, load_plugins, watched
from same_tests import EXPECTED, OPTIONS, ORIGINAL, TESTS, Recorder, compare_tests

PAIRS = 2  # for a suite that takes minutes, 1 is enough


def seconds(original):
    """Return the seconds of one run, in a new copy of the lab, with the first version's tests or with the edited
    ones."""
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder).resolve() / "lab")
        if original:
            shutil.rmtree(tree / TESTS)
            shutil.copytree(ORIGINAL / TESTS, tree / TESTS)
        code, output, tests, spent = watched(tree, Recorder(), OPTIONS)
    if code != 0:
        raise SystemExit(f"the tests fail (exit code {code}):\n{output[-2000:]}")
    compare_tests(expected, {"tests": tests})
    return spent


expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
load_plugins()
before, now = [], []
for pair in range(PAIRS):
    for original in (True, False) if pair % 2 == 0 else (False, True):
        (before if original else now).append(seconds(original))
gain = sum(map(log, before)) / PAIRS - sum(map(log, now)) / PAIRS
print(f"METRIC log_speedup={gain:.5f}")
print(f"METRIC seconds={exp(-gain) * median(before):.4f}")
print(f"METRIC first_seconds={median(before):.4f}")
