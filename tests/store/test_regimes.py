"""Runs are compared within one regime, a regime that returns counts again, and earlier ledgers replay as before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder, git, opened

from autoresearch_mlx.agents.scripted import Fixed
from autoresearch_mlx.experiment import History, Measurement, Proposal, Verdict
from autoresearch_mlx.judge.history import age, gained, pair_sigma, sigma_of, standing, taken_now
from autoresearch_mlx.judge.judge import Case, Judge, Mode
from autoresearch_mlx.lab.comparability import Key
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.store.ledger import FILE, Journal, Regime, read
from autoresearch_mlx.store.records import experiment_to, measurement_to
from autoresearch_mlx.store.regimes import after_drift, matching, settled

GOLDEN = Path(__file__).parent / "golden" / "regimes"
"""Ledgers of real sessions by version 0.1.0, which called regimes epochs, each with that version's result."""
ELSEWHERE = "Apple M2"


@pytest.fixture
def lab(command_lab: Lab) -> Lab:
    """Make a lab whose values are shifted by a constant of the machine, which a file beside the lab contains."""
    bench = command_lab.root / "bench.py"
    shift = command_lab.root.parent / "shift"
    shift.write_text("0")
    told = bench.read_text().replace("+ 1:", f"+ 1 + float(open({str(shift)!r}).read()):")
    bench.write_text(told)
    git(command_lab.root, "commit", "-qam", "a machine of its own")
    return command_lab


def run(lab: Lab, screen: Recorder, *xs: float) -> tuple[Journal, list[str]]:
    """Run experiments that set X, judged by one run each: a value below the incumbent's is kept."""
    said: list[str] = []
    with opened(lab, "t", say=said.append, judge__margin=0.0, judge__mode="margin") as session:
        for x in xs:
            edit = Fixed("me", Proposal(f"X = {x}", {"solver.py": f"X = {x}\nY = 2\n"}))
            research(session, edit, Policy(experiments=1), screen)
        return session.journal(), said


def change_machine(lab: Lab, shift: float) -> None:
    """Exchange this machine's name and another one in the ledger, and shift all later values by ``shift``."""
    path = lab.folder("t") / FILE
    text = path.read_text()
    parts = json.loads(text.splitlines()[0])["comparability"]
    here = read(path).session["comparability"]["machine"]
    if here == ELSEWHERE:
        here = next(s.parts["machine"] for s in read(path).regimes.values() if s.parts and s.parts["machine"] != here)
    marks = [Key({**parts, "machine": machine}).mark for machine in (here, ELSEWHERE)]
    for a, b in ((here, ELSEWHERE), (marks[0], marks[1])):
        text = text.replace(f'"{a}"', "@").replace(f'"{b}"', f'"{a}"').replace("@", f'"{b}"')
    path.write_text(text)
    (lab.root.parent / "shift").write_text(str(shift))


def test_on_keys_a_b_a_the_runs_of_a_count_again_and_those_of_b_do_not(lab: Lab, screen: Recorder) -> None:
    run(lab, screen, 3.5)
    change_machine(lab, -5.0)
    there, _ = run(lab, screen, 3.2)
    assert [(e.status, e.value) for e in there.history.experiments[1:]] == [("keep", 10.25), ("keep", 5.04)]
    change_machine(lab, 0.0)
    back, said = run(lab, screen, 3.1, 3.4)
    history = back.history
    baseline, in_a, in_b, better, worse = history.experiments

    assert (there.history.regime, history.regime) == (1, 0)
    assert f"comparable again with the runs of regime 0: machine {ELSEWHERE} -> " in said[0]
    assert [m.value for m in taken_now(history, in_a)] == [10.25], "what A measured counts, what B measured does not"
    again = [(r.number, r.measurement.regime, r.measurement.value) for r in history.repeats]
    assert again == [(1, 1, 5.25), (2, 0, 10.04)], "the keep of B is measured anew in A, once"
    assert standing(history, in_b) == 10.04
    assert (better.status, better.gain) == ("keep", pytest.approx(10.04 - 10.01))
    assert worse.status == "discard" and "the incumbent's 10.01" in worse.reason
    assert gained(history) == pytest.approx(11.0 - 10.01), "over the baseline, which A has measured"
    assert {m.key for e in (baseline, in_a, better) for m in e.measurements} == {Key(back.regimes[0].parts or {}).mark}


def test_back_under_the_first_key_an_incumbent_that_ran_there_is_not_measured_again(lab: Lab, screen: Recorder) -> None:
    run(lab, screen, 3.5)
    change_machine(lab, -5.0)
    run(lab, screen, 9.0)
    change_machine(lab, 0.0)
    back, _ = run(lab, screen, 3.2)
    assert [(r.number, r.measurement.regime) for r in back.history.repeats] == [(1, 1)]
    assert back.history.experiments[-1].status == "keep"
    again, said = run(lab, screen)
    assert again.history.regime == 0 and said == [], "nothing is written where nothing changes"


