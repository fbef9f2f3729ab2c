"""The probe distinguishes a sandbox that works from one that does not."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.sandbox.attempts import _compare
from autoresearch_mlx.trial.sandbox.detect import Sandbox
from autoresearch_mlx.trial.sandbox.permissions import Permissions
from autoresearch_mlx.trial.sandbox.selftest import Selftest, _short_folder, check_sandbox, wrong_numbers


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".netrc").write_text("secret")
    return tmp_path / "home"


class Open(Sandbox):
    """A sandbox that allows everything."""

    def wrap(self, command: Sequence[str], permissions: Permissions) -> list[str]:
        return list(command)


class Wider(Sandbox):
    """The real sandbox with a fault: it also allows reading a folder that the permissions do not list."""

    def wrap(self, command: Sequence[str], permissions: Permissions) -> list[str]:
        return super().wrap(command, replace(permissions, read=(*permissions.read, Path(self.words))))


@pytest.mark.slow
def test_the_sandbox_of_this_machine_holds(sandbox: Sandbox, under: Conditions, home: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text("{}")
    done = check_sandbox(sandbox, under, [ledger], home)
    assert done.holds, done.words()
    assert {name for name, ok, _ in done.findings if ok} >= {
        "training: MLX product",
        "training: MLX compiled expression",
        "training: read training rows",
        "training: read validation rows",
        "training: read hidden rows",
        "training: read ~/.ssh",
        "training: read ~/.netrc",
        "training: change ledger.jsonl",
        "training: connect by TCP",
        "training: connect to a Unix socket",
        "training: write to the shared temporary folder",
        "evaluation: read validation rows",
        "evaluation: change the weights",
        "evaluation: MLX product",
    }
    assert done.words().endswith("attempts ended as expected")
    assert ledger.read_text() == "{}"


@pytest.mark.slow
def test_no_sandbox_at_all_is_found_out_and_leaves_nothing_behind(under: Conditions, home: Path) -> None:
    done = check_sandbox(Open("landlock", "none"), under, home=home)
    assert not done.holds
    assert ("training: read validation rows", False, "works, but must be denied") in done.findings
    assert ("training: connect by TCP", False, "works, but must be denied") in done.findings
    assert done.words().startswith("training: read validation rows: works, but must be denied")
    assert done.verdict().startswith("does not hold: ")
    assert sorted(path.name for path in home.iterdir()) == [".netrc", ".ssh"]
    assert not list(under.val_rows.parent.glob("made*"))


@pytest.mark.slow
def test_one_rule_too_many_is_found_out(sandbox: Sandbox, under: Conditions, home: Path) -> None:
    done = check_sandbox(Wider(sandbox.kind, str(under.val_rows.parent)), under, home=home)
    wrong = {name for name, ok, _ in done.findings if ok is False}
    assert wrong == {
        "training: read training rows",
        "training: read validation rows",
        "training: read hidden rows",
        "evaluation: read training rows",
        "evaluation: read validation rows",
        "evaluation: read hidden rows",
    }


@pytest.fixture
def beside_the_package() -> Iterator[Path]:
    """Make the folder of another session in the checkout, as in a lab that is the checkout itself."""
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".autoresearch-probe-") as name:
        session = Path(name) / "monday"
        (session / "runs").mkdir(parents=True)
        (session / "ledger.jsonl").write_text("{}")
        (session / "runs" / "log.txt").write_text("val_bpb 1.9")
        yield session


@pytest.mark.slow
def test_another_session_in_the_checkout_that_holds_the_package_is_closed(
    sandbox: Sandbox, under: Conditions, home: Path, beside_the_package: Path
) -> None:
    done = check_sandbox(sandbox, under, [beside_the_package], home)
    assert done.holds, done.words()
    assert {name for name, ok, _ in done.findings if ok} >= {
        "training: read monday/ledger.jsonl",
        "training: read monday/runs/log.txt",
        "training: change monday",
        "evaluation: read monday/ledger.jsonl",
    }


@pytest.mark.slow
def test_another_session_that_can_be_read_is_found_out(
    sandbox: Sandbox, under: Conditions, home: Path, beside_the_package: Path
) -> None:
    done = check_sandbox(Wider(sandbox.kind, str(beside_the_package)), under, [beside_the_package], home)
    assert {name for name, ok, _ in done.findings if ok is False} == {
        f"{who}: read monday/{file}" for who in ("training", "evaluation") for file in ("ledger.jsonl", "runs/log.txt")
    }


@pytest.mark.slow
def test_what_is_not_there_cannot_be_tried_and_is_no_failure(sandbox: Sandbox, under: Conditions, home: Path) -> None:
    done = check_sandbox(sandbox, under, [home / "no-ledger"], home)
    assert ("training: read no-ledger", None) in {(name, ok) for name, ok, _ in done.findings}
    assert done.holds


@pytest.mark.slow
def test_a_room_that_cannot_be_entered_does_not_hold_and_says_why(under: Conditions, home: Path) -> None:
    class Broken(Sandbox):
        def wrap(self, command: Sequence[str], permissions: Permissions) -> list[str]:
            return ["/bin/sh", "-c", "echo sandbox: no room >&2; exit 71"]

    done = check_sandbox(Broken("landlock", "broken"), under, home=home)
    assert not done.holds
    assert "was not tried: sandbox: no room" in done.words()
    assert done.verdict().startswith("cannot be used: ")


@pytest.mark.slow
def test_a_failure_without_the_sandbox_too_does_not_blame_the_sandbox(
    sandbox: Sandbox, under: Conditions, home: Path
) -> None:
    """MLX has no GPU here, inside or outside the sandbox."""
    done = check_sandbox(sandbox, replace(under, device="gpu"), home=home)
    found = {name: (ok, words) for name, ok, words in done.findings}
    assert found["training: MLX product"][0] is False
    assert found["training: MLX compiled expression"][0] is None
    assert found["evaluation: MLX compiled expression"][1].endswith("; without the sandbox too")
    assert (done.holds, done.breached) == (False, False)
    assert done.verdict().startswith("cannot be used: training: MLX product: must work: ")


def test_a_long_temporary_folder_leaves_room_for_the_address_of_a_socket(tmp_path: Path) -> None:
    with _short_folder(Path("/tmp/x")) as short:
        assert short == Path("/tmp/x")
    long = tmp_path / ("x" * 60) / ("y" * 60)
    with _short_folder(long) as short, socket.socket(socket.AF_UNIX) as line:
        line.bind(str(short / "socket"))
        assert len(str(short / "socket")) < 104
    assert not short.exists()


def test_wrong_arithmetic_is_found() -> None:
    right = np.ones((4, 4), np.float32)
    _compare("product", right, right * 1.001)
    with pytest.raises(ArithmeticError, match=r"a product of random numbers differs from numpy's by 0\.1"):
        _compare("product", right * 0.9, right)
    with pytest.raises(ArithmeticError):
        _compare("product", right * np.nan, right)


def test_wrong_numbers_are_told_from_a_product_that_cannot_be_had(under: Conditions) -> None:
    off = "a compiled expression of random numbers differs from numpy's by 0.3 of its largest value"
    words = f"must work: ArithmeticError: {off}; without the sandbox too"
    assert Selftest(False, (("training: MLX product", False, words),)).wrong_numbers == off
    assert Selftest(False, (("training: MLX product", False, "must work: RuntimeError: no GPU"),)).wrong_numbers is None
    assert wrong_numbers(under) is None
