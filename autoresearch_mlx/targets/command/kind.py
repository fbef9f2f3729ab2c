"""Define the conditions of a session of the target ``command``: the shell commands that measure and check."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.lab.comparability import program_parts
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.setting_types import METRIC_NAME
from autoresearch_mlx.targets.command.checks import GUARD, Check
from autoresearch_mlx.targets.command.figures import Figure
from autoresearch_mlx.targets.command.program import Command
from autoresearch_mlx.targets.confine import limits_of, limits_row
from autoresearch_mlx.targets.contract import Finding, Place, PlanFacts, TargetKind
from autoresearch_mlx.targets.tools import tools_of

_BLOCKS = ("check", "metric")
"""Conditions that lab.toml gives as blocks, such as ``[[check]]``."""


@dataclass(frozen=True, slots=True)
class CommandConditions:
    """The program that is measured.  The ledger stores each field under the field's name."""

    run: str
    """Shell command that prints the metric."""
    guard: str | None = None
    """Shell command that must end with exit code 0; otherwise the metric does not count."""
    pattern: str | None = None
    """Regular expression whose first group is the number; None if the number is in a line ``METRIC name=value``."""
    timeout_seconds: float = 600.0
    """Time limit for the program, and for its guard, in seconds."""
    check: tuple[Mapping[str, Any], ...] = ()
    """The blocks ``[[check]]`` of lab.toml, unchanged."""
    metric: tuple[Mapping[str, Any], ...] = ()
    """The blocks ``[[metric]]`` of lab.toml, unchanged."""

    def checks(self) -> tuple[Check, ...]:
        """Return the checks of an edit, the guard first."""
        guard = () if self.guard is None else (Check(GUARD, self.guard, self.timeout_seconds),)
        return (*guard, *(Check(each["name"], each["run"], each["timeout_seconds"]) for each in self.check))

    def figures(self) -> tuple[Figure, ...]:
        """Return the declared figures."""
        return tuple(Figure(each["name"], each["repeats"], each["run"]) for each in self.metric)


class CommandKind(TargetKind[CommandConditions]):
    """The kind of target that measures any program that prints a number."""

    name = "command"
    conditions = CommandConditions

    def check(self, settings: Settings) -> None:
        if not settings.target.run:
            said = 'target.kind = "command" needs run = "the shell line that prints METRIC name=value"'
            raise ConfigError(said, "add it to the section [target] of lab.toml")
        metric = settings.target.metric
        if settings.target.pattern is None and not METRIC_NAME.fullmatch(metric):
            said = f"a line METRIC name=value cannot have the name {metric!r}: use only letters, digits, _ and ."
            hint = f"write metric = {_as_name(metric)!r} in lab.toml, and let the program print that name"
            raise ConfigError(said, hint)

    def settle(self, place: Place) -> CommandConditions:
        self.check(place.settings)
        wanted, blocks = place.settings.target, (place.settings.check, place.settings.metric)
        checks, metrics = (tuple(each.model_dump() for each in group) for group in blocks)
        return CommandConditions(
            wanted.run or "", wanted.guard, wanted.pattern, wanted.timeout_seconds, checks, metrics
        )

    def record(self, conditions: CommandConditions) -> dict[str, Any]:
        """Return the conditions as JSON values; empty blocks are left out, as in earlier versions."""
        recorded = asdict(conditions)
        blocks = {name: list(recorded.pop(name)) for name in _BLOCKS}
        return {**recorded, **{name: block for name, block in blocks.items() if block}}

    def read(self, recorded: Mapping[str, Any]) -> CommandConditions:
        return super().read({**recorded, **{name: tuple(recorded.get(name, ())) for name in _BLOCKS}})

    def fixed(self, conditions: CommandConditions) -> Mapping[str, Any]:
        recorded = asdict(conditions)
        blocks = {name: list(recorded.pop(name)) for name in _BLOCKS}
        return {**{f"target.{name}": value for name, value in recorded.items()}, **blocks}

    def key_parts(self, conditions: CommandConditions, machine: Machine) -> Mapping[str, Any]:
        """Return the parts of the comparability key; the part ``program`` names the commands of all declared
        metrics."""
        parts = program_parts(self.record(conditions), {"chip": machine.chip})
        measured = [
            f"{each.name} x {each.repeats}" + (f": {each.run}" if each.run else "") for each in conditions.figures()
        ]
        return {**parts, "program": " | ".join(filter(None, (parts["program"], *measured)))} if measured else parts

    def build(self, conditions: CommandConditions, place: Place) -> Command:
        wanted, tools = place.settings.target, tools_of(place)
        tools.refuse_missing()
        return Command(
            metric=wanted.metric,
            direction=wanted.direction,
            limits=limits_of(place.settings, place.profile),
            environment=tools.environment(),
            run=conditions.run,
            checks=conditions.checks(),
            figures=conditions.figures(),
            pattern=conditions.pattern,
            timeout_seconds=conditions.timeout_seconds,
        )

    def doctor_rows(self, place: Place) -> Iterator[Finding]:
        yield limits_row(limits_of(place.settings, place.profile))
        yield from tools_of(place).rows()
        said = "none: the target `command` runs your own program unconfined"
        yield Finding("sandbox", "sandbox", said, "fail" if place.settings.sandbox.require else "ok")

    def plan_before(self, place: Place) -> PlanFacts:
        return PlanFacts(timeout_seconds=place.settings.target.timeout_seconds)

    def plan_of(self, conditions: CommandConditions, place: Place, preset: Mapping[str, Any]) -> PlanFacts:
        return PlanFacts(timeout_seconds=conditions.timeout_seconds)


def _as_name(text: str) -> str:
    """Return the most similar name that a ``METRIC`` line can have: ``val_loss`` for ``val-loss``."""
    name = re.sub(r"[^\w.]+", "_", text).strip("_.") or "metric"
    return name if METRIC_NAME.fullmatch(name) else f"_{name}"