@pytest.mark.slow
def test_a_key_returns_to_its_regime_after_the_last_drift(lab: Lab, screen: Recorder) -> None:
    run(lab, screen, 3.5)
    with opened(lab, "t", judge__mode="margin") as session:
        session.append("epoch", **after_drift(session.journal(), 0, "beyond 3 sigma"))
    (lab.root.parent / "shift").write_text("1")
    drifted, _ = run(lab, screen, 3.4)
    assert drifted.history.regime == 1 and drifted.regimes[1].drift == 1
    change_machine(lab, -5.0)
    assert run(lab, screen, 3.3)[0].history.regime == 2
    change_machine(lab, 1.0)
    back, _ = run(lab, screen, 3.2)
    assert back.history.regime == 1
    assert [m.value for m in taken_now(back.history, back.history.experiments[1])] == [11.25]
    with opened(lab, "t", judge__mode="margin") as session:
        session.append("epoch", **after_drift(session.journal(), 0, "beyond 3 sigma"))
        regimes = session.journal().regimes
    assert session.journal().history.regime == 3 and (regimes[3].drift, regimes[3].parts) == (2, regimes[0].parts)


# --- which regime a key belongs to


def journal(*parts: Mapping[str, Any], regime: int = 0) -> Journal:
    regimes = {number: Regime(each) for number, each in enumerate(parts)}
    return Journal({}, History((), "s", "min", regime=regime), None, regimes=regimes)


A, B = {"machine": "M4", "gpu_cores": 16, "mlx": "0.31"}, {"machine": "M4", "gpu_cores": 16, "mlx": "0.32"}
VAGUE = {**A, "gpu_cores": None}


def test_the_current_regime_goes_first_and_an_unknown_part_makes_no_other_one() -> None:
    assert matching(journal(A), Key(VAGUE)) == 0
    assert settled(journal(A), Key(VAGUE)) == Key(A)
    assert matching(journal(A, B, A, regime=1), Key(A)) == 2, "the newest regime of that key"
    assert settled(journal(A, B, regime=1), Key(VAGUE)) == Key(A)


def test_a_key_that_no_regime_has_and_one_that_fits_two_different_regimes_match_none() -> None:
    other = {**A, "gpu_cores": 20}
    assert matching(journal(A, B, regime=1), Key(other)) is None
    assert settled(journal(A, B, regime=1), Key(other)) == Key(other)
    assert matching(journal(A, other, B, regime=2), Key(VAGUE)) is None
    assert matching(journal(A, other, VAGUE, B, regime=3), Key(VAGUE)) == 2


# --- ledgers of earlier versions


def verdict(decision: Any) -> list[Any]:
    if isinstance(decision, Verdict):
        return [decision.status, decision.reason]
    return ["again", decision.reason, decision.whom, decision.seed]


def verdicts(history: History) -> dict[str, Any]:
    """Return the judge's verdicts on the ledger, and on candidates that gain several amounts over its incumbent."""
    best = history.incumbent
    assert best is not None
    sigma, pairs = sigma_of(history), pair_sigma(history, "lr")
    found: dict[str, Any] = {
        "epoch": history.regime,
        "age": age(history),
        "gained": gained(history),
        "incumbent": best.number,
        "sigma": [sigma.value, sigma.n, sigma.dof],
        "pair_sigma": [pairs.value, pairs.n, pairs.dof],
        "standing": {str(e.number): standing(history, e) for e in history.experiments if e.status == "keep"},
    }
    modes: tuple[Mode, ...] = ("auto", "strict", "margin")
    for mode in modes:
        judge = Judge(margin=0.1, mode=mode)
        for better in (1.0, 0.25, 0.1, -0.1):
            for seeds in ((42,), (42, 43)):
                value = standing(history, best) - better
                runs = [Measurement(value + 0.01 * k, seed, regime=history.regime) for k, seed in enumerate(seeds)]
                case = Case(99, runs, "lr")
                effect = judge.effect(history, case)
                figures = None if effect is None else [effect.gain, effect.low, effect.high]
                found[f"{mode} {better} {len(seeds)}"] = [verdict(judge.decide(history, case)), figures]
    return found


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
def test_a_ledger_of_before_replays_to_the_same_verdicts(path: Path) -> None:
    assert verdicts(read(path).history) == json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize("name", ["plain", "drifting", "key", "drift_after_key", "there_and_back", "by_margin"])
def test_what_is_replayed_is_written_as_it_was(name: str) -> None:
    """The JSON objects of experiments and runs that are written after a replay have the same keys in the same order."""
    ledger = read(GOLDEN / f"{name}.jsonl")
    lines = [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text().splitlines()]
    finished = [line for line in lines if line["event"] == "finished"]
    ours = [{"schema": 1, "event": "finished", **experiment_to(e)} for e in ledger.history.experiments]
    assert [json.dumps(each) for each in ours] == [json.dumps(each) for each in finished]
    runs = [line["measurement"] for line in lines if line["event"] == "repeated"]
    replayed = [
        measurement_to(replace(r.measurement, regime=run["epoch"]))  # a drift moves its last runs to the new regime
        for r, run in zip(ledger.history.repeats, runs, strict=True)
    ]
    assert [json.dumps(each) for each in replayed] == [json.dumps(each) for each in runs]


def test_a_ledger_that_went_there_and_back_before_goes_on_in_its_newest_regimes() -> None:
    before = read(GOLDEN / "there_and_back.jsonl")
    first, second, third = before.regimes.values()
    assert before.history.regime == 2 and first.parts == third.parts != second.parts and third.drift == 1
    assert matching(before, Key(second.parts or {})) == 1
    elsewhere = replace(before, history=replace(before.history, regime=1))
    assert matching(elsewhere, Key(first.parts or {})) == 2


def test_a_ledger_without_a_key_returns_to_the_machine_of_its_first_runs() -> None:
    before = read(GOLDEN / "keyless.jsonl")
    assert before.history.regime == 1 and before.regimes[0].parts is None
    there = {**(before.comparability or {}), "machine": "Apple M1"}
    assert matching(before, Key(there)) == 0
