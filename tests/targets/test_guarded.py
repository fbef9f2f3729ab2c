"""A user's own target may raise any error or return a wrong type: the loop gets data or a clear error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_target import kind_with, raising

from autoresearch_mlx.errors import ConfigError, LabError
from autoresearch_mlx.experiment import Assignment, Measurement, Target
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.targets.contract import Auditable, Place, Rescorable
from autoresearch_mlx.targets.guarded import GuardedKind, guarded
from autoresearch_mlx.targets.registry import find_kind, with_defaults

BOOM = raising(RuntimeError("boom"))


def place_of(folder: Path) -> Place:
    machine = read_machine()
    return Place(Settings(), Lab(folder), machine, choose_profile(machine, "cpu"))


def target(folder: Path, **answers: Any) -> Target:
    kind, place = GuardedKind(kind_with(**answers), "toy"), place_of(folder)
    return kind.build(kind.settle(place), place)


def assignment(folder: Path) -> Assignment:
    (folder / "words.txt").write_text("four")
    return Assignment(folder, folder, 7, lambda progress: None)


def measured(folder: Path, answer: Any) -> Measurement:
    return target(folder, measure=answer).measure(assignment(folder))


@pytest.mark.parametrize(
    ("answer", "failure", "reason"),
    [
        (BOOM, "crash", "the target toy failed: RuntimeError: boom"),
        (raising(SystemExit(4)), "crash", "the target toy failed: SystemExit: 4"),
        (Measurement(float("nan"), 7), "invalid", "the target toy returned the value nan, not a finite number"),
        (
            Measurement(1e200, 7),
            "invalid",
            "the target toy returned the value 1e+200, which is too large: the limit is 1e+100",
        ),
        (Measurement(float("-inf"), 7), "invalid", "the target toy returned the value -inf, not a finite number"),
        (Measurement("12", 7), "invalid", "the target toy returned the value '12', not a finite number"),  # type: ignore[arg-type]
        (Measurement(True, 7), "invalid", "the target toy returned the value True, not a finite number"),
        (Measurement(None, 7), "invalid", "the target toy returned neither a value nor a failure"),
        (None, "invalid", "the target toy returned nothing, not a Measurement"),
        (3.0, "invalid", "the target toy returned a float, not a Measurement"),
        (Measurement(None, 7, "weird", "x"), "invalid", "the target toy returned failure = 'weird'"),  # type: ignore[arg-type]
        (Measurement(1.0, "x"), "invalid", "the target toy returned seed = 'x'"),  # type: ignore[arg-type]
        (Measurement(1.0, 7, seconds=None), "invalid", "the target toy returned seconds = None"),  # type: ignore[arg-type]
        (Measurement(1.0, 7, extra={"loss": float("nan")}), "invalid", "the target toy returned extra = {'loss': nan}"),
        (Measurement(1.0, 7, curve=((0.5,),)), "invalid", "the target toy returned curve = ((0.5,),)"),  # type: ignore[arg-type]
        (Measurement(1.0, 7, "crash", "x"), "crash", "x"),
    ],
)
def test_what_a_run_raises_or_returns_wrongly_is_a_failure(
    answer: Any, failure: str, reason: str, tmp_path: Path
) -> None:
    done = measured(tmp_path, answer)
    assert (done.value, done.seed, done.failure, done.reason) == (None, 7, failure, reason)


@pytest.mark.parametrize("value", [np.float32(2.5), np.float64(2.5), np.array(2.5)])
def test_a_number_of_numpy_is_a_number(value: Any, tmp_path: Path) -> None:
    done = measured(tmp_path, Measurement(value, np.int64(7), steps=np.int32(3), extra={"loss": np.float32(0.5)}))  # type: ignore[arg-type]
    assert done == Measurement(2.5, 7, steps=3, extra={"loss": 0.5})
    assert type(done.value) is float and type(done.seed) is int


def test_the_log_of_a_run_that_raised_has_the_traceback(tmp_path: Path) -> None:
    done = measured(tmp_path, BOOM)
    assert done.log is not None and "faulty_target.py" in (tmp_path / done.log).read_text()


def test_ctrl_c_and_errors_of_this_package_pass(tmp_path: Path) -> None:
    for error in (KeyboardInterrupt(), LabError("the disk is full")):
        with pytest.raises(type(error)):
            measured(tmp_path, raising(error))


def test_a_smoke_run_needs_no_value_and_may_be_left_out(tmp_path: Path) -> None:
    ran = target(tmp_path, smoke=Measurement(None, 7)).smoke(assignment(tmp_path))
    assert ran is not None and ran.failure is None
    assert target(tmp_path).smoke(assignment(tmp_path)) is None
    crashed = target(tmp_path, smoke=BOOM).smoke(assignment(tmp_path))
    assert crashed is not None and crashed.reason == "the target toy failed: RuntimeError: boom"


@pytest.mark.parametrize(
    ("method", "answer", "said"),
    [
        ("refuse", BOOM, "failed in refuse: RuntimeError: boom"),
        ("refuse", 5, "failed in refuse: it returned a int"),
        ("lanes_refused", BOOM, "failed in lanes_refused: RuntimeError: boom"),
        ("lanes_refused", True, "failed in lanes_refused: it returned a bool"),
    ],
)
def test_a_question_that_a_target_cannot_answer_stops_the_command(
    method: str, answer: Any, said: str, tmp_path: Path
) -> None:
    asked = target(tmp_path, **{method: answer})
    with pytest.raises(LabError, match=said) as caught:
        asked.refuse({}) if method == "refuse" else asked.lanes_refused()
    assert "CONTRIBUTING.md" in caught.value.hint


@pytest.mark.parametrize("method", ["check", "settle", "record", "key_parts", "build", "plan_before", "missing"])
def test_what_a_kind_raises_names_the_method(method: str, tmp_path: Path) -> None:
    kind, place = GuardedKind(kind_with(**{method: BOOM}), "toy"), place_of(tmp_path)
    conditions = kind.conditions()
    given = {
        "check": [place.settings],
        "key_parts": [conditions, place.machine],
        "build": [conditions, place],
        "record": [conditions],
        "missing": [conditions],
    }
    with pytest.raises(ConfigError, match=f"the target toy failed in {method}: RuntimeError: boom"):
        getattr(kind, method)(*given.get(method, [place]))


@pytest.mark.parametrize(
    ("method", "answer", "said"),
    [
        ("settle", dict, "failed in settle: it returned a dict"),
        ("build", lambda: None, "failed in build: AttributeError"),
        ("record", lambda: {"level": object()}, "returned a value from record that JSON cannot hold"),
        ("key_parts", lambda: {"a": object()}, "returned a value from key_parts that JSON cannot hold"),
        ("plan_before", lambda: "soon", "failed in plan_before: it returned a str"),
        ("margin", lambda: -1.0, "returned -1.0 from margin"),
    ],
)
def test_what_a_kind_returns_wrongly_names_the_method(method: str, answer: Any, said: str, tmp_path: Path) -> None:
    kind, place = GuardedKind(kind_with(**{method: answer}), "toy"), place_of(tmp_path)
    conditions = kind.conditions()
    given = {
        "record": [conditions],
        "key_parts": [conditions, place.machine],
        "build": [conditions, place],
        "margin": [place.profile],
    }
    with pytest.raises(ConfigError, match=said):
        getattr(kind, method)(*given.get(method, [place]))


def test_doctor_shows_what_the_kinds_own_lines_raise(tmp_path: Path) -> None:
    for answer, said in ((BOOM, "RuntimeError: boom"), (lambda: ["x"], "returned a str from doctor_rows")):
        kind = GuardedKind(kind_with(doctor_rows=answer), "toy")
        (row,) = kind.doctor_rows(place_of(tmp_path))
        assert row.state == "fail" and said in row.value


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("direction", "sideways", "its class has a wrong direction"),
        ("editable", "words.txt", "its class has a wrong editable"),
        ("editable", ("/etc/passwd",), "'/etc/passwd' is not a path inside the lab"),
        ("editable", (), "editable names no file"),
        ("metric", 5, "its class has a wrong metric"),
        ("name", "", "has no name"),
        ("conditions", dict, "has no conditions"),
    ],
)
def test_the_attributes_of_a_class_are_checked(attribute: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        with_defaults(Settings(), GuardedKind(kind_with(**{attribute: value}), "toy"))


def test_the_guard_has_the_protocols_of_what_it_guards(tmp_path: Path) -> None:
    class Audited:
        name, metric, direction, splits = "toy", "m", "min", ("val",)

        def __getattr__(self, name: str) -> Any:
            return getattr(plain, name)

        def audit(self, given: Assignment, measured: Measurement, gain: float) -> Measurement:
            raise RuntimeError("boom")

    plain = target(tmp_path)
    own = guarded(Audited(), "toy")
    assert isinstance(own, Auditable) and not isinstance(own, Rescorable) and not isinstance(plain, Auditable)
    audited = own.audit(assignment(tmp_path), Measurement(1.0, 7), 0.5)
    assert (audited.value, audited.failure) == (None, "crash")


def test_what_is_built_in_has_no_guard(tmp_path: Path) -> None:
    assert not isinstance(find_kind("command", tmp_path), GuardedKind)
    assert isinstance(find_kind("toy_target:ToyKind", tmp_path), GuardedKind)
