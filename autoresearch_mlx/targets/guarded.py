"""Guard the loop against errors in a user's own target, which may raise any error or return a wrong type.

An error or a wrong value from ``measure`` or ``smoke`` becomes a measurement with a failure and a reason.  An error
or a wrong value from any other method becomes a ConfigError or a LabError that names the method.  KeyboardInterrupt
and the errors of this package pass through unchanged.
"""

from __future__ import annotations

import dataclasses
import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast, get_args

from autoresearch_mlx.errors import AutoresearchError, ConfigError, LabError
from autoresearch_mlx.experiment import Assignment, Direction, History, Measurement, Split, Target, Workload
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.plugins import said
from autoresearch_mlx.targets.contract import (
    Appraising,
    Auditable,
    Certifiable,
    Confinable,
    Finding,
    Informing,
    Place,
    PlanFacts,
    Rescorable,
    Rescoring,
    TargetKind,
)
from autoresearch_mlx.targets.measured import checked

T = TypeVar("T")
_LOG = "log.txt"


class GuardedKind(TargetKind[Any]):
    """Wraps a user's own kind of target: each method calls the same method of that kind and checks the result."""

    def __init__(self, inner: TargetKind[Any], where: str) -> None:
        """Check the attributes of the kind.  ``where`` is the kind's name in messages.  Raises ConfigError."""
        self.inner, self.where = inner, where
        if not isinstance(name := getattr(inner, "name", None), str) or not name:
            self._wrong("has no name", 'the class needs name = "..."')
        if not dataclasses.is_dataclass(conditions := getattr(inner, "conditions", None)):
            self._wrong("has no conditions", "the class needs conditions = C, a frozen dataclass")
        own = {each: getattr(inner, each) for each in ("metric", "direction", "editable")}
        self.__dict__.update(name=name, conditions=conditions, **own)

    def check(self, settings: Settings) -> None:
        self._ask("check", self.inner.check, settings)

    def fit(self, place: Place) -> Profile:
        return cast(Profile, self._of(Profile, "fit", self.inner.fit, place))

    def settle(self, place: Place) -> Any:
        return self._of(self.conditions, "settle", self.inner.settle, place)

    def record(self, conditions: Any) -> dict[str, Any]:
        return dict(self._json("record", self.inner.record, conditions))

    def read(self, recorded: Mapping[str, Any]) -> Any:
        return self._of(self.conditions, "read", self.inner.read, recorded)

    def fixed(self, conditions: Any) -> Mapping[str, Any]:
        return self._json("fixed", self.inner.fixed, conditions)

    def key_parts(self, conditions: Any, machine: Machine) -> Mapping[str, Any]:
        return self._json("key_parts", self.inner.key_parts, conditions, machine)

    def missing(self, conditions: Any) -> AutoresearchError | None:
        return cast(
            "AutoresearchError | None",
            self._of((AutoresearchError, type(None)), "missing", self.inner.missing, conditions),
        )

    def preset(self, knobs: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._json("preset", self.inner.preset, knobs)

    def margin(self, profile: Profile) -> float:
        margin = self._of((int, float), "margin", self.inner.margin, profile)
        if not 0 <= margin < float("inf"):
            self._wrong(f"returned {margin!r} from margin", "return a finite number, 0 or more")
        return float(margin)

    def calibrates(self, settings: Settings) -> bool:
        return cast(bool, self._of(bool, "calibrates", self.inner.calibrates, settings))

    def build(self, conditions: Any, place: Place) -> Target:
        return guarded(self._ask("build", self.inner.build, conditions, place), self.where)

    def doctor_rows(self, place: Place) -> Iterator[Finding]:
        """Yield the kind's lines for `doctor`; an error becomes a line, so that `doctor` can still show the other
        lines."""
        try:
            for row in self._ask("doctor_rows", lambda: list(self.inner.doctor_rows(place))):
                if not isinstance(row, Finding):
                    self._wrong(f"returned {_shown(row)} from doctor_rows", "yield Finding(section, name, value)")
                yield row
        except AutoresearchError as error:
            yield Finding("target", "target", str(error), "fail", error.hint)

    def plan_before(self, place: Place) -> PlanFacts:
        return cast(PlanFacts, self._of(PlanFacts, "plan_before", self.inner.plan_before, place))

    def plan_of(self, conditions: Any, place: Place, preset: Mapping[str, Any]) -> PlanFacts:
        return cast(PlanFacts, self._of(PlanFacts, "plan_of", self.inner.plan_of, conditions, place, preset))

    def _ask(self, method: str, call: Callable[..., T], *given: Any) -> T:
        with _asking(self.where, method, ConfigError):
            return call(*given)

    def _of(self, kind: Any, method: str, call: Callable[..., Any], *given: Any) -> Any:
        return _of_type(kind, self.where, method, self._ask(method, call, *given), ConfigError)

    def _json(self, method: str, call: Callable[..., Any], *given: Any) -> Mapping[str, Any]:
        """Call a method that must return a table of JSON values, and return the table.

        Raises ConfigError for any other result.
        """
        table = cast(Mapping[str, Any], self._of(Mapping, method, call, *given))
        try:
            json.dumps(dict(table), allow_nan=False)
        except (TypeError, ValueError) as error:
            self._wrong(
                f"returned a value from {method} that JSON cannot hold: {error}", "return plain texts and numbers"
            )
        return table

    def _wrong(self, words: str, hint: str) -> NoReturn:
        raise ConfigError(f"the target {self.where} {words}", f"{hint}; CONTRIBUTING.md has an example")


class _Guarded:
    """Wraps a user's own target, as the docstring of this module explains."""

    def __init__(self, inner: Any, where: str) -> None:
        """Read the target's properties once.  Raises ConfigError if a property is missing or has a wrong type."""
        self.inner, self.where = inner, where
        with _asking(where, "build", ConfigError):
            self.name: str = _of_type(str, where, "name", inner.name, ConfigError)
            self.metric: str = _of_type(str, where, "metric", inner.metric, ConfigError)
            self.direction: Direction = inner.direction
            self.splits: tuple[Split, ...] = _of_type(tuple, where, "splits", inner.splits, ConfigError)
            self.workload: Workload = _of_type(Workload, where, "workload", inner.workload, ConfigError)
            for method in ("measure", "smoke", "refuse", "lanes_refused"):
                if not callable(getattr(inner, method)):
                    hint = "write a method with this name; CONTRIBUTING.md has an example"
                    raise ConfigError(f"{method} of the target {where} is not a method", hint)
        if self.direction not in get_args(Direction) or not set(self.splits) <= set(get_args(Split)):
            wrong = f"the target {where} has direction {self.direction!r} and splits {self.splits!r}"
            raise ConfigError(wrong, "a direction must be min or max, and a split must be val or hidden")

    def lanes_refused(self) -> str | None:
        return self._words("lanes_refused", self.inner.lanes_refused)

    def refuse(self, files: Mapping[str, str]) -> str | None:
        return self._words("refuse", self.inner.refuse, files)

    def smoke(self, assignment: Assignment) -> Measurement | None:
        ran = self._data(self.inner.smoke, assignment)
        return None if ran is None else checked(ran, assignment, self.where, needs_value=False)

    def measure(self, assignment: Assignment) -> Measurement:
        return checked(self._data(self.inner.measure, assignment), assignment, self.where)

    def _words(self, method: str, call: Callable[..., Any], *given: Any) -> str | None:
        with _asking(self.where, method, LabError):
            words = call(*given)
        return cast("str | None", _of_type((str, type(None)), self.where, method, words, LabError))

    def _data(self, call: Callable[..., Any], assignment: Assignment, *given: Any) -> Any:
        """Call a method that measures, and return the result.

        An error becomes a measurement with the failure ``crash``, and its traceback goes into the run's log.
        """
        try:
            return call(assignment, *given)
        except AutoresearchError:
            raise
        except (Exception, SystemExit) as error:
            log = assignment.folder / _LOG
            with suppress(OSError), log.open("a", encoding="utf-8", errors="replace") as file:
                file.write(traceback.format_exc())
            reason = f"the target {self.where} failed: {said(error)}"
            return Measurement(None, assignment.seed, "crash", reason, log=_LOG if log.is_file() else None)


class _Audits(_Guarded):
    def audit(self, assignment: Assignment, measured: Measurement, gain: float) -> Measurement:
        return checked(self._data(self.inner.audit, assignment, measured, gain), assignment, self.where)


class _Certifies(_Guarded):
    def certify_refused(self) -> str | None:
        return self._words("certify_refused", self.inner.certify_refused)


class _Rescores(_Guarded):
    @property
    def kept_file(self) -> str:
        with _asking(self.where, "kept_file", LabError):
            return cast(str, _of_type(str, self.where, "kept_file", self.inner.kept_file, LabError))

    def rescoring(self, split: Split, rows: int | None, full: bool) -> Rescoring:
        with _asking(self.where, "rescoring", LabError):
            found = self.inner.rescoring(split, rows, full)
        rescoring: Rescoring = _of_type(Rescoring, self.where, "rescoring", found, LabError)
        return replace(rescoring, score=lambda given: checked(self._data(rescoring.score, given), given, self.where))


class _Confines(_Guarded):
    def unconfined_because(self, private: Sequence[Any]) -> str | None:
        return self._words("unconfined_because", self.inner.unconfined_because, private)

    def without_sandbox(self, why: str) -> Target:
        with _asking(self.where, "without_sandbox", LabError):
            return guarded(self.inner.without_sandbox(why), self.where)


class _Informs(_Guarded):
    def findings(self, folder: Path, history: History) -> str:
        return self._words("findings", self.inner.findings, folder, history) or ""


class _Appraises(_Guarded):
    def appraise(self, runs: Sequence[Measurement]) -> Sequence[Finding]:
        with _asking(self.where, "appraise", LabError):
            found = list(self.inner.appraise(runs))
        return [_of_type(Finding, self.where, "appraise", each, LabError) for each in found]


_ALSO: Mapping[Any, type[_Guarded]] = {
    Auditable: _Audits,
    Certifiable: _Certifies,
    Rescorable: _Rescores,
    Confinable: _Confines,
    Informing: _Informs,
    Appraising: _Appraises,
}
"""The optional protocols that a target may implement in addition to ``Target``."""


def guarded(target: object, where: str) -> Target:
    """Return the target wrapped in a guard that implements the same optional protocols.

    Raises ConfigError for an object that is not a target.
    """
    also = [guard for protocol, guard in _ALSO.items() if isinstance(target, protocol)]
    return cast(Target, type("Guarded", (*also, _Guarded), {})(target, where))


@contextmanager
def _asking(where: str, method: str, kind: type[AutoresearchError]) -> Iterator[None]:
    try:
        yield
    except AutoresearchError:
        raise
    except (Exception, SystemExit) as error:
        hint = "correct the class of the target; CONTRIBUTING.md has an example"
        raise kind(f"the target {where} failed in {method}: {said(error)}", hint) from error


def _of_type(kind: Any, where: str, method: str, found: Any, error: type[AutoresearchError]) -> Any:
    if isinstance(found, kind):
        return found
    kinds = kind if isinstance(kind, tuple) else (kind,)
    wanted = " or ".join("None" if each is type(None) else each.__name__ for each in kinds)
    hint = f"the value must be of type {wanted}; CONTRIBUTING.md has an example"
    raise error(f"the target {where} failed in {method}: it returned {_shown(found)}", hint)


def _shown(found: object) -> str:
    return "nothing" if found is None else f"a {type(found).__name__}"
