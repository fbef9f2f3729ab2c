"""Show that the sandbox works: two child processes try actions that must fail and actions that must succeed.

One child has the permissions of training.  The other child has the permissions of a model process in the evaluation.
The children try real sockets, the real rows and the user's real files.  If a child can open one of the user's files,
the child neither changes nor prints it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from autoresearch_mlx.experiment import Assignment
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.runner import child_process_environment, python_command
from autoresearch_mlx.trial.sandbox.attempts import DENIED, WORKS
from autoresearch_mlx.trial.sandbox.child_permissions import evaluation_permissions, training_permissions
from autoresearch_mlx.trial.sandbox.detect import Sandbox
from autoresearch_mlx.trial.sandbox.permissions import (
    TMP,
    Permissions,
    private_tmp,
    without_secrets,
)
from autoresearch_mlx.trial.spec import WEIGHTS

_SECONDS = 60.0
_SOCKET_BYTES = 104
_PRODUCT, _COMPILED = "MLX product", "MLX compiled expression"
_SHOWN = 3
_TEXTS = 8
"""Number of files that the self-test tries in each folder that must be closed."""
_PRIVATE = (
    ".ssh",
    ".gnupg",
    ".aws",
    ".netrc",
    ".git-credentials",
    ".bash_history",
    ".zsh_history",
    ".bashrc",
    ".zshrc",
)
"""Names in the home directory that must stay closed.

The self-test tries each name that exists, and the home directory itself.
"""

_WRONG = "ArithmeticError: "
"""Start of an outcome that reports a difference from numpy's results."""
BREACH = "works, but must be denied"
"""Outcome of an attempt that the sandbox should have denied."""
Finding = tuple[str, bool | None, str]
"""The name of an attempt, whether the attempt ended as expected (None if it could not be made), and the outcome as
text."""


