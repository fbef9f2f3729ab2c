"""Propose labs by rules: the numbers that can be measured, the files that may change, and the plans for a number."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

from autoresearch_mlx.setup.about.bundle_plan import builds, bundle_plans
from autoresearch_mlx.setup.about.page_plan import page_plans, page_sources
from autoresearch_mlx.setup.about.plan import FOLDER, Check, Metric, Plan, first_versions, notes, script
from autoresearch_mlx.setup.about.sentence import Number
from autoresearch_mlx.setup.about.speed_plan import STARTERS, speed_plans
from autoresearch_mlx.setup.about.spoil import longer
from autoresearch_mlx.setup.about.terraform_plan import terraform_plans
from autoresearch_mlx.setup.about.tests_of import OTHERS, PYTHON, Tests
from autoresearch_mlx.setup.about.tree import Tree, is_test

_CODE = (".py", ".js", ".mjs", ".cjs", ".ts", ".c", ".cc", ".cpp", ".rs", ".go")
_FAMILIES = ((".py",), (".js", ".mjs", ".cjs", ".ts"), (".c", ".cc", ".cpp"), (".rs",), (".go",))
_SETUP = re.compile(
    r"(?:^|/)(?:setup|conftest|noxfile|tasks)\.py$|\.config\.[cm]?[jt]s$"
    r"|(?:^|/)(?:build|esbuild|webpack|rollup|vite|gulpfile)[\w.-]*\.[cm]?[jt]s$"
    r"|(?:^|/)(?:bench\w*|scripts?|docs?|examples?|tools?)/|(?:^|/)bench[\w-]*\."
)
_PRINTS = re.compile(r"METRIC\s+\{?([A-Za-z_][\w.]*)\}?\s*=")
_HIGHER = re.compile(r"\b(?:raise|increase|higher|better|improve|more|maximi[sz]e|grow|boost)\b")
_MOST_EDITABLE = 20
_UNITTEST = f"{PYTHON} -m unittest "


def sources(tree: Tree) -> tuple[str, ...]:
    """Return the source files of the repository's most frequent language, without tests and build files."""
    code = [path for path in tree.of(*_CODE) if not is_test(path) and not _SETUP.search(path) and tree.sizes[path]]
    families = [[path for path in code if path.endswith(family)] for family in _FAMILIES]
    largest = max(families, key=len)
    return tuple(largest)


def editable_for(number: Number, tree: Tree, named: Sequence[str]) -> tuple[str, ...]:
    """Return the files that may change for this number.

    ``named`` has the files that the sentence names.  If none of these files suits the number, all suitable files of the
    repository are returned.
    """
    suits: dict[Number, Callable[[], Sequence[str]]] = {
        "speed": lambda: sources(tree),
        "size": lambda: sources(tree),
        "printed": lambda: sources(tree),
        "bundle": lambda: sources(tree),
        "test-time": lambda: test_files(tree),
        "coverage": lambda: test_files(tree),
        "page": lambda: page_sources(tree),
        "terraform": lambda: tree.of(".tf"),
    }
    fitting = suits[number]()
    if number in ("speed", "size", "printed", "bundle") and (code := [path for path in named if path.endswith(_CODE)]):
        return tuple(code)
    return tuple(path for path in named if path in fitting) or tuple(fitting)


def test_files(tree: Tree) -> tuple[str, ...]:
    """Return the Python files of the tests."""
    return tuple(path for path in tree.of(".py") if is_test(path) and tree.sizes[path])


def possible(tree: Tree) -> tuple[Number, ...]:
    """Return the numbers that can be measured in this repository."""
    code, tests = bool(sources(tree)), bool(test_files(tree))
    there: dict[Number, bool] = {
        "printed": bool(printing(tree)),
        "speed": code,
        "size": code,
        "bundle": code and builds(tree),
        "test-time": tests and code,
        "coverage": tests and code,
        "page": bool(page_sources(tree)),
        "terraform": bool(tree.of(".tf")),
    }
    return tuple(number for number, is_there in there.items() if is_there)


def plans(number: Number, tree: Tree, editable: Sequence[str], tests: Tests | None, sentence: str) -> Iterator[Plan]:
    """Yield the plans for a number; the best plan comes first."""
    files = tuple(editable)
    if number == "speed":
        yield from _printed(tree, files, tests, sentence, times_only=True)
        yield from speed_plans(tree, files, tests)
    elif number == "size":
        yield from _size(tree, files, tests)
    elif number == "printed":
        yield from _printed(tree, files, tests, sentence, times_only=False)
    elif number == "bundle":
        yield from bundle_plans(tree, files, tests)
    elif number == "page":
        yield from page_plans(tree, files)
    elif number == "terraform":
        yield from terraform_plans(tree, files)
    elif tests is not None:
        yield from _of_tests(number, tree, files, tests)


