"""Make real labs for the tests: real git, real processes, tiny sizes."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from forked_command import launcher

from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context, Experiment, Progress, Proposal
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.loop.session import Session, open_session
from autoresearch_mlx.trial.sandbox.detect import NoSandbox, Sandbox, find_sandbox

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Keep the developer's caches, git settings and models out of all tests."""
    config.addinivalue_line("markers", "uncounted: nothing of this test counts for coverage; see below")
    os.environ["OLLAMA_HOST"] = "127.0.0.1:9"  # nobody listens there
    os.environ.pop("OPENAI_API_KEY", None)
    os.environ["GIT_CONFIG_GLOBAL"] = str(ROOT / "tests" / "support" / "gitconfig")
    os.environ["GIT_CONFIG_SYSTEM"] = os.devnull
    # More than a thousand child processes import the package, so its bytecode is kept, whatever the environment says.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    os.environ.setdefault("AUTORESEARCH_CACHE", str(ROOT / ".pytest_cache" / "autoresearch"))
    # A busy machine may take any time for one example; hypothesis would call that a failure after 200 ms.
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let each process of pytest-xdist begin to collect at another folder.

    In a fresh clone pytest compiles each file of tests, and keeps the result in a cache.  If all processes went through
    the files in the same order, each would compile nearly all of them.
    """
    report: pytest.CollectReport = yield
    worker = getattr(collector.config, "workerinput", None)
    if worker is not None and isinstance(collector, pytest.Dir) and collector.path == ROOT / "tests":
        number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
        start = len(report.result) * number // count
        report.result = [*report.result[start:], *report.result[:start]]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Exclude all tests and modules from garbage collection, which would otherwise scan them again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


FIRST = (
    "tests/fleet/test_fleet.py",
    "tests/loop/test_night",
    "tests/setup/about/test_about.py",
    "tests/setup/factory/test_line.py",
    "tests/setup/test_selftest.py",
    "tests/targets/evals/test_evals_",
    "tests/targets/kernel/test_profile.py",
    "tests/test_docs.py::test_the_console_of_each_recipe",
    "tests/test_first_night.py",
    "tests/trial/test_measurement.py::test_the_compiled_step",
)
"""Beginnings of the names of the longest tests; if one of them began last, all other processes would be idle."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each process of pytest-xdist begin with some of the longest tests; tests of one file stay together.

    With ``--dist worksteal`` each process first gets one part of the list, all parts of nearly the same length.
    """
    items.sort(key=lambda item: item.path)  # all processes must have the same order
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    files = sorted({item.nodeid.split("::")[0] for item in items if item.nodeid.startswith(FIRST)})
    first: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for number, file in enumerate(files):
        first[number % workers] += [
            item for item in items if item.nodeid.startswith(FIRST) and item.nodeid.startswith(file)
        ]
    rest, left = [item for item in items if not item.nodeid.startswith(FIRST)], len(items)
    items.clear()
    for number, longest in enumerate(first):
        part = left // (workers - number)
        others = rest[: max(0, part - len(longest))]
        rest, left = rest[len(others) :], left - part
        items += [*longest, *others]
    items += rest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many processes the torture suite killed, and how many experiments that lost."""
    reports = (report for state in ("passed", "failed") for report in terminalreporter.stats.get(state, []))
    counts = [dict(r.user_properties)["torture"] for r in reports if "torture" in dict(r.user_properties)]
    if counts:
        kills, lost, doubled = (sum(c[name] for c in counts) for name in ("kills", "lost", "doubled"))
        said = f"torture: {kills} kills, {lost} lost, {doubled} doubled (TORTURE_SEED={counts[0]['seed']})"
        terminalreporter.write_line(said)


