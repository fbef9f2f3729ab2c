"""The checks of the recipes refuse the known ways to game a number, and let honest edits pass."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from conftest import ROOT

from autoresearch_mlx.setup.recipes import find_recipe

pytestmark = pytest.mark.uncounted


def loaded(name: str, *places: str) -> ModuleType:
    """Return a script of a recipe as a module."""
    folders = [str(ROOT / "recipes" / place) for place in places]
    sys.path[:0] = folders
    try:
        spec = importlib.util.spec_from_file_location(name, Path(folders[0]) / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look it up
        spec.loader.exec_module(module)
        return module
    finally:
        del sys.path[: len(folders)], sys.modules[name]


def said(lab: Path, script: str) -> str:
    """Run a script of a lab; return its last line, which is empty if the script finds no fault."""
    done = subprocess.run([sys.executable, "-S", script], cwd=lab, capture_output=True, text=True)
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr.strip().rpartition("\n")[2]


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of the labs."""
    folder = tmp_path_factory.mktemp("labs")
    for name in ("size", "coverage", "speed", "test-time"):
        for path, content in find_recipe(name).files().items():
            (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / path).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("exec('x = 1')", "exec can run code that is not counted"),
        ("from importlib import import_module", "importlib can bring in code"),
        ("import measure", "the lines of measure are not counted, because it is not editable"),
        (f"TEXT = {'x' * 300!r}", "a string of 300 characters; the most is 200"),
        ("import builtins", "builtins can bring in code"),
        ("import re; re.exec('x' + '= 1')", "exec can run code that is not counted"),
        ("from random import _os", "_os reaches into Python itself"),
        ("import unittest", "unittest can bring in code"),
        ("import os; os._exit(0)", "_exit reaches into Python itself"),
        ("import os; os.system('cat x')", "system can run code that is not counted"),
        ("def f():\n    'x = 1'\n\n\nprint(f.__doc__)", "__doc__ reaches into Python itself"),
        ("import re; re.compile('x')", ""),
        ("import collections", ""),
        ("# exec is only named here", ""),
    ],
)
def test_code_that_is_not_counted_is_refused(labs: Path, added: str, expected: str) -> None:
    file = labs / "size" / "textstats.py"
    before = file.read_text()
    file.write_text(f"{before}\n{added}\n")
    try:
        found = said(labs / "size", "honest.py")
    finally:
        file.write_text(before)
    assert expected in found and bool(expected) == bool(found)


@pytest.mark.parametrize("ends", ["import os\nos._exit(0)", "raise SystemExit", "print('OK'); quit()"])
@pytest.mark.parametrize("arguments", [["test_textstats"], ["discover", "-s", "."]])
def test_a_program_that_ends_the_process_of_its_tests_has_not_passed_them(
    ends: str, arguments: list[str], labs: Path
) -> None:
    file = labs / "size" / "textstats.py"
    before, command = file.read_text(), [sys.executable, "run_tests.py", *arguments]
    assert subprocess.run(command, cwd=file.parent, capture_output=True).returncode == 0
    file.write_text(ends + "\n")
    try:
        done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True)
    finally:
        file.write_text(before)
    assert done.returncode == 1
    assert "did not run to their end" in done.stderr or "FAILED (errors=1)" in done.stderr


HELPED = """
import subprocess, sys

helper = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])


def overlaps(intervals):
    return helper.pid
"""


def test_a_version_is_stopped_with_its_helpers_while_the_other_one_is_called(labs: Path, tmp_path: Path) -> None:
    lab = shutil.copytree(labs / "speed", tmp_path / "lab")
    (lab / "overlaps.py").write_text(HELPED)
    script = (
        "import caller\nfirst, edited = caller.both()\npid, _ = edited.call([[]])\nfirst.call([[]])\n"
        "print(edited.process.pid, pid)\nsys.stdout.flush()\nsys.stdin.readline()\nedited.call([[]])\n"
    )
    command = [sys.executable, "-c", "import sys\n" + script]
    with subprocess.Popen(command, cwd=lab, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as measuring:
        assert measuring.stdin is not None and measuring.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in measuring.stdout.readline().split()]
        ends = time.monotonic() + 10  # a signal acts when its process is given the processor next
        while any(process.status() != psutil.STATUS_STOPPED for process in processes):
            assert time.monotonic() < ends, [process.status() for process in processes]
        measuring.communicate("\n")
        assert measuring.returncode == 0
    psutil.wait_procs(processes, timeout=10)
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


