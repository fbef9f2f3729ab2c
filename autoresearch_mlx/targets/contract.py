"""Define the interface between a target and the rest of the program.

A target consists of two objects.  The first, a :class:`TargetKind`, chooses the conditions that stay the same for a
whole session, writes these conditions into the ledger and reads them back.  The kind also names the facts on which
measured values depend, and supplies lines for `doctor` and `plan`.  Last, the kind builds the second object, an
:class:`autoresearch_mlx.experiment.Target`, which makes the measurements of one session.

A target of your own subclasses :class:`TargetKind` and :class:`TargetBase` and implements ``build`` and ``measure``;
every other method has a default.  CONTRIBUTING.md has a complete example.
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
from autoresearch_mlx.experiment import Assignment, Direction, History, Measurement, Split, Target, Workload
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
    """The settings, the lab, the machine and the machine's profile, which the methods of a kind need for one
    session."""

    settings: Settings
    lab: Lab
    machine: Machine
    profile: Profile
    say: Say = _silent
    """Function that shows the user one line of progress during a slow step."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `doctor`.

    The state ``fail`` means that the loop cannot run.  The state ``note`` means that the loop can run, but that the
    user should look at the line.
    """

    section: str
    name: str
    value: str
    state: State = "ok"
    hint: str = ""


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """Facts about one run that are known before a night begins; None means unknown."""

    training_seconds: float | None = None
    """Training time of one run, or None for a run that ends after a number of tokens or operations."""
    timeout_seconds: float | None = None
    """The longest time that one run may take."""
    overhead_seconds: float | None = None
    """Time that one run takes for start, compilation and evaluation, without training."""
    overhead_source: str | None = None
    """How ``overhead_seconds`` is known, as text for the user, such as "calibrated" with a date."""
    peak_bytes: int | None = None
    """The most memory that a measured run has used, in bytes."""
    gpu_memory_bytes: int | None = None
    """Memory of the GPU in bytes, if the GPU has memory of its own."""


class TargetKind(ABC, Generic[C]):
    """One kind of target.  ``C`` is the frozen dataclass of the conditions that stay the same during a session."""

    name: ClassVar[str]
    """Name of the kind, as in ``target.kind`` of lab.toml and in the ledger."""
    conditions: ClassVar[type[Any]]
    """The class of the conditions, ``C``."""
    metric: ClassVar[str] = "val_bpb"
    """Default of ``target.metric``."""
    direction: ClassVar[Direction] = "min"
    """Default of ``target.direction``."""
    editable: ClassVar[tuple[str, ...]] = ("train_mlx.py",)
    """Default of ``target.editable``."""
    bounds_literals: ClassVar[bool] = False
    """Whether the size of literals in edits is limited by default, so that no edit can write knowledge into the
    model."""

    # --- the conditions of a session

    def check(self, settings: Settings) -> None:
        """Refuse settings that this kind cannot work with.  Raises ConfigError."""
        return None

    def fit(self, place: Place) -> Profile:
        """Return the profile for a new session; by default the machine's profile."""
        return place.profile

    def settle(self, place: Place) -> C:
        """Return the conditions of a new session; by default they come from the table ``[target.options]``.

        Raises ConfigError if a name or a value in ``[target.options]`` does not fit the class of the conditions.
        Raises another AutoresearchError if something that the target needs is missing.
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
        """Return the conditions from a ledger.

        Unknown names are ignored, because a later version of this package may have written them.

        Raises ConfigError if a value is missing.
        """
        names = {field.name for field in dataclasses.fields(self.conditions)}
        try:
            return cast(C, self.conditions(**{k: v for k, v in recorded.items() if k in names}))
        except TypeError as error:
            raise ConfigError(f"the ledger's conditions do not fit the target {self.name}: {error}", RESTART) from None

    def fixed(self, conditions: C) -> Mapping[str, Any]:
        """Return the settings that cannot change during a session, as {dotted name: value in this session}.

        By default these are all conditions that ``[target.options]`` names.
        """
        return {f"target.options.{name}": value for name, value in self.record(conditions).items()}

    def key_parts(self, conditions: C, machine: Machine) -> Mapping[str, Any]:
        """Return the facts on which a value depends besides the edited files, by name.

        Two measured values can be compared only if all of these facts are equal.
        """
        said = json.dumps(self.record(conditions), sort_keys=True, default=str)
        return {"program": f"{self.name} {said}", "machine": machine.chip}

    def missing(self, conditions: C) -> AutoresearchError | None:
        """Return an error that says why a session with these conditions cannot continue here, or None if it can."""
        return None

    # --- the start of a session

    def preset(self, knobs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the part of the profile's ``knobs`` whose values are written into the baseline's files; by default
        this part is empty."""
        return {}

    def margin(self, profile: Profile) -> float:
        """Return the smallest gain to keep while the noise is unknown, in the metric's unit."""
        return 0.0

    def calibrates(self, settings: Settings) -> bool:
        """Return whether a machine with a GPU is calibrated before its first session."""
        return False

    @abstractmethod
    def build(self, conditions: C, place: Place) -> Target:
        """Return the target that measures under these conditions.

        ``place.settings.target`` holds the metric and the direction of the session.  Raises ConfigError, or another
        AutoresearchError if something that the target needs is missing.
        """

    # --- the target's lines in `doctor` and `plan`

    def doctor_rows(self, place: Place) -> Iterator[Finding]:
        """Yield the target's own lines in `doctor`.  The method measures and prepares nothing, and raises no error."""
        return iter(())

    def plan_before(self, place: Place) -> PlanFacts:
        """Return the facts that are known about the runs of a session that would begin now."""
        return PlanFacts()

    def plan_of(self, conditions: C, place: Place, preset: Mapping[str, Any]) -> PlanFacts:
        """Return the facts that are known about the runs of a session that began with these conditions and this
        preset."""
        return PlanFacts()


