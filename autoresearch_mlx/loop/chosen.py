"""Turn settings into two values of a session: the limits on literals in an edit, and a line about the machine."""

from __future__ import annotations

from dataclasses import replace

from autoresearch_mlx.experiment import Workload
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.lab.config import LiteralSettings
from autoresearch_mlx.lab.literals import Bounds


def bounds_of(wanted: LiteralSettings, by_default: bool) -> Bounds | None:
    """Return the limits on literals that the settings ask for, or None if there are no limits.

    ``by_default`` says whether the target has limits even if no setting asks for limits.
    """
    chosen = {name: value for name, value in wanted.model_dump().items() if value != "auto"}
    return replace(Bounds(), **chosen) if chosen or by_default else None


def in_words(machine: Machine, workload: Workload) -> str:
    """Return one line about the machine and the budget of each experiment."""
    memory = f", {machine.memory_bytes / 2**30:.0f} GB" if machine.memory_bytes else ""
    each = f"; {workload.budget} per experiment" if workload.budget else ""
    each += f" on the {workload.device}" if workload.budget and workload.device else ""
    return f"{machine.chip or machine.arch}{memory}{each}"
