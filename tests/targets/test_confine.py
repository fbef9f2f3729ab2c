"""Before the first run, a sandbox that works is kept, and one that does not counts as none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training as tiny

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.lab.config import SandboxSettings
from autoresearch_mlx.targets.confine import confine
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.sandbox.detect import Sandbox
from autoresearch_mlx.trial.sandbox.permissions import Permissions

REQUIRED = SandboxSettings(require=True)


class Open(Sandbox):
    """A sandbox that allows everything."""

    def wrap(self, command: Sequence[str], permissions: Permissions) -> list[str]:
        return list(command)


@pytest.fixture(scope="module")
def under(tmp_path_factory: pytest.TempPathFactory) -> Conditions:
    cache = tmp_path_factory.mktemp("cache")
    return tiny.conditions(tiny.corpus(cache), cache)


@pytest.fixture
def leaky(under: Conditions) -> Pretrain:
    return Pretrain(replace(under, sandbox=Open("landlock", "a sieve")))


@pytest.mark.slow
def test_a_sandbox_that_holds_is_kept_without_a_word(under: Conditions, sandbox: Sandbox, tmp_path: Path) -> None:
    said: list[str] = []
    target = Pretrain(replace(under, sandbox=sandbox))
    (tmp_path / "ledger.jsonl").touch()
    assert confine(target, REQUIRED, [tmp_path / "ledger.jsonl"], said.append) is target
    assert said == []


@pytest.mark.slow
def test_one_that_leaks_is_taken_away_with_a_warning_and_stands_in_the_record(leaky: Pretrain) -> None:
    said: list[str] = []
    target = confine(leaky, SandboxSettings(), (), said.append)
    assert isinstance(target, Pretrain)
    assert target.conditions.sandbox is None
    why = "a sieve does not hold: training: read validation rows: works, but must be denied"
    assert str(target.conditions.machine["sandbox"]).startswith(f"none ({why}")
    (warning,) = said
    assert warning.startswith(f"WARNING: no sandbox: {why}")


@pytest.mark.slow
def test_where_one_is_required_a_leak_ends_it_before_anything_is_measured(leaky: Pretrain) -> None:
    with pytest.raises(ConfigError, match="a sandbox is required, and there is none: a sieve does not hold") as caught:
        confine(leaky, REQUIRED, (), [].append)
    assert "docs/sandbox.md" in caught.value.hint


def test_conditions_without_a_sandbox_say_why(under: Conditions) -> None:
    said: list[str] = []
    bare = Pretrain(replace(under, machine={"sandbox": "none (no Landlock (here))"}))
    confine(bare, SandboxSettings(), (), said.append)
    assert said[0].startswith("WARNING: no sandbox: no Landlock (here).\n")
