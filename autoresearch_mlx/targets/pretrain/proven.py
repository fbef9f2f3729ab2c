"""Before the first run: does the sandbox hold?  Real children try what must fail and what must work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.experiment import Target
from autoresearch_mlx.lab.config import SandboxSettings
from autoresearch_mlx.targets.choose import in_the_record
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.sandbox.detect import NoSandbox
from autoresearch_mlx.trial.sandbox.selftest import check_sandbox

_WARNING = """\
WARNING: no sandbox: {why}.
WARNING: what the researcher writes runs with your rights: it can read held-out rows and your files, and use the
WARNING: network. Each measurement is recorded with `sandbox: none`; --require-sandbox refuses instead."""
_HINT = "docs/sandbox.md says what it needs; without --require-sandbox and sandbox.require, runs go on unconfined"


def proven(target: Target, settings: SandboxSettings, private: Sequence[Path], say: Callable[[str], None]) -> Target:
    """The target, confined by a sandbox that was seen to hold, or by none, after a warning.

    ``private``: the ledger and whatever else no run may open.  Takes some 0.3 s.  A target ``command`` is its
    owner's program and is never confined.  Raises ConfigError where the settings require what is not there.
    """
    if not isinstance(target, Pretrain):
        if settings.require:
            said = f"sandbox.require: the program of a target {target.name} runs in no sandbox"
            raise ConfigError(said, "leave --require-sandbox and sandbox.require away, or confine the program yourself")
        return target
    why = _why_not(target, private)
    if why is None:
        return target
    if settings.require:
        raise ConfigError(f"a sandbox is required, and there is none: {why}", _HINT)
    say(_WARNING.format(why=why))
    return _without(target, why)


def _why_not(target: Pretrain, private: Sequence[Path]) -> str | None:
    sandbox = target.conditions.sandbox
    if sandbox is None:
        recorded = str(target.conditions.machine.get("sandbox", "none"))
        return recorded.removeprefix("none (").removesuffix(")")
    done = check_sandbox(sandbox, target.conditions, private)
    return None if done.holds else f"{sandbox.words} does not hold: {done.words()}"


def _without(target: Pretrain, why: str) -> Pretrain:
    machine = {**target.conditions.machine, "sandbox": in_the_record(NoSandbox(why))}
    return replace(target, conditions=replace(target.conditions, sandbox=None, machine=machine))
