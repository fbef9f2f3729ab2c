"""Define what the rest of the program expects of a target.

A target comes in two halves.  A :class:`TargetKind` knows everything that belongs to one kind of target before
anything is measured: what a session fixes, how that is written into the ledger and read back, what values depend on,
its lines in `doctor` and `plan`.  What it builds is an :class:`autoresearch_mlx.experiment.Target`, which takes the
measurements of one session.

A target of your own subclasses :class:`TargetKind` and :class:`TargetBase` and implements ``build`` and ``measure``;
everything else has a default.  CONTRIBUTING.md has a complete example.
"""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeAlias, TypeVar, cast, runtime_checkable

from pydantic import TypeAdapter, ValidationError

from autoresearch_mlx.errors import AutoresearchError, ConfigError
from autoresearch_mlx.experiment import Assignment, Direction, Measurement, Split, Target, Workload
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import Lab

Say: TypeAlias = Callable[[str], None]
State: TypeAlias = Literal["ok", "note", "fail"]
C = TypeVar("C")


def _silent(text: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Place:
    """The surroundings of a session: its settings, its lab, and the machine with the profile chosen for it."""

    settings: Settings
    lab: Lab
    machine: Machine
    profile: Profile
    say: Say = _silent
    """Shows one line to the person, for steps that take time."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `doctor`.  ``fail``: the loop cannot run; ``note``: it can, but the line deserves a look."""

    section: str
    name: str
    value: str
    state: State = "ok"
    hint: str = ""


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """Facts about one run that are known before a night begins; None means unknown."""

    training_seconds: float | None = None
    """Training time of one run; None for a run that no clock ends."""
    timeout_seconds: float | None = None
    """The longest that one run may take."""
    overhead_seconds: float | None = None
    """Time of one run beyond its training: start, compilation, evaluation."""
    overhead_source: str | None = None
    """Where the overhead was measured, in words."""
    peak_bytes: int | None = None
    """The most memory that a run took, as measured."""
    gpu_memory_bytes: int | None = None
    """Memory of a GPU that has its own."""


class TargetKind(ABC, Generic[C]):
    """One kind of target; ``C`` is the frozen dataclass of the conditions that a session of it fixes."""

    name: ClassVar[str]
    """Name of the kind, as in ``target.kind`` of lab.toml and in the ledger."""
    conditions: ClassVar[type[Any]]
    """The class ``C``."""
    metric: ClassVar[str] = "val_bpb"
    """Default of ``target.metric``."""
    direction: ClassVar[Direction] = "min"
    """Default of ``target.direction``."""
    editable: ClassVar[tuple[str, ...]] = ("train_mlx.py",)
    """Default of ``target.editable``."""

    # --- what a session fixes

    def check(self, settings: Settings) -> None:
        """Refuse settings that this kind cannot work with.  Raises ConfigError."""
        return None

    def fit(self, place: Place) -> Profile:
        """Return the profile that a new session starts from; by default the one of the machine."""
        return place.profile

    def settle(self, place: Place) -> C:
        """Return what a new session fixes, besides the edited files; by default the table ``[target.options]``.

        Raises ConfigError when a name or a value of the table does not fit the class of the conditions, or another
        AutoresearchError when something that the target needs is missing.
        """
        options = place.settings.target.options
        names = [field.name for field in dataclasses.fields(self.conditions)]
        for name in options:
            if name not in names:
                hint = f"valid options: {', '.join(names) or 'none'}"
                raise ConfigError(f"the target {self.name} has no option target.options.{name}", hint)
        try:
            return cast(C, TypeAdapter(self.conditions).validate_python(dict(options)))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in ("target.options", *first["loc"]))
            raise ConfigError(f"{where}: {first['msg']} (got {first['input']!r})", "correct it in lab.toml") from None

    def record(self, conditions: C) -> dict[str, Any]:
        """Return the conditions as the plain JSON values that the ledger keeps."""
        return dataclasses.asdict(cast(Any, conditions))

    def read(self, recorded: Mapping[str, Any]) -> C:
        """Return the conditions that a ledger keeps.  Unknown names are ignored: a later version may write more.

        Raises ConfigError when a value is missing.
        """
        names = {field.name for field in dataclasses.fields(self.conditions)}
        try:
            return cast(C, self.conditions(**{k: v for k, v in recorded.items() if k in names}))
        except TypeError as error:
            raise ConfigError(f"the ledger's conditions do not fit the target {self.name}: {error}", RESTART) from None

    def fixed(self, conditions: C) -> Mapping[str, Any]:
        """Return the settings that a session cannot change, by their dotted names, with their values in this session.

        By default every condition that ``[target.options]`` names.
        """
        return {f"target.options.{name}": value for name, value in self.record(conditions).items()}

    def key_parts(self, conditions: C, machine: Machine) -> Mapping[str, Any]:
        """Return what a value depends on besides the edited files, by name; values compare where all of it is equal."""
        said = json.dumps(self.record(conditions), sort_keys=True, default=str)
        return {"program": f"{self.name} {said}", "machine": machine.chip}

    def missing(self, conditions: C) -> AutoresearchError | None:
        """Return why a session with these conditions cannot go on here; None when it can."""
        return None

    # --- how it starts

    def preset(self, knobs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the values to write into the baseline, out of the profile's ``knobs``; by default none."""
        return {}

    def margin(self, profile: Profile) -> float:
        """Return the least gain to keep while the noise is unknown, in the metric's unit."""
        return 0.0

    def calibrates(self, settings: Settings) -> bool:
        """Tell whether a machine with a GPU is measured before its first session."""
        return False

    @abstractmethod
    def build(self, conditions: C, place: Place) -> Target:
        """Return the target that measures under these conditions.

        ``place.settings.target`` holds the metric and the direction of the session.  Raises ConfigError, or another
        AutoresearchError when something that the target needs is missing.
        """

    # --- its own lines

    def doctor_rows(self, place: Place) -> Iterator[Finding]:
        """Yield the target's own lines in `doctor`; measures nothing, prepares nothing, raises nothing."""
        return iter(())

    def plan_before(self, place: Place) -> PlanFacts:
        """Return what is known of a run of a session that would begin now."""
        return PlanFacts()

    def plan_of(self, conditions: C, place: Place, preset: Mapping[str, Any]) -> PlanFacts:
        """Return what is known of a run of a session that has begun with this preset."""
        return PlanFacts()


class TargetBase:
    """The answers that most targets give.  A subclass adds ``name``, ``metric``, ``direction`` and ``measure``."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """Return the default: one set of cases scores all runs."""
        return ("val",)

    @property
    def workload(self) -> Workload:
        """Return the default: nothing is known."""
        return Workload()

    def lanes_refused(self) -> str | None:
        """Return None: by default runs may go side by side."""
        return None

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Return None: by default every text is measured."""
        return None

    def smoke(self, assignment: Assignment) -> Measurement | None:
        """Return None: by default there is no smoke run."""
        return None


@dataclass(frozen=True, slots=True)
class Rescoring:
    """One more evaluation of weights that were kept."""

    rows: int
    """Rows that it scores."""
    tokens: int
    """Tokens in these rows."""
    score: Callable[[Assignment], Measurement]
    """Take it; the assignment's folder holds the kept file.  A failure comes back as data."""


@runtime_checkable
class Rescorable(Protocol):
    """A target whose runs leave a file that can be scored again: `autoresearch-mlx evaluate`."""

    @property
    def kept_file(self) -> str:
        """Name of that file in a run's folder."""
        ...

    def rescoring(self, split: Split, rows: int | None, full: bool) -> Rescoring:
        """Return the evaluation on the first ``rows`` rows of a split, on all of them (None), or on as many tokens
        as upstream scores (``full``).  Raises LabError when the split has fewer."""
        ...


@runtime_checkable
class Certifiable(Protocol):
    """A target that knows whether a certificate of its values would mean anything."""

    def certify_refused(self) -> str | None:
        """Return why none is given, in words for the person; None when there is no reason."""
        ...


@runtime_checkable
class Auditable(Protocol):
    """A target that can look into a run whose gain is too good to be believed, beyond measuring it again."""

    def audit(self, assignment: Assignment, measured: Measurement, gain: float) -> Measurement:
        """Return the measurement with ``extra["audited"]`` True, or with a failure where the audit contradicts it.

        ``assignment``: the one it was measured under; its folder still holds what the run left.  ``gain``: what the run
        seems to gain, in the metric's unit.  ``extra["audit_doubt"]``: what only a person can decide, in words.
        """
        ...


@runtime_checkable
class Confinable(Protocol):
    """A target whose runs are confined by the system's sandbox."""

    def unconfined_because(self, private: Sequence[Path]) -> str | None:
        """Return why runs would not be confined, tried with real children; None when the sandbox holds.

        ``private``: paths that no run may open.
        """
        ...

    def without_sandbox(self, why: str) -> Self:
        """Return the same target with no sandbox; its measurements record why."""
        ...


RESTART = "install the version that began the session, or start another one with --tag NAME"
