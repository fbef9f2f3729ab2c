"""Define the conditions of a session of the target ``command``: the shell lines that it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.lab.comparability import program_parts
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.targets.command.program import Command
from autoresearch_mlx.targets.confine import limits_of, limits_row
from autoresearch_mlx.targets.contract import Finding, Place, PlanFacts, TargetKind


@dataclass(frozen=True, slots=True)
class CommandConditions:
    """The program that is measured.  The ledger keeps the same names."""

    run: str
    """Shell line that prints the metric."""
    guard: str | None = None
    """Shell line that must end with exit code 0, or the metric does not count."""
    pattern: str | None = None
    """Regular expression whose first group is the number; None: the line ``METRIC name=value``."""
    timeout_seconds: float = 600.0
    """The longest time in seconds that the program may run, and that its guard may run."""


class CommandKind(TargetKind[CommandConditions]):
    """Any program that prints a number."""

    name = "command"
    conditions = CommandConditions

    def check(self, settings: Settings) -> None:
        if not settings.target.run:
            said = 'target.kind = "command" needs run = "the shell line that prints METRIC name=value"'
            raise ConfigError(said, "add it to the section [target] of lab.toml")

    def settle(self, place: Place) -> CommandConditions:
        self.check(place.settings)
        wanted = place.settings.target
        return CommandConditions(wanted.run or "", wanted.guard, wanted.pattern, wanted.timeout_seconds)

    def fixed(self, conditions: CommandConditions) -> Mapping[str, Any]:
        return {f"target.{name}": value for name, value in asdict(conditions).items()}

    def key_parts(self, conditions: CommandConditions, machine: Machine) -> Mapping[str, Any]:
        return program_parts(self.record(conditions), {"chip": machine.chip})

    def build(self, conditions: CommandConditions, place: Place) -> Command:
        wanted = place.settings.target
        limits = limits_of(place.settings, place.profile)
        return Command(metric=wanted.metric, direction=wanted.direction, limits=limits, **asdict(conditions))

    def doctor_rows(self, place: Place) -> Iterator[Finding]:
        yield limits_row(limits_of(place.settings, place.profile))
        said = "none: the program of a target command is your own"
        yield Finding("sandbox", "sandbox", said, "fail" if place.settings.sandbox.require else "ok")

    def plan_before(self, place: Place) -> PlanFacts:
        return PlanFacts(timeout_seconds=place.settings.target.timeout_seconds)

    def plan_of(self, conditions: CommandConditions, place: Place, preset: Mapping[str, Any]) -> PlanFacts:
        return PlanFacts(timeout_seconds=conditions.timeout_seconds)
