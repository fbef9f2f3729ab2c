"""Run the tests under coverage.py, and compare them with those of the first version: a check of this lab.

Each test must still be there, end as before, and make the same assertions; each line and branch of the sources that
the tests reached must still be reached.  ``expected.json`` has what the first version does, and
``python3 same_tests.py --record`` writes it and the first version's tests anew, for tests of your own.
"""

import functools
import hashlib
import json
import linecache
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

from runs import copied, load_plugins, pytest, reached

SOURCES = ["store.py"]  # patterns of the files that the tests test; not those that the loop may edit
TESTS = "tests"  # folder of the tests
ORIGINAL = Path("original")  # folder with the first version of the folder of tests
EXPECTED = Path("expected.json")
ORDER = ("failed", "skipped", "passed")
"""Outcomes; a test has the first one that any of its phases has."""


class Recorder:
    """Keeps the outcome and the assertions of each test, as they are written; a plugin of pytest."""

    def __init__(self):
        self.tests = {}
        self.running = ""

    def of(self, name):
        """Return what is known about a test."""
        return self.tests.setdefault(name, {"outcome": "passed", "assertions": []})

    def add(self, text):
        """Keep an assertion of the test that is running."""
        if self.running and text not in (known := self.of(self.running)["assertions"]):
            known.append(text)

    def pytest_configure(self, config):
        for name in dir(unittest.TestCase):
            if name.startswith("assert"):
                setattr(unittest.TestCase, name, self.noted(getattr(unittest.TestCase, name)))
        pytest.raises = self.noted(pytest.raises)

    def noted(self, function):
        """Return the function, made to keep the line that calls it."""

        @functools.wraps(function)
        def noting(*arguments, **named):
            caller = sys._getframe(1)
            if not caller.f_globals.get("__name__", "").startswith("unittest"):
                self.add(linecache.getline(caller.f_code.co_filename, caller.f_lineno).strip())
            return function(*arguments, **named)

        return noting

    def pytest_runtest_logstart(self, nodeid, location):
        self.running = nodeid

    def pytest_runtest_logreport(self, report):
        known = self.of(report.nodeid)
        known["outcome"] = min(known["outcome"], report.outcome, key=ORDER.index)

    def pytest_assertion_pass(self, item, lineno, orig, expl):
        self.add(orig)


def observed():
    """Run the tests in a copy of the lab; return their outcomes and assertions, and what they reached, by file."""
    files = sorted({path for pattern in SOURCES for path in Path().glob(pattern)})
    load_plugins()
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder).resolve() / "lab")
        report, _ = reached(tree, files, Recorder(), ["-o", "enable_assertion_pass_hook=true"])
    found = {
        str(path): {
            "hash": hashlib.sha256(path.read_bytes()).hexdigest()[:12],
            "lines": report["files"].get(str(path), {}).get("executed_lines", []),
            "branches": report["files"].get(str(path), {}).get("executed_branches", []),
        }
        for path in files
    }
    return {"tests": report["tests"], "reached": found}


def compare(before, now):
    """End with an error that names the first difference to the worse."""
    for name, known in before["tests"].items():
        found = now["tests"].get(name)
        if found is None:
            raise SystemExit(f"{name} is not run any more")
        if found["outcome"] != known["outcome"]:
            raise SystemExit(f"{name}: {found['outcome']}; it was {known['outcome']}")
        for text in known["assertions"]:
            if text not in found["assertions"]:
                raise SystemExit(f"{name} does not assert any more: {text}")
    for name, found in now["tests"].items():
        if found["outcome"] == "failed" and name not in before["tests"]:
            raise SystemExit(f"{name} is new and fails")
    for path, known in before["reached"].items():
        found = now["reached"].get(path)
        if found is None or found["hash"] != known["hash"]:
            raise SystemExit(f"{path} has changed since {EXPECTED} was written: python3 same_tests.py --record")
        if lost := sorted(set(known["lines"]) - set(found["lines"])):
            raise SystemExit(f"the tests do not reach {path}, line {lost[0]} any more")
        if lost := sorted(set(map(tuple, known["branches"])) - set(map(tuple, found["branches"]))):
            raise SystemExit(f"the tests do not go from line {lost[0][0]} to {lost[0][1]} of {path} any more")


if __name__ == "__main__":
    now = observed()
    if "--record" in sys.argv:
        EXPECTED.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(ORIGINAL, ignore_errors=True)
        shutil.copytree(TESTS, ORIGINAL / TESTS, ignore=shutil.ignore_patterns("__pycache__"))
        print(f"wrote {EXPECTED} and {ORIGINAL / TESTS}: {len(now['tests'])} tests")
    else:
        compare(json.loads(EXPECTED.read_text(encoding="utf-8")), now)