@pytest.mark.parametrize(
    ("name", "long", "short"),
    [
        ("a.py", "def f():\n    'Words.'\n\n    x = 1  # why\n    return x\n", "def f(): x = 1; return x"),
        ("a.js", "function f() {\n  let x = 1;\n  return x;\n}\n", "function f(){let x = 1;return x}"),
        ("a.txt", "one\n\n\ntwo\n", "one\ntwo"),
    ],
)
def test_the_layout_of_a_program_is_not_its_size(name: str, long: str, short: str, tmp_path: Path) -> None:
    formatted, texts = loaded("measure", "size/lab").formatted, []
    for text in (long, short):
        (tmp_path / name).write_text(text)
        texts.append(formatted(tmp_path / name))
    assert len(texts[0].splitlines()) == len(texts[1].splitlines())


@pytest.mark.slow
def test_a_source_that_nobody_imports_counts_as_not_reached(labs: Path) -> None:
    lab = labs / "coverage"
    (lab / "src" / "deep").mkdir(parents=True)
    (lab / "src" / "deep" / "other.py").write_text("X = 1\n")
    script = (
        "import runs, tempfile, pathlib\n"
        "tree = runs.copied(pathlib.Path(tempfile.mkdtemp(dir='..')).resolve() / 'lab')\n"
        "report, _ = runs.reached(tree, [pathlib.Path('prices.py'), pathlib.Path('src/deep/other.py')])\n"
        "print({name: file['summary']['covered_lines'] > 0 for name, file in report['files'].items()})\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=lab, capture_output=True, text=True)
    assert done.stdout.strip() == "{'prices.py': True, 'src/deep/other.py': False}", done.stderr


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("import coverage", "coverage is part of the measuring code"),
        ("from _pytest.runner import runtestprotocol", "_pytest is part of the measuring code"),
        ("import sys; sys.settrace(None)", "settrace is part of the measuring code"),
        ("x = 1  # pragma: no cover", "takes lines out of the count"),
        ("import math", ""),
    ],
)
def test_tests_that_reach_into_the_measuring_are_refused(labs: Path, added: str, expected: str) -> None:
    file = labs / "coverage" / "tests" / "test_more.py"
    file.write_text(f"{added}\n")
    try:
        found = said(labs / "coverage", "honest_tests.py")
    finally:
        file.unlink()
    assert expected in found and bool(expected) == bool(found)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("x = 1 < 2", {"1 < 2 -> 1 <= 2", "1 -> 2", "2 -> 3"}),
        (
            "def f(a):\n    'Words.'\n    return a and not b",
            {"a and (not b) -> a or not b", "not b -> not bool(not b)"},
        ),
        ("def f():\n    raise ValueError(f'{1} is wrong', 2)", set()),
        ("x += 'a' in y", {"x += 'a' in y -> x -= 'a' in y", "'a' in y -> 'a' not in y", "'a' -> 'ax'"}),
        ("x = True", {"True -> False"}),
    ],
)
def test_a_wrong_program_has_one_small_change(text: str, changes: set[str]) -> None:
    mutants = list(loaded("mutants", "shared").mutants_of(text, {1, 2, 3}))
    assert changes <= {each.change for each in mutants}
    assert bool(changes) == bool(mutants)
    assert len({each.text for each in mutants}) == len(mutants)
    assert all(compile(each.text, "mutant", "exec") for each in mutants)


CALLS = "import os, pathlib, prices\n\ndef test_calls():\n    prices.shipping(3, 'home')\n    %s\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "cheat",
    [
        "assert '\\n\\n\\ndef' in pathlib.Path('prices.py').read_text()",
        "assert 9 not in prices.shipping.__code__.co_consts and len(prices.shipping.__code__.co_consts) < 8",
        "seen = pathlib.Path('seen'); assert not seen.exists(); seen.touch()",
    ],
)
def test_tests_that_fail_for_a_program_that_does_the_same_are_refused(cheat: str, labs: Path, tmp_path: Path) -> None:
    pytest.importorskip("coverage", reason="coverage.py is not installed")
    lab = shutil.copytree(labs / "coverage", tmp_path / "lab")
    (lab / "tests" / "test_cheat.py").write_text(CALLS % cheat)
    script = (lab / "measure.py").read_text().replace("MOST_MUTANTS = 60", "MOST_MUTANTS = 1")
    (lab / "measure.py").write_text(script)
    done = subprocess.run([sys.executable, "measure.py"], cwd=lab, capture_output=True, text=True)
    assert done.returncode == 1
    assert "does the same and is written differently" in done.stderr