@dataclass(frozen=True, slots=True)
class Selftest:
    """The result of a self-test."""

    holds: bool
    """Whether each attempt that could be made ended as expected, and all essential attempts could be made."""
    findings: tuple[Finding, ...]

    @property
    def breached(self) -> bool:
        """Whether an action succeeded that the sandbox must deny.

        The value is False if only actions failed that a run needs.
        """
        return any(words == BREACH for _, _, words in self.findings)

    @property
    def wrong_numbers(self) -> str | None:
        """The first wrong result of MLX as text, or None if all of its results were right."""
        found = (words.partition(_WRONG)[2] for _, _, words in self.findings if _WRONG in words)
        return next((words.partition(";")[0] for words in found), None)

    def verdict(self) -> str:
        """Return one line: ``does not hold`` or ``cannot be used`` with the reason, or the line of :meth:`words`.

        The sandbox does not hold if a forbidden action succeeded.  It cannot be used if an action that a run needs
        failed.
        """
        if self.holds:
            return self.words()
        return f"{'does not hold' if self.breached else 'cannot be used'}: {self.words()}"

    def words(self) -> str:
        """Return one line with the attempts that failed, or with the number of attempts that ended as expected."""
        failed = [f"{name}: {words}" for name, ok, words in self.findings if ok is False]
        if failed:
            more = f"; and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
            return "; ".join(failed[:_SHOWN]) + more
        return f"{sum(ok is True for _, ok, _ in self.findings)} attempts ended as expected"


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One action of the module ``attempts``: its name, the object on which it is tried, and whether it may succeed."""

    what: str
    of: Any
    may: bool
    name: str


def check_sandbox(
    sandbox: Sandbox, conditions: Conditions, private: Sequence[Path] = (), home: Path | None = None
) -> Selftest:
    """Test the sandbox with the permissions of real runs.  This takes about a second, and at most two minutes.

    ``private`` names the ledger and other paths that must stay closed.  A closed file may be neither read nor changed.
    In a closed folder, no file may be read or written.  Raises nothing: an error becomes a finding.
    """
    try:
        with _scene() as (assignment, lines):
            findings = _both(sandbox, conditions, assignment, lines, private, home or Path.home())
    except OSError as error:
        findings = [("self-test", False, f"could not be prepared: {error}")]
    essential = {f"training: {_PRODUCT}", "training: read validation rows", "training: connect by TCP"}
    tried = {name for name, ok, _ in findings if ok}
    return Selftest(essential <= tried and all(ok is not False for _, ok, _ in findings), tuple(findings))


def wrong_numbers(conditions: Conditions) -> str | None:
    """Test MLX on this machine without a sandbox; return the first wrong result as text, or None if all are right."""
    attempts = [_Attempt("product", conditions.device, True, _PRODUCT), _compiles(conditions)]
    environment = without_secrets(child_process_environment(conditions.environment))
    with tempfile.TemporaryDirectory(prefix="autoresearch-") as name:
        child = _start(None, None, attempts, Path(name), environment)
        return Selftest(False, tuple(_findings("alone", attempts, child))).wrong_numbers


def _both(
    sandbox: Sandbox,
    conditions: Conditions,
    assignment: Assignment,
    lines: Mapping[str, Any],
    private: Sequence[Path],
    home: Path,
) -> list[Finding]:
    training = training_permissions(conditions, assignment)
    evaluation = evaluation_permissions(conditions, assignment, assignment.folder / TMP)
    environment = {
        **without_secrets(child_process_environment(conditions.environment)),
        **private_tmp(assignment.folder),
    }
    closed = list(_closed(conditions, private, home))
    plans = {
        "training": (training, [*_training(conditions, assignment), *closed, *_outside(lines)]),
        "evaluation": (evaluation, [*_evaluation(conditions, assignment), *closed, *_outside(lines)]),
    }
    started = [
        (who, attempts, _start(sandbox, permissions, attempts, assignment.tree, environment))
        for who, (permissions, attempts) in plans.items()
    ]
    found = [finding for who, attempts, child in started for finding in _findings(who, attempts, child)]
    return _compared(found, conditions, assignment.tree, environment)


def _compared(
    findings: list[Finding], conditions: Conditions, tree: Path, environment: Mapping[str, str]
) -> list[Finding]:
    """Return the findings; if MLX failed in the sandbox, say whether MLX also fails without the sandbox.

    If a compiled expression fails without the sandbox too, for example because a C++ compiler is missing, the failure
    does not count against the sandbox.
    """
    failed = {name for name, ok, _ in findings if ok is False and name.endswith((_PRODUCT, _COMPILED))}
    if not failed:
        return findings
    attempts = [_Attempt("product", conditions.device, True, _PRODUCT), _compiles(conditions)]
    alone = {name: ok for name, ok, _ in _findings("alone", attempts, _start(None, None, attempts, tree, environment))}
    compared: list[Finding] = []
    for name, ok, words in findings:
        if name in failed and not alone[f"alone: {name.partition(': ')[2]}"]:
            compared.append((name, None if name.endswith(_COMPILED) else ok, f"{words}; without the sandbox too"))
        else:
            compared.append((name, ok, words))
    return compared


def _training(conditions: Conditions, assignment: Assignment) -> list[_Attempt]:
    run = assignment.folder
    return [
        _Attempt("product", conditions.device, True, _PRODUCT),
        _compiles(conditions),
        _Attempt("read", assignment.tree, True, "read the tree"),
        _Attempt("make", run / "made", True, "write to the run folder"),
        _Attempt("make", run / "tmp" / "made", True, "write to the temporary folder"),
        _Attempt("read", conditions.val_rows, False, "read validation rows"),
        _Attempt("read", conditions.train_rows, False, "read training rows"),
        _Attempt("change", conditions.train_rows, False, "change training rows"),
        _Attempt("make", run.parent / "made", False, "write beside the run folder"),
        _Attempt("make", assignment.tree / "made", False, "write to the tree"),
    ]


def _evaluation(conditions: Conditions, assignment: Assignment) -> list[_Attempt]:
    run = assignment.folder
    return [
        _Attempt("product", conditions.device, True, _PRODUCT),
        # On a CPU the processes that run the model compile nothing.
        *([_compiles(conditions)] if conditions.device == "gpu" else []),
        _Attempt("read", assignment.tree, True, "read the tree"),
        _Attempt("read", run / WEIGHTS, True, "read the weights"),
        _Attempt("make", run / "tmp" / "made", True, "write to the temporary folder"),
        _Attempt("read", conditions.val_rows, False, "read validation rows"),
        _Attempt("read", conditions.train_rows, False, "read training rows"),
        _Attempt("change", conditions.val_rows, False, "change validation rows"),
        _Attempt("change", run / WEIGHTS, False, "change the weights"),
        _Attempt("make", run / "made", False, "write to the run folder"),
        _Attempt("make", assignment.tree / "made", False, "write to the tree"),
    ]


def _compiles(conditions: Conditions) -> _Attempt:
    return _Attempt("compiled", conditions.device, True, _COMPILED)


def _closed(conditions: Conditions, private: Sequence[Path], home: Path) -> Iterator[_Attempt]:
    """Yield attempts that must fail in both children."""
    hidden = conditions.val_rows.with_name("hidden.npy")
    yield _Attempt("read", hidden, False, "read hidden rows")
    for path in _texts(conditions.closed):
        yield _Attempt("read", path, False, f"read {path}, the text of held-out rows")
    yield _Attempt("make", conditions.val_rows.parent / "made", False, "write to the corpus")
    yield _Attempt("read", home, False, "list the home directory")
    yield _Attempt("make", home / ".autoresearch-probe", False, "write to the home directory")
    for path in (home / name for name in _PRIVATE if (home / name).exists()):
        yield _Attempt("read", path, False, f"read ~/{path.name}")
    for path in private:
        if not path.is_dir():
            yield _Attempt("read", path, False, f"read {path.name}")
            yield _Attempt("change", path, False, f"change {path.name}")
            continue
        # The attempts read files and do not list the folder.  The checkout of this package may itself be a lab.  Then
        # the package's folder contains the lab's sessions, and the names in that folder must be readable, because
        # otherwise Python does not find the package.
        for file in _some_files(path):
            yield _Attempt("read", file, False, f"read {path.name}/{file.relative_to(path).as_posix()}")
        yield _Attempt("make", path / "made", False, f"change {path.name}")


def _some_files(folder: Path) -> list[Path]:
    """Return one file from each of the first few folders below ``folder`` that contain files."""
    with_files = ((here, files) for here, _, files in os.walk(folder) if files)
    return [Path(here) / min(files) for here, files in islice(with_files, _TEXTS)]


def _texts(closed: Sequence[Path]) -> list[Path]:
    """Return a few files, compiled ones included, from different places in each folder of text that must be closed."""
    found: list[Path] = []
    for place in closed:
        files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())
        found += files[:: -(-len(files) // _TEXTS) or 1]
    return found


def _outside(lines: Mapping[str, Any]) -> list[_Attempt]:
    return [
        _Attempt("connect", lines["tcp"], False, "connect by TCP"),
        _Attempt("connect", lines["unix"], False, "connect to a Unix socket"),
        _Attempt("signal", os.getpid(), False, "signal the parent"),
        _Attempt("make", lines["shared"], False, "write to the shared temporary folder"),
    ]


def _start(
    sandbox: Sandbox | None,
    permissions: Permissions | None,
    attempts: Sequence[_Attempt],
    tree: Path,
    environment: Mapping[str, str],
) -> subprocess.Popen[str]:
    tries: dict[str, list[Any]] = {}
    for attempt in attempts:
        tries.setdefault(attempt.what, []).append(_plain(attempt.of))
    command = python_command("-m", "autoresearch_mlx.trial.sandbox.attempts", json.dumps(tries))
    return subprocess.Popen(
        command if sandbox is None or permissions is None else sandbox.wrap(command, permissions),
        cwd=tree,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def _findings(who: str, attempts: Sequence[_Attempt], child: subprocess.Popen[str]) -> Iterator[Finding]:
    try:
        out, err = child.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        err = f"the test process did not end within {_SECONDS:.0f} s"
    outcomes = {}
    for line in out.splitlines():
        with suppress(ValueError, TypeError):
            what, of, outcome = json.loads(line)
            outcomes[what, json.dumps(of)] = outcome
    last = (err.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    for attempt in attempts:
        outcome = outcomes.get((attempt.what, json.dumps(_plain(attempt.of))))
        yield (f"{who}: {attempt.name}", *_judged(attempt, outcome, last))


def _judged(attempt: _Attempt, outcome: str | None, last: str) -> tuple[bool | None, str]:
    if outcome is None:
        return False, f"was not tried: {last}"
    if outcome == WORKS:
        return attempt.may, "works" if attempt.may else BREACH
    if attempt.may:
        return False, f"must work: {outcome}"
    return (True, "denied") if outcome == DENIED else (None, f"could not be tried: {outcome}")


def _plain(of: Any) -> Any:
    return str(of) if isinstance(of, Path) else of


@contextmanager
def _scene() -> Iterator[tuple[Assignment, dict[str, Any]]]:
    """Make a run folder and a worktree like those of a real run, and two sockets on which the parent listens."""
    with (
        tempfile.TemporaryDirectory(prefix="autoresearch-") as name,
        socket.socket(socket.AF_INET) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        root = Path(name).resolve()
        assignment = Assignment(root / "tree", root / "runs" / "run", 0, lambda progress: None)
        for folder in (assignment.tree, assignment.folder):
            folder.mkdir(parents=True)
        for file in (WEIGHTS, "evaluate.json"):
            (assignment.folder / file).write_text("{}")
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        with _short_folder(root) as short:
            unix.bind(str(short / "socket"))
            unix.listen()
            shared = Path(tempfile.gettempdir()) / f"{root.name}-made"
            yield assignment, {"tcp": list(tcp.getsockname()), "unix": str(short / "socket"), "shared": shared}


@contextmanager
def _short_folder(root: Path) -> Iterator[Path]:
    """Yield ``root``, or a folder with a shorter path if the path of a socket in ``root`` would be too long.

    The address of a Unix socket has at most 104 bytes on macOS and 108 on Linux, unix(7).  Raises OSError.
    """
    if len(os.fsencode(root / "socket")) < _SOCKET_BYTES:
        yield root
        return
    with tempfile.TemporaryDirectory(prefix="autoresearch-", dir="/tmp") as name:
        yield Path(name).resolve()
