"""Propose how to measure the speed of code: time the calls that the tests make, a benchmark, or a whole program."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from autoresearch_mlx.setup.about.plan import FOLDER, Check, Metric, Plan, first_versions, notes, script
from autoresearch_mlx.setup.about.spoil import slowed
from autoresearch_mlx.setup.about.tests_of import OTHERS, PYTHON, Tests
from autoresearch_mlx.setup.about.tree import Tree, is_test

_PRINTS = re.compile(
    r"__main__|require\.main|^(?:print|console\.log|process\.stdout\.write)\(|^(?:echo|printf) ", re.MULTILINE
)
_NODE = (".js", ".mjs", ".cjs")
STARTERS = {".py": PYTHON, **dict.fromkeys(_NODE, "node"), ".sh": "sh"}
"""The program that runs a source file, by the ending of the file's name."""
_SECONDS = (Metric("seconds", unit="s"),)
_BENCH = re.compile(r"(?:^|/)bench[\w-]*(?:\.|/[\w-]+\.)(?:py|js|mjs)$")
_RECORDED_MS, _WHOLE_MS = 1.0, 40.0
"""Milliseconds by which `check` delays each call of a function on purpose: for recorded calls, and for whole runs."""
_WHOLE_RUN = (
    "The number is the time of the whole command, including its start. With larger inputs, or with your own benchmark "
    "(`bench` in package.json or the Makefile), the number would show smaller gains."
)
_SEEN_ONLY = "Results are compared only on the recorded calls and by the tests, and on no other inputs."


def speed_plans(tree: Tree, editable: tuple[str, ...], tests: Tests | None) -> Iterator[Plan]:
    """Yield the plans for the speed of the editable files; the best plan comes first."""
    first = first_versions(tree, editable)
    texts = {path: tree.text(path) for path in editable}
    guards = (Check("tests", tests.line),) if tests else ()
    if tests is not None and all(path.endswith(".py") for path in editable) and tests.runner not in OTHERS:
        yield _replayed(editable, tests, first, slowed(texts, _RECORDED_MS))
    if tests is not None and tests.runner == "npm" and all(path.endswith(_NODE) for path in editable):
        yield _replayed_in_node(editable, _direct(tree, tests), guards, first, slowed(texts, _RECORDED_MS))
    worse = slowed(texts, _WHOLE_MS)
    for line, build in _benchmarks(tree) if tests else ():
        yield _timed(line, build, editable, guards, first, worse)
    for line in _programs(texts):
        yield _timed(line, "", editable, guards, first, worse, same_output=True)
    if tests is not None:
        build = "make -s" if tests.runner == "make" else ""
        yield _timed(_direct(tree, tests), build, editable, guards, first, worse)


def _replayed(editable: Sequence[str], tests: Tests, first: dict[str, bytes], worse: dict[str, str]) -> Plan:
    """Return the plan that records the calls that the Python tests make, and times these calls."""
    files = {**script("record.py"), **script("replay.py"), **script("replay_worker.py"), **first}
    files |= notes("replay.json", editable=list(editable), tests=tests.runner)
    replay = f"{PYTHON} {FOLDER}/replay.py"
    checks = (Check("tests", tests.line), Check("same_results", f"{replay} --compare"))
    prepare = (f"{PYTHON} {FOLDER}/record.py",)
    return Plan("speed", _SECONDS, tuple(editable), replay, checks, files, prepare, worse=worse, open=(_SEEN_ONLY,))


def _replayed_in_node(
    editable: Sequence[str],
    line: str,
    guards: tuple[Check, ...],
    first: dict[str, bytes],
    worse: dict[str, str],
) -> Plan:
    """Return the plan that records the calls that a Node package's tests make, and times these calls."""
    scripts = ("record_node.mjs", "node_hooks.mjs", "replay_node.mjs", "replay.py")
    files = {name: content for each in scripts for name, content in script(each).items()}
    files |= {**notes("replay.json", editable=list(editable), tests=line), **first}
    replay = f"{PYTHON} {FOLDER}/replay.py"
    checks = (*guards, Check("same_results", f"{replay} --compare"))
    prepare = (f"node {FOLDER}/record_node.mjs",)
    return Plan("speed", _SECONDS, tuple(editable), replay, checks, files, prepare, worse=worse, open=(_SEEN_ONLY,))


def _timed(
    line: str,
    build: str,
    editable: Sequence[str],
    checks: tuple[Check, ...],
    first: dict[str, bytes],
    worse: dict[str, str],
    same_output: bool = False,
) -> Plan:
    """Return the plan that times a shell line."""
    known = {"run": line, "build": build, "same_output": same_output, "wall": False, "editable": list(editable)}
    files = {**script("time_line.py"), **notes("time_line.json", **known), **first}
    timing = f"{PYTHON} {FOLDER}/time_line.py"
    if same_output:
        checks = (*checks, Check("same_output", f"{timing} --compare"))
    return Plan("speed", _SECONDS, tuple(editable), timing, checks, files, worse=worse, open=(_WHOLE_RUN,))


def _benchmarks(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield (shell line, shell line that builds) for each benchmark of the repository; the second line may be empty."""
    for name in ("bench", "benchmark"):
        if name in tree.scripts:
            yield tree.scripts[name], ""
        if name in tree.make_targets:
            yield f"make -s {name}", "make -s"
    for path in tree.own:
        if _BENCH.search(path) and not is_test(path):
            yield f"{PYTHON if path.endswith('.py') else 'node'} {shlex.quote(path)}", ""


def _programs(texts: Mapping[str, str]) -> Iterator[str]:
    """Yield the shell line that runs the editable file, if there is only one such file and it is a program."""
    for path, text in texts.items() if len(texts) == 1 else ():
        if (starter := STARTERS.get(PurePosixPath(path).suffix)) is not None and _PRINTS.search(text):
            yield f"{starter} {shlex.quote(path)}"


def _direct(tree: Tree, tests: Tests) -> str:
    """Return the shell line of the tests, if possible without npm, because npm itself takes long to start."""
    script = tree.scripts.get("test", "")
    extra = {"pretest", "posttest"} & set(tree.scripts)
    return script if tests.line.startswith("npm") and script and not extra else tests.line
