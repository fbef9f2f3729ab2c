"""Define the kind ``evals``: check and record a session's options, and build the target from the options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from autoresearch_mlx.errors import AutoresearchError, ConfigError
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.targets.confine import in_the_record, limits_of, limits_row, sandbox_of
from autoresearch_mlx.targets.contract import Finding, Place, PlanFacts, TargetKind
from autoresearch_mlx.targets.evals.conditions import (
    DOCS,
    EvalsConditions,
    from_ledger,
    hashes,
    parts_of,
    wrong_with,
)
from autoresearch_mlx.targets.evals.target import Evals
from autoresearch_mlx.trial.sandbox.detect import NoSandbox, Sandbox
from autoresearch_mlx.trial.sandbox.landlock import PORTS_ABI, abi


class EvalsKind(TargetKind[EvalsConditions]):
    """The kind of target that improves an agent and scores it by cases that the agent cannot read."""

    name = "evals"
    conditions = EvalsConditions
    metric = "score"
    direction = "max"
    editable = ("agent.py", "prompts/*.md")

    def check(self, settings: Settings) -> None:
        if not settings.target.options:
            raise ConfigError('target.kind = "evals" needs a section [target.options] in lab.toml', DOCS)

    def settle(self, place: Place) -> EvalsConditions:
        """Return the options, with hashes of the cases and of the user's code.

        Raises ConfigError for an option with a bad value, a file that cannot be read, or an empty dev part.
        """
        wanted = super().settle(place)
        if (wrong := wrong_with(wanted)) is not None:
            raise ConfigError(wrong, DOCS)
        cases, own = hashes(wanted, place.lab.root)
        settled = replace(wanted, cases_sha256=cases, own_sha256=own)
        parts_of(settled, place.lab.root)
        return settled

    def read(self, recorded: Mapping[str, Any]) -> EvalsConditions:
        return super().read(from_ledger(recorded))

    def record(self, conditions: EvalsConditions) -> dict[str, Any]:
        found = super().record(conditions)
        return found | {"files": list(conditions.files)}

    def fixed(self, conditions: EvalsConditions) -> Mapping[str, Any]:
        computed = ("cases_sha256", "own_sha256")
        return {name: value for name, value in super().fixed(conditions).items() if not name.endswith(computed)}

    def key_parts(self, conditions: EvalsConditions, machine: Machine) -> Mapping[str, Any]:
        return {**super().key_parts(conditions, machine), "split": "val"}

    def build(self, conditions: EvalsConditions, place: Place) -> Evals:
        found = _sandbox(place.settings)
        wanted = place.settings.target
        return Evals(
            conditions,
            place.lab.root,
            parts_of(conditions, place.lab.root),
            wanted.editable,
            wanted.metric,
            wanted.direction,
            sandbox=found if isinstance(found, Sandbox) else None,
            open_because=found.words if isinstance(found, NoSandbox) else "",
            limits=limits_of(place.settings, place.profile),
            machine={"chip": place.machine.chip, "sandbox": in_the_record(found)},
        )

    def doctor_rows(self, place: Place) -> Iterator[Finding]:
        try:
            settled = self.settle(place)
            parts = parts_of(settled, place.lab.root)
            counts = ", ".join(f"{len(found)} {part}" for part, found in parts.items())
            yield Finding("data", "cases", f"{counts} ({settled.cases})")
            where = f"at {settled.endpoint}" if settled.endpoint else "in the scorer's process"
            yield Finding("data", "model", f"{settled.model} {where}")
        except AutoresearchError as error:
            yield Finding("data", "cases", str(error), "fail", error.hint)
        yield limits_row(limits_of(place.settings, place.profile))
        found = _sandbox(place.settings)
        if isinstance(found, Sandbox):
            yield Finding("sandbox", "sandbox", f"{found.words}; the agent can reach one port of this machine")
            return
        hint = "the agent runs with your rights and could read the cases; no certificate is given"
        yield Finding(
            "sandbox", "sandbox", f"none: {found.words}", "fail" if place.settings.sandbox.require else "note", hint
        )

    def plan_of(self, conditions: EvalsConditions, place: Place, preset: Mapping[str, Any]) -> PlanFacts:
        cases = parts_of(conditions, place.lab.root)
        most = (len(cases["dev"]) + len(cases["guard"])) * conditions.repeats * conditions.seconds
        return PlanFacts(timeout_seconds=most)


def _sandbox(settings: Settings) -> Sandbox | NoSandbox:
    """Return the sandbox of this system, or NoSandbox if the sandbox cannot limit connections to a single port."""
    found = sandbox_of(settings)
    if isinstance(found, Sandbox) and found.kind == "landlock" and abi() < PORTS_ABI:
        return NoSandbox(f"{found.words} cannot limit connections to one port before Linux 6.7")
    return found
