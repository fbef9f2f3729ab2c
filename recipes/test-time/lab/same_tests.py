"""Run the tests under coverage.py, and compare them with those of the first version: a check of this lab.

Each test must still be there, end as before, and make the same assertions; each line and branch of the sources that the
tests reached must still be reached.  The tests must also notice wrong programs that the first version's tests notice: a
few, drawn anew each time, with one small change each.  ``expected.json`` has what the first version does, and ``python3
same_tests.py --record`` writes it and the first version's tests anew, for tests of your own.
"""

import functools
import hashlib
import json
import linecache
import random
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

from mutants import alike, mutants_of
from runs import copied, load_plugins, pytest, reached, watched

SOURCES = ["store.py"]  # patterns of the files that the tests test; not those that the loop may edit
TESTS = "tests"  # folder of the tests
ORIGINAL = Path("original")  # folder with the first version of the folder of tests
EXPECTED = Path("expected.json")
MOST_MUTANTS = 40  # wrong programs that --record tries; each of them costs a run of the tests
DRAWN = 6  # wrong programs that each edit must notice, of those that the first version's tests notice
OPTIONS = ("-o", "enable_assertion_pass_hook=true")
"""Options of pytest; the same in all runs, so that no test can tell what a run is for."""
ORDER = ("failed", "skipped", "passed")
"""Outcomes, the worst first; a test has the worst outcome of its phases."""


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
        """Return the function, wrapped so that it notes the line that calls it."""

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
        report, _ = reached(tree, files, Recorder(), OPTIONS)
    found = {
        str(path): {
            "hash": hashlib.sha256(path.read_bytes()).hexdigest()[:12],
            "lines": report["files"].get(str(path), {}).get("executed_lines", []),
            "branches": report["files"].get(str(path), {}).get("executed_branches", []),
        }
        for path in files
    }
    return {"tests": report["tests"], "reached": found}


def wrong_programs(now):
    """Return the wrong programs with a change in a line that the tests reach, by path, line and change."""
    return {
        f"{path}:{mutant.line}: {mutant.change}": (path, mutant.text)
        for path, found in now["reached"].items()
        for mutant in mutants_of(Path(path).read_text(encoding="utf-8"), set(found["lines"]))
    }


def noticed(names, programs):
    """Return the named wrong programs with which the tests fail.

    Ends with an error if the tests fail with programs that do the same as the right one and are written differently.
    """
    found, seconds = [], None
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder).resolve() / "lab")
        right = {path: Path(path).read_text(encoding="utf-8") for path, _ in programs.values()}
        order = [None, *names, None]
        order.insert(random.randrange(1, len(order)), None)  # None: the right program
        for name in order:
            path, text = (None, None) if name is None else programs[name]
            for each, known in right.items():
                other = alike(known, random.randrange(10**6, 10**9)) if name is None else known
                (tree / each).write_text(text if each == path else other, encoding="utf-8")
            code, output, _, spent = watched(tree, Recorder(), OPTIONS, seconds)
            if name is None and code != 0:
                said = "the tests fail for a program that does the same and is written differently"
                raise SystemExit(f"{output[-1000:]}\n{said}")
            seconds = seconds or 10 * spent + 5
            found += [name] if name is not None and code != 0 else []
    return found


def compare_noticed(before, now):
    """End with an error if the tests do not notice a wrong program that they noticed before."""
    programs = wrong_programs(now)
    known = [name for name in before.get("noticed", ()) if name in programs]
    drawn = random.sample(known, min(DRAWN, len(known)))
    if lost := sorted(set(drawn) - set(noticed(drawn, programs))):
        raise SystemExit(f"the tests do not notice any more that {lost[0].replace(': ', ' is wrong: ', 1)}")


def compare(before, now):
    """End with an error that names the first change for the worse."""
    compare_tests(before, now)
    for path, known in before["reached"].items():
        found = now["reached"].get(path)
        if found is None or found["hash"] != known["hash"]:
            raise SystemExit(f"{path} has changed since {EXPECTED} was written: run python3 same_tests.py --record")
        if lost := sorted(set(known["lines"]) - set(found["lines"])):
            raise SystemExit(f"the tests do not reach {path}, line {lost[0]} any more")
        if lost := sorted(set(map(tuple, known["branches"])) - set(map(tuple, found["branches"]))):
            raise SystemExit(f"the tests do not go from line {lost[0][0]} to {lost[0][1]} of {path} any more")


def compare_tests(before, now):
    """End with an error if a test is gone, ends differently, or asserts less."""
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


if __name__ == "__main__":
    now = observed()
    if "--record" in sys.argv:
        programs = wrong_programs(now)
        names = list(programs)
        now["noticed"] = noticed(random.sample(names, min(MOST_MUTANTS, len(names))), programs)
        EXPECTED.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(ORIGINAL, ignore_errors=True)
        shutil.copytree(TESTS, ORIGINAL / TESTS, ignore=shutil.ignore_patterns("__pycache__"))
        print(
            f"wrote {EXPECTED} and {ORIGINAL / TESTS}: {len(now['tests'])} tests, {len(now['noticed'])} wrong programs"
        )
    else:
        expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
        compare(expected, now)
        compare_noticed(expected, now)
