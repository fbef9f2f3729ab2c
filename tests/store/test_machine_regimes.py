"""Each machine of a fleet has regimes of its own in the ledger, and sees the session's history with its own runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_mlx.experiment import Experiment, Measurement
from autoresearch_mlx.judge.history import standing, taken_now
from autoresearch_mlx.lab.comparability import Key
from autoresearch_mlx.store.ledger import Ledger
from autoresearch_mlx.store.records import measurement_to
from autoresearch_mlx.store.regimes import after_drift, enter_machine, matching, of_machine

M1, M4 = Key({"metric": "score", "machine": "M1"}), Key({"metric": "score", "machine": "M4"})
BOTH = ("mini", "studio")
BASELINE = Experiment(0, "keep", 1.0, None, "c" * 40, "b" * 40, "r", "baseline", None, {}, "me", "", "", "")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Begin a session on a coordinator with the same chip as the machine `mini`, which measures the baseline."""
    made = Ledger(tmp_path)
    started = {"tag": "t", "metric": "score", "direction": "min", "start": "b" * 40, "time": "", "conditions": {}}
    made.append("session", **started, comparability=dict(M1.parts))
    return made


def run(value: float, regime: int, machine: str) -> Measurement:
    return Measurement(value, 42, regime=regime, machine={"fleet_machine": machine})


def measured(ledger: Ledger) -> dict[str, int]:
    """Let `mini` measure the baseline, and `studio` beside it; return the regimes by machine."""
    regimes = {"mini": enter_machine(ledger, "mini", M1, BOTH), "studio": enter_machine(ledger, "studio", M4, BOTH)}
    ledger.append("repeated", number=0, during=0, measurement=measurement_to(run(1.25, regimes["studio"], "studio")))
    ledger.finish(replace(BASELINE, measurements=(run(1.0, regimes["mini"], "mini"),)))
    return regimes


def test_two_machines_have_two_regimes_even_with_the_same_chip(ledger: Ledger) -> None:
    first = enter_machine(ledger, "mini", M1, BOTH)
    second = enter_machine(ledger, "studio", M1, BOTH)
    assert len({0, first, second}) == 3, "and neither is the coordinator's own"
    assert of_machine(M1, "mini").mark != of_machine(M1, "studio").mark != M1.mark


def test_a_machine_compares_with_its_own_runs_alone(ledger: Ledger) -> None:
    measured(ledger)
    for machine, value in (("mini", 1.0), ("studio", 1.25)):
        seen = ledger.read().seen_by(machine)
        assert [m.value for m in taken_now(seen, seen.experiments[0])] == [value]
        assert standing(seen, seen.experiments[0]) == value


def test_a_machine_that_has_measured_nothing_has_no_run_that_counts(ledger: Ledger) -> None:
    measured(ledger)
    seen = ledger.read().seen_by("new")
    assert (seen.regime, seen.own, taken_now(seen, seen.experiments[0])) == (-1, frozenset(), ())


def test_the_session_follows_the_machine_that_measured_the_baseline(ledger: Ledger) -> None:
    regimes = measured(ledger)
    assert ledger.read().history.regime == regimes["mini"]


def test_entering_again_writes_nothing(ledger: Ledger) -> None:
    regimes = measured(ledger)
    size = ledger.path.stat().st_size
    assert enter_machine(ledger, "studio", M4, BOTH) == regimes["studio"]
    assert ledger.path.stat().st_size == size


def test_another_machine_stands_for_the_session_when_the_first_is_gone(ledger: Ledger) -> None:
    regimes = measured(ledger)
    enter_machine(ledger, "studio", M4, ["studio"])
    assert ledger.read().history.regime == regimes["studio"]


def test_a_drift_of_one_machine_leaves_the_others_alone(ledger: Ledger) -> None:
    regimes = measured(ledger)
    for value, machine in ((1.4, "studio"), (1.0, "mini"), (1.41, "studio")):
        run_ = run(value, regimes[machine], machine)
        ledger.append("repeated", number=0, during=0, measurement=measurement_to(run_))
    ledger.append("epoch", **after_drift(ledger.read(), 2, "studio is warm", "studio"))
    journal = ledger.read()
    studio, mini = journal.seen_by("studio"), journal.seen_by("mini")
    assert [m.value for m in taken_now(studio, studio.experiments[0])] == [1.4, 1.41]
    assert [m.value for m in taken_now(mini, mini.experiments[0])] == [1.0, 1.0]
    assert journal.history.regime == regimes["mini"]


def test_the_coordinator_goes_on_in_a_regime_of_its_own(ledger: Ledger) -> None:
    measured(ledger)
    assert matching(ledger.read(), M1) == 0, "a night without the fleet, on the machine that began the session"
    assert matching(ledger.read(), M1, "studio") is None