class TargetBase:
    """Default methods of a target.  A subclass adds ``name``, ``metric``, ``direction`` and ``measure``."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """Return the name of the only split, because by default all runs are scored on the same cases."""
        return ("val",)

    @property
    def workload(self) -> Workload:
        """Return an empty workload, because by default nothing is known about the work of a run."""
        return Workload()

    def lanes_refused(self) -> str | None:
        """Return None, because by default several runs may be measured side by side."""
        return None

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Return None, because by default no edit is refused."""
        return None

    def smoke(self, assignment: Assignment) -> Measurement | None:
        """Return None, because by default there is no smoke run."""
        return None


@dataclass(frozen=True, slots=True)
class Rescoring:
    """A further evaluation of the weights that a run has saved."""

    rows: int
    """Number of rows that the evaluation scores."""
    tokens: int
    """Number of tokens in the rows that the evaluation scores."""
    score: Callable[[Assignment], Measurement]
    """Function that scores the kept file in the assignment's folder.  If the scoring fails, the returned measurement
    says why."""


@runtime_checkable
class Rescorable(Protocol):
    """A target whose runs leave a file that `autoresearch-mlx evaluate` can score again."""

    @property
    def kept_file(self) -> str:
        """Name of the file in a run's folder that can be scored again."""
        ...

    def rescoring(self, split: Split, rows: int | None, full: bool) -> Rescoring:
        """Return an evaluation on the first ``rows`` rows of a split, or on all rows if ``rows`` is None.

        With ``full`` the evaluation scores as many tokens as upstream's evaluation.  Raises LabError if the split has
        too few rows.
        """
        ...


@runtime_checkable
class Certifiable(Protocol):
    """A target that can say why a certificate of its values would mean nothing."""

    def certify_refused(self) -> str | None:
        """Return the reason why no certificate is given, as text for the user, or None if one may be given."""
        ...


@runtime_checkable
class Auditable(Protocol):
    """A target that can audit a run whose gain is too good to be believed, instead of only repeating the run."""

    def audit(self, assignment: Assignment, measured: Measurement, gain: float) -> Measurement:
        """Return ``measured`` with ``extra["audited"]`` set to True, or with a failure if the audit contradicts the
        value.

        ``assignment`` is the assignment under which the run was measured.  The assignment's folder still has the files
        that the run left, and ``assignment.incumbent`` restores the incumbent's run for comparison.  ``gain`` is the
        apparent gain of the run, in the metric's unit.  If the audit leaves a doubt that only a person can settle,
        ``extra["audit_doubt"]`` describes it.
        """
        ...


@runtime_checkable
class Confinable(Protocol):
    """A target whose runs are confined by the system's sandbox."""

    def unconfined_because(self, private: Sequence[Path]) -> str | None:
        """Test the sandbox with real child processes; return why it would not confine a run, or None if it works.

        ``private`` lists paths that no run may open.  Raises LabError if nothing can be measured, with or without the
        sandbox.
        """
        ...

    def without_sandbox(self, why: str) -> Self:
        """Return the same target without a sandbox; its measurements record the reason ``why``."""
        ...


@runtime_checkable
class Informing(Protocol):
    """A target that tells the proposing agent more about the runs than their values."""

    def findings(self, folder: Path, history: History) -> str:
        """Return what the target found in the runs, as text for a model or a coding agent, or an empty string.

        ``folder`` is the session's folder, which contains the logs that the measurements name.  The returned
        text may quote output of edited code, so prompts treat the text as data.  Raises nothing.
        """
        ...


@runtime_checkable
class Appraising(Protocol):
    """A target that can judge from runs of the unedited file whether a night is worthwhile."""

    def appraise(self, runs: Sequence[Measurement]) -> Sequence[Finding]:
        """Return findings about the coming night, judged from runs of one version.  A finding with the state ``fail``
        means that no edit could be kept.

        `check` shows the findings, and so does `run` after measuring the baseline.  Each of the ``runs`` has a value.
        """
        ...


RESTART = "install the version of autoresearch-mlx that began the session, or start another session with --tag NAME"
