"""Find the shell line that runs a repository's tests, and try it in a copy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from autoresearch_mlx.setup.about.copy import Copy, Ran
from autoresearch_mlx.setup.about.tree import Tree, is_test

PYTHON = "python3"
OTHERS = ("npm", "make", "cargo", "go", "sh")
"""Test runners for languages other than Python."""
_EMPTY = "no test specified"
"""Words of the script ``test`` in a new package.json; npm writes this script, which runs no test."""


@dataclass(frozen=True, slots=True)
class Tests:
    """A shell line that runs the tests of a repository."""

    line: str
    runner: str
    """Program that runs the tests, such as pytest, npm or make; for unittest, the folder of the tests."""
    seconds: float = 0.0
    """Seconds that the line took; 0 if it was not run yet."""


def test_lines(tree: Tree) -> Iterator[Tests]:
    """Yield the shell lines that may run the tests; the likeliest line comes first."""
    python = [path for path in tree.of(".py") if is_test(path)]
    if python:
        texts = [tree.text(path) for path in python if path.rpartition("/")[2].startswith("test")]
        plain = bool(texts) and all("unittest" in text and "pytest" not in text for text in texts)
        folder = shlex.quote(min((path.rpartition("/")[0] for path in python), key=len) or ".")
        top = " -t ." if f"{folder}/__init__.py" in tree.sizes else ""
        by_unittest = [Tests(f"{PYTHON} -m unittest discover -s {folder}{top}", folder)]
        by_pytest = [Tests(f"{PYTHON} -m pytest -q -p no:cacheprovider", "pytest")]
        uses = any("unittest" in text for text in texts)
        yield from (*by_unittest, *by_pytest) if plain else (*by_pytest, *(by_unittest if uses else ()))
    if "test" in tree.scripts and _EMPTY not in tree.scripts["test"]:
        yield Tests("npm test --silent", "npm")
    elif any(is_test(path) for path in tree.of(".js", ".mjs", ".cjs")):
        yield Tests("node --test", "npm")
    for target in ("test", "check", "tests"):
        if target in tree.make_targets:
            yield Tests(f"make -s {target}", "make")
            break
    if "Cargo.toml" in tree.sizes:
        yield Tests("cargo test --quiet --offline", "cargo")
    if "go.mod" in tree.sizes:
        yield Tests("go test ./...", "go")
    for path in ("test.sh", "tests.sh", "run_tests.sh", "tests/run.sh", "test/run.sh", "tests/test.sh"):
        if path in tree.sizes:
            yield Tests(f"sh {path}", "sh")


@dataclass(frozen=True, slots=True)
class Tried:
    """What happened when the shell lines of the tests were tried."""

    tests: Tests | None
    """The first line that passed; None if no line passed."""
    failed: tuple[Ran, ...] = ()
    """The results of the lines that failed."""

    def problem(self) -> str:
        """Return the reason why no tests can be used."""
        if not self.failed:
            return "there are no tests"
        return f"the tests do not pass as they are: {self.failed[0].words()}"

    def remedy(self) -> str:
        """Return what the user can do so that tests can be used."""
        if not self.failed:
            return "write tests, or name a command that fails when a result is wrong: --guard 'LINE'"
        if self.failed[0].hung:
            return "wait longer (--test-seconds), or name a shorter command that fails on wrong results: --guard 'LINE'"
        if "No module named pytest" in self.failed[0].said:
            command = "`python3 -m venv .venv && .venv/bin/pip install pytest` in the repository installs it"
            return f"{command}; also install what your tests import, or name another command: --guard 'LINE'"
        if re.search(r"No module named|Cannot find module|command not found|: not found", self.failed[0].said):
            place = "install what is missing, for example into .venv or node_modules of the repository"
            return f"{place}, or name another command: --guard 'LINE'"
        return "mend the tests, or name a command that passes now and fails when a result is wrong: --guard 'LINE'"


def try_tests(tree: Tree, copy: Copy, guard: str | None, first: tuple[str, ...], seconds: float) -> Tried:
    """Run the shell lines that may run the tests, one after another in the copy, until a line passes.

    ``guard`` is the user's own line; if it is given, no other line is tried.  Lines of the runners in ``first`` are
    tried before other lines.  Each line may take ``seconds``; after a line that takes longer, no other line is tried.
    """
    lines = [Tests(guard, _runner(guard))] if guard else list(test_lines(tree))
    lines.sort(key=lambda each: each.runner not in first)
    failed: list[Ran] = []
    for tests in lines:
        ran = copy.run(tests.line, seconds)
        copy.reset()
        if ran.passed:
            return Tried(Tests(tests.line, tests.runner, ran.seconds), tuple(failed))
        failed.append(ran)
        if ran.hung:
            break
    return Tried(None, tuple(failed))


def _runner(line: str) -> str:
    return next((each for each in ("pytest", "npm", "make", "cargo", "go") if each in line.split()), "sh")