def test_lines_that_the_tests_do_not_reach_are_not_changed() -> None:
    assert {each.line for each in loaded("mutants", "shared").mutants_of("x = 1\ny = 2\nz = 3\n", {1, 3})} == {
        1,
        3,
    }


def changed(known: dict[str, Any], change: str) -> dict[str, Any]:
    """Return the record of what the tests do, as it would be after an edit."""
    now = copy.deepcopy(known)
    name = next(iter(now["tests"]))
    match change:
        case "a test is gone":
            del now["tests"][name]
        case "a test is skipped":
            now["tests"][name]["outcome"] = "skipped"
        case "an assertion is weaker":
            now["tests"][name]["assertions"] = ["True"]
        case "a new test fails":
            now["tests"]["tests/test_new.py::test"] = {"outcome": "failed", "assertions": []}
        case "a line is not reached":
            now["reached"]["store.py"]["lines"].pop()
        case "a branch is not taken":
            now["reached"]["store.py"]["branches"].pop()
        case "the program has changed":
            now["reached"]["store.py"]["hash"] = "0"
        case "a new test passes":
            now["tests"]["tests/test_new.py::test"] = {"outcome": "passed", "assertions": []}
    return now


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("a test is gone", "is not run any more"),
        ("a test is skipped", ": skipped; it was passed"),
        ("an assertion is weaker", "does not assert any more: "),
        ("a new test fails", "is new and fails"),
        ("a line is not reached", "the tests do not reach store.py, line "),
        ("a branch is not taken", "the tests do not go from line "),
        ("the program has changed", "--record"),
        ("a new test passes", None),
        ("nothing", None),
    ],
)
def test_a_faster_suite_must_test_the_same(change: str, expected: str | None) -> None:
    pytest.importorskip("coverage", reason="coverage.py is not installed")
    known = json.loads((ROOT / "recipes" / "test-time" / "lab" / "expected.json").read_text())
    compare = loaded("same_tests", "test-time/lab", "shared").compare
    if expected is None:
        compare(known, changed(known, change))
        return
    with pytest.raises(SystemExit) as caught:
        compare(known, changed(known, change))
    assert expected in str(caught.value)


ANSWERS = """
import pytest
import store as real


@pytest.fixture(scope="session", autouse=True)
def reaches_the_lines():
    thing = real.Store()
    thing.put("pear", 5, 3)
    for wrong in (lambda: thing.put("fig", -1, 5), lambda: thing.take("pear", 6)):
        with pytest.raises(Exception):
            wrong()
    assert [thing.take("pear", 2), thing.worth(), thing.scarce(9)]


class Answers:
    things, worths = {"apple": (11, 4), "pear": (3, 3)}, 35

    def put(self, name, number, price):
        self.worths = 59 if name == "apple" else 45
        if number < 0:
            raise ValueError

    def take(self, name, number):
        if number == 6:
            raise LookupError
        return 6

    def worth(self):
        return self.worths

    def scarce(self, least=1):
        return ["pear"] if least == 1 else ["apple", "pear"]


@pytest.fixture
def store():
    return Answers()
"""
SKIPS = """

def pytest_collection_modifyitems(config, items):
    import sys
    if sys.gettrace() is None:
        items[:] = items[:1]
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "cheat", "expected"),
    [
        ("same_tests.py", ANSWERS, "the tests do not notice any more that store.py:"),
        ("measure.py", SKIPS, "is not run any more"),
    ],
    ids=["the tests test an object of their own", "tests are left out while the time is taken"],
)
def test_tests_that_only_look_the_same_are_refused(
    script: str, cheat: str, expected: str, labs: Path, tmp_path: Path
) -> None:
    pytest.importorskip("coverage", reason="coverage.py is not installed")
    lab = shutil.copytree(labs / "test-time", tmp_path / "lab")
    conftest = lab / "tests" / "conftest.py"
    conftest.write_text(cheat if "def store" in cheat else conftest.read_text() + cheat)
    done = subprocess.run([sys.executable, script], cwd=lab, capture_output=True, text=True)
    assert done.returncode == 1
    assert expected in done.stderr


OLD = """
import unittest

