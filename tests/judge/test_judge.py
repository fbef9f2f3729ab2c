"""The decisions of a session when runs of one file differ: real runs of a program whose noise follows from its seed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder, command_line, git, opened

from autoresearch_mlx.agents.scripted import Fixed
from autoresearch_mlx.experiment import Context, Experiment, History, Measurement, Proposal, Seconds
from autoresearch_mlx.judge.history import sigma_of, standing
from autoresearch_mlx.judge.judge import padded
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import experiment, research
from autoresearch_mlx.store.ledger import FILE, read

BENCH = """\
import os, random
from pathlib import Path
from solver import X, Y

seed = int(os.environ["AUTORESEARCH_SEED"])
noise = random.Random(f"{seed} {X} {Y}").gauss(0, 0.1)
drift = float(Path(os.environ["DRIFT"]).read_text()) if "DRIFT" in os.environ else 0.0
print(f"METRIC score={100 + (X - 3) ** 2 + 0.01 * Y + noise + drift:.6f}")
"""
TOML = """\
[target]
kind = "command"
editable = ["solver.py"]
run = "{run}"
metric = "score"
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Make a lab with score = 100 + (X - 3)^2 + Y / 100 and a sigma of 0.1; it starts at X = 4, Y = 2."""
    root = tmp_path / "noisy"
    root.mkdir()
    (root / "solver.py").write_text("X = 4.0  # knob: lin 0 10\nY = 2  # knob: int 0 8\n")
    (root / "bench.py").write_text(BENCH)
    drift = tmp_path / "drift"
    drift.write_text("0")
    (root / "lab.toml").write_text(TOML.format(run=f"DRIFT={drift} {sys.executable} -S bench.py"))
    git(root, "init", "--quiet")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "noisy")
    return Lab(root)


class Walk:
    """An agent that takes the knobs of each experiment from a list."""

    name = "walk"

    def __init__(self, *steps: dict[str, Any]) -> None:
        self._steps = list(steps)

    def propose(self, context: Context) -> Proposal:
        step = self._steps.pop(0)
        return Proposal(f"{step}", {"solver.py": set_knobs(context.files["solver.py"], step)}, agent=self.name)


def night(lab: Lab, screen: Recorder, *steps: dict[str, Any], **options: Any) -> History:
    with opened(lab, "t", **options) as session:
        research(session, Walk(*steps), Policy(experiments=len(steps)), screen)
        return session.journal().history


def last(lab: Lab) -> Experiment:
    return read(lab.folder("t") / FILE).history.experiments[-1]


def test_the_baseline_is_measured_three_times_and_tells_sigma(lab: Lab, screen: Recorder) -> None:
    history = night(lab, screen)
    (baseline,) = history.experiments
    assert [m.seed for m in baseline.measurements] == [42, 43, 44]
    assert re.fullmatch(r"baseline: score 10\d\.\d{1,3}, sigma 0\.\d{6} of 3 runs", baseline.reason)
    status = json.loads(command_line("status", "--json", cwd=lab.root).stdout)
    assert status["noise"]["runs"] == 3 and 0.01 < status["sigma"] < 0.4
    assert "of one run, from 3 runs of 1 commit" in command_line("status", cwd=lab.root).stdout


def test_a_clear_loser_goes_after_one_run_and_a_clear_winner_stays(lab: Lab, screen: Recorder) -> None:
    history = night(lab, screen, {"X": 9.0}, {"X": 3.0})
    loser, winner = history.experiments[1:]
    assert (loser.status, len(loser.measurements)) == ("discard", 1)
    assert winner.status == "keep"
    assert re.match(r"gain \d\.\d+ \+- 0\.\d+ \(\d+\.\d sigma, .*\): keep", winner.reason)


def test_a_close_call_is_measured_again_on_the_incumbents_seeds(lab: Lab, screen: Recorder) -> None:
    history = night(lab, screen, {"Y": 0}, {"Y": 1}, {"Y": 3})
    repeated = [e for e in history.experiments[1:] if len(e.measurements) > 1]
    for e in repeated:
        assert len({m.seed for m in e.measurements}) == len(e.measurements)
        assert e.measurements[1].seed in (42, 43, 44)
    assert all(len(e.measurements) <= 4 for e in history.experiments)


def test_a_gain_is_reported_shrunk_with_its_interval(lab: Lab, screen: Recorder) -> None:
    e = night(lab, screen, {"X": 3.6}).experiments[1]
    assert e.gain == pytest.approx(e.effect["gain"], rel=1e-5) and 0 < e.effect["gain"] < e.effect["raw"]
    assert e.effect["low"] < e.effect["gain"] < e.effect["high"]
    assert "90 %" in command_line("show", "1", cwd=lab.root).stdout


def test_a_margin_that_the_person_sets_is_the_least_gain_to_keep(lab: Lab, screen: Recorder) -> None:
    history = night(lab, screen, {"X": 3.6}, judge__margin=2.0)
    assert history.experiments[1].status == "discard"
    assert "under the margin of 2 that lab.toml asks for" in history.experiments[1].reason


def test_the_mode_margin_takes_one_run_and_no_statistics(lab: Lab, screen: Recorder) -> None:
    history = night(lab, screen, {"X": 3.0}, judge__mode="margin", judge__margin=0.5)
    assert [len(e.measurements) for e in history.experiments] == [1, 1]
    assert "(margin 0.5): keep" in history.experiments[1].reason


@pytest.mark.slow
def test_the_incumbent_is_measured_again_and_counts_by_runs_that_nothing_chose(lab: Lab, screen: Recorder) -> None:
    history = night(lab, screen, {"X": 3.0}, {"X": 8.0}, {"X": 7.0}, {"X": 9.0}, judge__refresh_every=2)
    best = history.incumbent
    assert best is not None and best.number == 1
    assert len(history.repeats) >= 1 and {r.number for r in history.repeats} == {1}
    fresh = [m.value for m in best.measurements[1:]] + [r.measurement.value for r in history.repeats]
    assert standing(history, best) == pytest.approx(sum(fresh[-4:]) / len(fresh[-4:]))  # type: ignore[arg-type]
    assert sigma_of(history).n >= 3


@pytest.mark.slow
def test_after_a_repeat_of_the_incumbent_candidates_first_run_on_its_seed(lab: Lab, screen: Recorder) -> None:
    steps = [{"X": x} for x in (3.0, 8.0, 7.0, 9.0, 8.5)]
    history = night(lab, screen, *steps, judge__refresh_every=2)
    first, best = history.repeats[0], history.incumbent
    assert best is not None and best.number == first.number == 1
    unselected = {m.seed for m in best.measurements[1:]} | {r.measurement.seed for r in history.repeats}
    later = {e.measurements[0].seed for e in history.experiments if e.number > first.during}
    assert later and later <= unselected and best.measurements[0].seed not in later


@pytest.mark.slow
def test_a_shift_of_the_machine_opens_a_regime_and_old_runs_stop_counting(lab: Lab, screen: Recorder) -> None:
    night(lab, screen, {"X": 8.0}, {"X": 9.0}, judge__refresh_every=2)
    (lab.root.parent / "drift").write_text("5")
    history = night(lab, screen, {"X": 3.0}, judge__refresh_every=2)
    assert history.regime == 1
    assert any("the machine has changed" in said for said in screen.said)
    kept = history.experiments[-1]
    assert kept.status == "keep", "it is better than the incumbent of now, though worse than that of yesterday"
    assert {m.regime for m in kept.measurements} == {1}
    assert json.loads(command_line("status", "--json", cwd=lab.root).stdout)["noise"]["epoch"] == 1


@pytest.mark.slow
def test_one_run_that_lies_far_off_is_no_shift(lab: Lab, screen: Recorder) -> None:
    history = night(lab, screen, {"X": 8.0}, {"X": 9.0}, {"X": 7.0}, judge__refresh_every=1)
    assert history.regime == 0 and history.repeats


@pytest.mark.slow
def test_weak_keeps_are_taken_out_on_trial(lab: Lab, screen: Recorder) -> None:
    """The night has two keeps: one that gains next to nothing and was forced by hand, and one that gains much."""
    with opened(lab, "t", judge__removal_every=2) as session:
        research(session, Walk({"X": 3.0}), Policy(experiments=1), screen)
        files = {
            "solver.py": set_knobs(
                session.workspace.read(session.incumbent(session.journal().history))["solver.py"], {"Y": 1}
            )
        }
        weak = experiment(session, Fixed("hand", Proposal("Y 2 -> 1", files)), screen)
        if weak.status != "keep":  # noise decides that; keep it, as a lucky night would
            session.workspace.keep(weak.commit or "", weak.base or "")
            session.ledger.append("finished", **{**_event(session.ledger.path), "status": "keep", "gain": 0.01})
        research(session, Walk({"X": 8.0}), Policy(experiments=2), screen)
        history = session.journal().history
    removals = [e for e in history.experiments if e.agent == "upkeep"]
    assert [e.title for e in removals] == ["without #2: Y 2 -> 1"]
    assert removals[0].knobs == {"Y": (1, 2)}
    assert re.match(r"without the change, (gain|loss) .*: the change (is dropped|stays)", removals[0].reason)


def _event(ledger: Path) -> dict[str, Any]:
    event = json.loads(ledger.read_text().splitlines()[-1])
    return {k: v for k, v in event.items() if k not in ("schema", "event")}


# --- certify


@pytest.mark.slow
def test_a_certificate_compares_head_and_baseline_in_turn_on_fresh_seeds(lab: Lab, screen: Recorder) -> None:
    night(lab, screen, {"X": 3.0})
    done = command_line("certify", "--pairs", "2", "--json", cwd=lab.root)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["before"], found["head"], found["pairs"], found["runs"]) == (0, 1, 2, 4)
    assert found["effect"] == pytest.approx(1.0, abs=0.5) and found["probability_better"] > 0.9
    pairs = read(lab.folder("t") / FILE).pairs
    assert [(e["side"], e["pair"]) for e in pairs] == [("before", 0), ("head", 0), ("head", 1), ("before", 1)]
    seeds = [e["measurement"]["seed"] for e in pairs]
    assert seeds[0] == seeds[1] and seeds[2] == seeds[3] and min(seeds) > 1_000_000
    assert "certificate  #1 against #0: better by" in command_line("status", cwd=lab.root).stdout


@pytest.mark.slow
def test_the_next_certificate_is_against_the_last_head(lab: Lab, screen: Recorder) -> None:
    night(lab, screen, {"X": 3.5})
    assert command_line("certify", "--pairs", "2", cwd=lab.root).returncode == 0
    refused = command_line("certify", "--against", "1", cwd=lab.root)
    assert refused.returncode == 1 and "nothing to compare it with" in refused.stderr
    night(lab, screen, {"X": 3.0})
    assert last(lab).status == "keep"
    found = json.loads(command_line("certify", "--pairs", "2", "--json", cwd=lab.root).stdout)
    assert (found["before"], found["head"]) == (1, 2)


@pytest.mark.slow
def test_a_certification_that_was_cut_off_goes_on_where_it_was(lab: Lab, screen: Recorder) -> None:
    night(lab, screen, {"X": 3.0})
    drift = lab.root.parent / "drift"
    drift.write_text("not a number")
    broken = command_line("certify", "--pairs", "2", cwd=lab.root)
    assert broken.returncode == 1 and "ended as crash" in broken.stderr
    drift.write_text("0")
    assert command_line("certify", "--pairs", "2", cwd=lab.root).returncode == 0
    sides = [(e["side"], e["pair"], e["measurement"]["value"] is not None) for e in read(lab.folder("t") / FILE).pairs]
    assert sides == [
        ("before", 0, False), ("before", 0, True), ("head", 0, True), ("head", 1, True), ("before", 1, True)
    ]  # fmt: skip


@pytest.mark.slow
def test_a_certification_takes_again_what_was_run_under_another_key(lab: Lab, screen: Recorder) -> None:
    night(lab, screen, {"X": 3.0})
    assert command_line("certify", "--pairs", "2", cwd=lab.root).returncode == 0
    ledger = lab.folder("t") / FILE
    events = [json.loads(line) for line in ledger.read_text().splitlines()]
    unfinished = [event for event in events if event["event"] != "certified"]
    first, second, *_ = (event for event in unfinished if event["event"] == "paired")
    for event in (first, second):
        event["measurement"]["key"] = "0" * 12
    ledger.write_text("".join(json.dumps(event) + "\n" for event in unfinished))
    assert command_line("certify", "--pairs", "2", cwd=lab.root).returncode == 0
    journal = read(ledger)
    again = [(e["side"], e["pair"]) for e in journal.pairs[4:]]
    assert again == [(first["side"], first["pair"]), (second["side"], second["pair"])]
    assert {e["measurement"]["key"] for e in journal.pairs[2:]} == {journal.session["key"]}
    assert journal.certificates[-1]["runs"] == 4


def test_an_odd_number_of_pairs_is_a_usage_error(lab: Lab) -> None:
    done = command_line("certify", "--pairs", "3", cwd=lab.root)
    assert done.returncode == 2 and "3 is odd" in done.stderr


def test_time_that_is_padded_before_the_first_batch_is_no_valid_run() -> None:
    def timed(start: float) -> Measurement:
        return Measurement(1.0, 42, seconds=Seconds(start=start, compile=1.0, train=20.0))

    baseline = Experiment(
        0, "keep", 1.0, None, "c0", None, None, "baseline", None, {}, "", "", "", "", measurements=(timed(0.5),)
    )
    history = History((baseline,), "val_bpb", "min")
    assert padded(history, [timed(6.0)]) is None
    verdict = padded(history, [timed(7.0)])
    assert verdict is not None and verdict.status == "invalid"
    assert verdict.reason.startswith("a run took 7.0 s before its first batch, and the baseline 0.5 s")