def too_many(editable: Sequence[str]) -> bool:
    """Return True if these files are too many for one lab."""
    return len(editable) > _MOST_EDITABLE


def _size(tree: Tree, editable: tuple[str, ...], tests: Tests | None) -> Iterator[Plan]:
    if tests is None:
        return
    worse = longer({path: tree.text(path) for path in editable})
    checks = (Check("tests", tests.line),)
    if all(path.endswith(".py") for path in editable):
        files = {**script("measure.py", "size"), **script("honest.py", "size")}
        if tests.line.startswith(_UNITTEST):  # an edit that ends the test process early would pass
            files |= script("run_tests.py", "size")
            checks = (Check("tests", f"{PYTHON} {FOLDER}/run_tests.py {tests.line.removeprefix(_UNITTEST)}"),)
        honest = Check("honest", f"{PYTHON} {FOLDER}/honest.py")
        metrics = (Metric("lines"), Metric("bytes", unit="bytes", limit="+5 %"))
        run = f"{PYTHON} {FOLDER}/measure.py"
        yield Plan("size", metrics, editable, run, (*checks, honest), files, exact=True, worse=worse)
        return
    files = {**script("tokens.py"), **notes("tokens.json", editable=list(editable))}
    metrics = (Metric("tokens"), Metric("lines", limit="+0 %"))
    yield Plan("size", metrics, editable, f"{PYTHON} {FOLDER}/tokens.py", checks, files, exact=True, worse=worse)


def _of_tests(number: Number, tree: Tree, editable: tuple[str, ...], tests: Tests) -> Iterator[Plan]:
    """Yield the plan for the time or the coverage of Python tests."""
    if not all(path.endswith(".py") for path in editable) or tests.runner in OTHERS:
        return
    run, given = f"{PYTHON} {FOLDER}/tests_trace.py", {"runner": tests.runner, "tests": list(editable)}
    files = {**script("tests_trace.py"), **notes("tests.json", **given, sources=list(sources(tree)))}
    if number == "coverage":
        open_words = "The number counts the lines that the tests run; it does not show that the tests check anything."
        metrics = (Metric("coverage", "max", "%"), Metric("checks", "max", limit="-0 %"))
        checks = (Check("tests", tests.line),)
        yield Plan(number, metrics, editable, run, checks, files, exact=True, best=100.0, open=(open_words,))
        return
    first = first_versions(tree, editable)
    known = {"run": tests.line, "build": "", "same_output": False, "wall": True, "editable": list(editable)}
    timed = {**script("time_line.py"), **notes("time_line.json", **known)}
    checks = (Check("same_tests", f"{run} --same"),)
    yield Plan(
        number,
        (Metric("seconds", unit="s"),),
        editable,
        f"{PYTHON} {FOLDER}/time_line.py",
        checks,
        {**files, **timed, **first},
        prepare=(f"{run} --write",),
    )


def printing(tree: Tree) -> tuple[tuple[str, str], ...]:
    """Return (path, metric's name) for each program of the repository that prints a line ``METRIC name=value``."""
    programs = tree.of(*STARTERS)
    found = ((path, _PRINTS.search(tree.text(path))) for path in programs[:300])
    return tuple((path, match[1]) for path, match in found if match)


_TIMES = re.compile(r"second|millis|_ms\b|\bms\b|time|latency|_us\b|_ns\b")


def _printed(
    tree: Tree, editable: tuple[str, ...], tests: Tests | None, sentence: str, times_only: bool
) -> Iterator[Plan]:
    """Yield a plan for each program of the repository that already prints a number.

    With ``times_only``, yield a plan only for a number whose name is that of a time.
    """
    for path, name in printing(tree):
        if path in editable or (times_only and not _TIMES.search(name)):
            continue
        falls = _TIMES.search(name) or re.search(r"bytes|size|loss|error|lines|memory|cost|miss", name)
        rises = not falls and (_HIGHER.search(sentence.lower()) or "score" in name)
        run = f"{STARTERS[PurePosixPath(path).suffix]} {shlex.quote(path)}"
        checks = (Check("tests", tests.line),) if tests else ()
        yield Plan("printed", (Metric(name, "max" if rises else "min"),), editable, run, checks)