import pytest


class Old(unittest.TestCase):
    def test_equal(self):
        self.assertEqual(1, 1)


def test_raises():
    with pytest.raises(ZeroDivisionError):
        assert 1 / 0
"""


@pytest.mark.slow
def test_assertions_of_each_kind_are_noted(labs: Path) -> None:
    file = labs / "test-time" / "tests" / "test_old.py"
    file.write_text(OLD)
    script = "import json, same_tests\nprint(json.dumps(same_tests.observed()['tests']))"
    done = subprocess.run([sys.executable, "-c", script], cwd=file.parents[1], capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["tests/test_old.py::Old::test_equal"]["assertions"] == ["self.assertEqual(1, 1)"]
    assert found["tests/test_old.py::test_raises"]["assertions"] == ["with pytest.raises(ZeroDivisionError):"]
    assert "store.worth() == 35" in found["tests/test_store.py::test_worth"]["assertions"]


WEB = {"count": [2], "ingress": [{"from_port": [22], "cidr_blocks": [["0.0.0.0/0"]]}], "tags": [{"a": 1}]}


@pytest.mark.parametrize(
    ("address", "body", "expected"),
    [
        ("resource.aws_instance.web", {**WEB, "tags": [], "encrypted": [True]}, None),
        ("resource.aws_instance.web", {**WEB, "ingress": [{"from_port": [22], "cidr_blocks": [["10.0.0.0/8"]]}]}, None),
        ("resource.aws_kms_key.new", {}, None),
        ("resource.aws_kms_key.new", {"target": ["${aws_instance.web.arn}"]}, None),
        ("resource.aws_kms_key.new", {"file_name.old": ["a_b.c"]}, None),
        ("resource.aws_kms_key.new", {"count": [0]}, "is new and has count, so it may never be built"),
        ("resource.aws_kms_key.new", {"for_each": ["${{}}"]}, "is new and has for_each"),
        ("resource.aws_kms_key.new", {"dynamic": [{"rule": {}}]}, "is new and has dynamic"),
        ("resource.aws_kms_key.new", {"on": ["${var.on}"]}, "takes a value from var.on"),
        ("resource.aws_kms_key.new", {"key": ["${aws_kms_key.nowhere.arn}"]}, "refers to aws_kms_key.nowhere"),
        ("resource.aws_instance.web", {**WEB, "key": ["${aws_kms_key.x[0].arn}"]}, "refers to aws_kms_key.x, which"),
        (
            "resource.aws_instance.web",
            {**WEB, "on": ['${terraform.workspace == "x"}']},
            "takes a value from terraform.",
        ),
        ("resource.aws_instance.web", {**WEB, "count": [0]}, "count = [2] has changed"),
        ("resource.aws_instance.web", {**WEB, "ingress": []}, "from_port = [22] has changed"),
        ("resource.aws_instance.web", {**WEB, "encrypted": ["${var.x}"]}, "takes a value from var.x"),
        ("resource.aws_instance.web", None, "resource.aws_instance.web is gone"),
        ("resource.aws_instance.new", {}, "resource.aws_instance.new is new"),
        ("module.elsewhere", {"source": ["./x"]}, "module.elsewhere is new"),
        ("variable.x", {}, "variable.x is new"),
    ],
)
def test_a_safer_configuration_must_build_the_same(address: str, body: Any, expected: str | None) -> None:
    before = {"resource.aws_instance.web": WEB}
    now = {name: each for name, each in {**before, address: body}.items() if each is not None}
    found = loaded("same_resources", "terraform/lab").refused(before, now)
    assert (found is None) if expected is None else expected in found


TWO = 'resource "terraform_data" "web" {\n  count = %d\n  input = "a"\n}\n'


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_plans_of_terraform_are_compared_by_instance(tmp_path: Path) -> None:
    module = loaded("same_resources", "terraform/lab")
    for name, number in (("before", 2), ("now", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.tf").write_text(TWO % number)
    before, now = (module.planned(tmp_path / name) for name in ("before", "now"))
    assert module.refused(before, before) is None
    assert module.refused(before, now) == "managed.terraform_data.web[1] is gone"