def git(where: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A Person", "-c", "user.email=person@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=where, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def pytest_sessionfinish() -> None:
    launcher().close()
    _folder_of_this_process().cleanup()


READ_AT_START = ("PYTHON", "PATH", "LC_", "LD_", "OMP_", "MLX_")
"""Beginnings of the names of variables that an interpreter or an import reads only once, at its start."""


def command_line(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own, forked from one that has imported it; see forked_command."""
    if any(name.startswith(READ_AT_START) for name in environment):
        return command_line_from_scratch(*arguments, cwd=cwd, **environment)
    return launcher().run(arguments, cwd, {**os.environ, "COLUMNS": "100", **environment}, seconds=300)


def command_line_from_scratch(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the real command by ``python -m autoresearch_mlx``, in a new interpreter."""
    return subprocess.run(
        [sys.executable, "-m", "autoresearch_mlx", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


class Steps:
    """An agent that sets knobs of solver.py by a list, one step for each experiment; a string is a whole file."""

    name = "steps"

    def __init__(self, *steps: dict[str, float] | str) -> None:
        self._steps = list(steps)
        self.contexts: list[Context] = []

    def propose(self, context: Context) -> Proposal:
        self.contexts.append(context)
        if not self._steps:
            raise AgentError("no steps left")
        step = self._steps.pop(0)
        text = step if isinstance(step, str) else set_knobs(context.files["solver.py"], step)
        return Proposal(f"try {step}", {"solver.py": text}, agent=self.name)


SOLVER = """\
X = 4.0  # knob: lin 0 10
Y = 2  # knob: int 0 8
"""
BENCH = """\
from solver import X, Y
print(f"METRIC score={(X - 3) ** 2 + (Y - 5) ** 2 + 1:.6f}")
"""
# -S: without it each of these runs would start measuring coverage, which takes longer than the run.
LAB = """\
[target]
kind = "command"
editable = ["solver.py"]
run = "{python} -S bench.py"
metric = "score"
"""


def write_command_lab(root: Path) -> Lab:
    """Write a lab whose measurement takes milliseconds; it minimises score = (X - 3)^2 + (Y - 5)^2 + 1.

    A new folder gets a copy of one lab, because three calls of git take several times longer.
    """
    if root.exists():
        return _written(root)
    if not (made := Path(_folder_of_this_process().name) / "lab").exists():
        made.mkdir()
        _written(made)
    shutil.copytree(made, root)
    return Lab(root)


@cache
def _folder_of_this_process() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="autoresearch-tests-")


def _written(root: Path) -> Lab:
    (root / "solver.py").write_text(SOLVER)
    (root / "bench.py").write_text(BENCH)
    (root / "lab.toml").write_text(LAB.format(python=sys.executable))
    git(root, "init", "--quiet", "--template=")  # without fifteen examples of hooks, which would be copied each time
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "a lab")
    return Lab(root)


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """Return this machine's sandbox; skip the test, with the reason, if there is none."""
    found = find_sandbox()
    if isinstance(found, NoSandbox):
        pytest.skip(found.words)
    return found


@pytest.fixture
def command_lab(tmp_path: Path) -> Lab:
    return write_command_lab(tmp_path / "lab")


@dataclass
class Recorder:
    """A screen that records its messages."""

    said: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    done: list[Experiment] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
        self.titles.append(title)

    def progress(self, progress: Progress) -> None:
        self.phases.append(progress.phase)

    def finished(self, experiment: Experiment) -> None:
        self.done.append(experiment)

    def close(self) -> None:
        pass


@pytest.fixture
def screen() -> Recorder:
    return Recorder()


@contextmanager
def opened(
    lab: Lab, tag: str | None = None, say: Callable[[str], None] = lambda text: None, **options: Any
) -> Iterator[Session]:
    """Open a session of a lab as the command line does; options have dotted names, with ``__`` for the dot."""
    resolved = load_settings(lab.root, {name.replace("__", "."): value for name, value in options.items()})
    with open_session(lab, resolved, tag, say) as session:
        yield session


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count nothing for coverage in a test marked ``uncounted``, nor in its fixtures and child processes.

    The mark is for nights, simulations and floods of random input, which tracing slows down two to three times. Other
    tests count the code that they run.  The required coverage stays the same, and fewer tests have to reach it.
    """
    if item.get_closest_marker("uncounted") is None:
        return (yield)
    traces, children = (sys.gettrace(), threading.gettrace()), os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    launcher().counting = children
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    try:
        return (yield)
    finally:
        threading.settrace(traces[1])  # type: ignore[arg-type]
        sys.settrace(traces[0])
        if children is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = children
