"""The probe tells a sandbox that holds from one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.sandbox.detect import Sandbox
from autoresearch_mlx.trial.sandbox.permissions import Permissions
from autoresearch_mlx.trial.sandbox.selftest import check_sandbox


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".netrc").write_text("secret")
    return tmp_path / "home"


class Open(Sandbox):
    """Lets everything through."""

    def wrap(self, command: Sequence[str], permissions: Permissions) -> list[str]:
        return list(command)


class Wider(Sandbox):
    """The real one, with a folder to read, here named by its words, that the permissions does not have."""

    def wrap(self, command: Sequence[str], permissions: Permissions) -> list[str]:
        return super().wrap(command, replace(permissions, read=(*permissions.read, Path(self.words))))


def test_the_sandbox_of_this_machine_holds(sandbox: Sandbox, under: Conditions, home: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text("{}")
    done = check_sandbox(sandbox, under, [ledger], home)
    assert done.holds, done.words()
    assert {name for name, ok, _ in done.findings if ok} >= {
        "training: MLX product",
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
    assert done.words().endswith("attempts ended as they must")
    assert ledger.read_text() == "{}"


def test_no_sandbox_at_all_is_found_out_and_leaves_nothing_behind(under: Conditions, home: Path) -> None:
    done = check_sandbox(Open("landlock", "none"), under, home=home)
    assert not done.holds
    assert ("training: read validation rows", False, "works, and must not") in done.findings
    assert ("training: connect by TCP", False, "works, and must not") in done.findings
    assert done.words().startswith("training: read validation rows: works, and must not")
    assert sorted(path.name for path in home.iterdir()) == [".netrc", ".ssh"]
    assert not list(under.val_rows.parent.glob("made*"))


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


def test_what_is_not_there_cannot_be_tried_and_is_no_failure(sandbox: Sandbox, under: Conditions, home: Path) -> None:
    done = check_sandbox(sandbox, under, [home / "no-ledger"], home)
    assert ("training: read no-ledger", None) in {(name, ok) for name, ok, _ in done.findings}
    assert done.holds


def test_a_room_that_cannot_be_entered_does_not_hold_and_says_why(under: Conditions, home: Path) -> None:
    class Broken(Sandbox):
        def wrap(self, command: Sequence[str], permissions: Permissions) -> list[str]:
            return ["/bin/sh", "-c", "echo sandbox: no room >&2; exit 71"]

    done = check_sandbox(Broken("landlock", "broken"), under, home=home)
    assert not done.holds
    assert "was not tried: sandbox: no room" in done.words()
