"""Run the tests and watch what they do: how many lines of the source they run, which tests there are, how they end.

With --write the first version's tests are recorded in tests.json.  With --same the tests must be the same, end the same
way, check as much, and run all lines that they ran before.  Without either option, the share of lines that the tests
run is printed.
"""

import ast
import json
import os
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NOTES = HERE / "tests.json"
settings = json.loads(NOTES.read_text())
sources = {str((ROOT / path).resolve()): path for path in settings["sources"]}
ran = {path: set() for path in settings["sources"]}


def trace(frame, event, argument):
    """Note each line of a source file; other files are not followed."""
    path = sources.get(frame.f_code.co_filename)
    if path is None:
        return None

    def line(frame, event, argument):
        if event == "line":
            ran[path].add(frame.f_lineno)
        return line

    ran[path].add(frame.f_lineno)
    return line


def lines_of(path):
    """Return the numbers of the lines that can run."""
    found, codes = set(), [compile((ROOT / path).read_text(encoding="utf-8"), path, "exec")]
    while codes:
        code = codes.pop()
        found |= {number for _, _, number in code.co_lines() if number}
        codes += [each for each in code.co_consts if hasattr(each, "co_lines")]
    return found


def checks():
    """Return how many statements of the tests check something."""
    count = 0
    for path in settings["tests"]:
        if not (ROOT / path).exists():
            continue
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "attr", "") if isinstance(node, ast.Call) else ""
            count += isinstance(node, ast.Assert) or name.startswith(("assert", "raises"))
    return count


class Outcomes:
    """Hooks of pytest."""

    def __init__(self):
        self.found = {}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            self.found[report.nodeid] = report.outcome


def with_pytest():
    import pytest

    outcomes = Outcomes()
    code = pytest.main(["-q", "-o", "addopts=", "-p", "no:cacheprovider", "--rootdir", str(ROOT)], plugins=[outcomes])
    return int(code), outcomes.found


def with_unittest(start):
    import unittest

    top = "." if (ROOT / start / "__init__.py").exists() else None
    suite, names = unittest.defaultTestLoader.discover(start, top_level_dir=top), []
    rest = [suite]
    while rest:
        each = rest.pop()
        if isinstance(each, unittest.TestSuite):
            rest += list(each)
        else:
            names.append(each.id())
    result = unittest.TextTestRunner(verbosity=0).run(suite)
    skipped = {test.id() for test, _ in result.skipped}
    return int(not result.wasSuccessful()), {name: "skipped" if name in skipped else "passed" for name in names}


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.path[0] = str(ROOT)
    sys.dont_write_bytecode = True
    threading.settrace(trace)
    sys.settrace(trace)
    code, outcomes = with_pytest() if settings["runner"] == "pytest" else with_unittest(settings["runner"])
    sys.settrace(None)
    if code:
        raise SystemExit(f"the tests ended with exit code {code}")
    able = {path: lines_of(path) for path in settings["sources"]}
    covered = {path: sorted(ran[path] & able[path]) for path in able}
    if "--write" in sys.argv:
        first = {"outcomes": outcomes, "checks": checks(), "covered": covered}
        NOTES.write_text(json.dumps({**settings, "first": first}, indent=1) + "\n")
    elif "--same" in sys.argv:
        first = settings["first"]
        if changed := [name for name, ending in first["outcomes"].items() if outcomes.get(name) != ending]:
            now = outcomes.get(changed[0], "gone")
            raise SystemExit(f"{changed[0]}: {first['outcomes'][changed[0]]} before, {now} now")
        if checks() < first["checks"]:
            raise SystemExit(f"the tests check {checks()} things; before they checked {first['checks']}")
        for path, numbers in first["covered"].items():
            if lost := sorted(set(numbers) - set(covered[path])):
                raise SystemExit(f"the tests no longer run line {lost[0]} of {path}")
    else:
        total = sum(map(len, able.values()))
        print(f"METRIC coverage={100 * sum(map(len, covered.values())) / max(total, 1):.2f}")
        print(f"METRIC tests={len(outcomes)}")
        print(f"METRIC checks={checks()}")
