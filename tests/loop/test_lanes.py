"""Several lanes on a target that takes tenths of a second: real git, real threads, real child processes."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder, Steps, command_line, git, opened, write_command_lab
from live_run import going

from autoresearch_mlx.errors import LabError, WorkspaceError
from autoresearch_mlx.experiment import Assignment, Context, Experiment, Measurement, Proposal, Target
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.loop import control
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import recover, research
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.report.status import status_of, to_json
from autoresearch_mlx.store.heartbeat import FOLDER as HEARTBEATS
from autoresearch_mlx.store.heartbeat import Heartbeat
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.store.results import RESULTS

SLOW_BENCH = """\
import time
from pathlib import Path
from solver import EARLIER, LATER, S, X, Y
time.sleep(S)
runs, ledger = Path("../later-runs"), Path("../ledger.jsonl")
if LATER:
    runs.touch()
while (EARLIER and not runs.exists()) or (LATER and ledger.read_text().count('"event": "finished"') < 2):
    time.sleep(0.01)
print(f"METRIC score={(X - 3) ** 2 + (Y - 5) ** 2 + 1:.6f}")
"""
NOISY_BENCH = """\
import os
from solver import X, Y
print(f"METRIC score={X + int(os.environ['AUTORESEARCH_SEED']) % 5 / 20:.6f}")
"""
APART = "# so that changes of two lines\n# do not touch\n"
SLOW_SOLVER = f"X = 4.0\n{APART}Y = 2\n{APART}S = 0.1\n{APART}EARLIER = 0\n{APART}LATER = 0\n"
FIRST, SECOND = {"EARLIER": 1}, {"LATER": 1}
"""Knobs of two experiments after the baseline, in which the first ends while the second is still running."""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Make a lab with the score of the command lab.

    The program takes S seconds.  If its file contains EARLIER, it waits until a program whose file contains LATER
    runs.  That program then waits until the first has ended.
    """
    made = write_command_lab(tmp_path / "lab")
    (made.root / "solver.py").write_text(SLOW_SOLVER)
    (made.root / "bench.py").write_text(SLOW_BENCH)
    git(made.root, "commit", "-qam", "slow")
    return made


def night(lab: Lab, agent: Any, screen: Recorder, lanes: int = 3, limit: int | None = None, **options: Any) -> str:
    with opened(lab, "t", run__lanes=lanes, **options) as session:
        return research(session, agent, Policy(experiments=limit), screen)


def finished(lab: Lab) -> dict[int, Experiment]:
    return {e.number: e for e in read(lab.folder("t") / FILE).history.experiments}


def events(lab: Lab) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (lab.folder("t") / FILE).read_text().splitlines()]


def losers(count: int, seconds: float = 0.1) -> list[dict[str, float]]:
    return [{"X": 10.0 + at, "S": seconds} for at in range(count)]


@pytest.mark.slow
def test_every_experiment_is_there_once_and_three_run_at_a_time(lab: Lab, screen: Recorder) -> None:
    assert night(lab, Steps(*losers(9, 0.5)), screen, limit=9) == "9 experiments done, as asked"
    assert sorted(finished(lab)) == list(range(10))
    assert Counter(e["number"] for e in events(lab) if e["event"] == "finished") == dict.fromkeys(range(10), 1)
    assert most_open(events(lab)) == 3
    assert {e.get("worker") for e in events(lab) if e["event"] == "started"} == {None, "lane-1", "lane-2", "lane-3"}
    assert [path.name for path in lab.folder("t").glob("worktree*")] == ["worktree"]
    assert len(git(lab.root, "worktree", "list").splitlines()) == 2


def most_open(happened: list[dict[str, Any]]) -> int:
    running, most = set(), 0
    for event in happened:
        if event["event"] == "started":
            running.add(event["number"])
        elif event["event"] == "finished":
            running.discard(event["number"])
        most = max(most, len(running))
    return most


@pytest.mark.slow
def test_a_winner_on_an_old_base_is_carried_and_measured_again_before_it_is_kept(lab: Lab, screen: Recorder) -> None:
    night(lab, Steps({"X": 3.5, **FIRST}, {"Y": 5, **SECOND}), screen, limit=2)
    first, second = finished(lab)[1], finished(lab)[2]
    assert (first.status, second.status) == ("keep", "keep")
    assert second.base == first.commit, "it is based on what was kept in the meantime"
    assert {m.value for m in second.measurements} == {second.value} == {1.25}, "the value of both changes together"
    assert second.reason.endswith("; the change was carried over to experiment 1, which was kept in the meantime")
    assert second.title.endswith(" (carried onto #1)")
    files = git(lab.root, "show", "autoresearch/t:solver.py")
    assert "X = 3.5" in files and "Y = 5" in files
    (carried,) = [e for e in events(lab) if e["event"] == "carried"]
    assert (carried["number"], carried["onto"]) == (2, first.commit)
    assert [m["value"] for m in carried["measurements"]] == [2.0], "its run on the old base"


@pytest.mark.slow
def test_a_winner_whose_files_stay_the_same_keeps_its_runs_when_it_is_carried(lab: Lab, screen: Recorder) -> None:
    night(lab, Steps({"X": 3.5, **FIRST}, {"X": 3.3, **FIRST, **SECOND}), screen, limit=2)
    first, second = finished(lab)[1], finished(lab)[2]
    assert (first.status, second.status, second.base) == ("keep", "keep", first.commit)
    (carried,) = [e for e in events(lab) if e["event"] == "carried"]
    assert carried["measurements"] == [], "none of its runs stops counting"
    assert len(second.measurements) == 1 and second.reason.endswith(
        "; the change was carried over to experiment 1, which was kept in the meantime"
    )
    assert "X = 3.3" in git(lab.root, "show", "autoresearch/t:solver.py")


@pytest.mark.slow
def test_a_carried_change_that_another_lane_measures_is_not_measured_twice(lab: Lab, screen: Recorder) -> None:
    night(lab, Steps({"X": 3.5}, {"Y": 5, "S": 2.0}, {"Y": 5, "S": 2.0}), screen, lanes=2, limit=3)
    first, second, third = (finished(lab)[number] for number in (1, 2, 3))
    assert (first.status, second.status, third.status) == ("keep", "duplicate", "keep")
    assert second.reason.endswith("are the same as experiment 3, which is being measured")


def test_a_loser_on_an_old_base_is_compared_with_what_it_was_made_from(lab: Lab, screen: Recorder) -> None:
    night(lab, Steps({"X": 3.5, **FIRST}, {"X": 4.5, **SECOND}), screen, limit=2)
    first, loser = finished(lab)[1], finished(lab)[2]
    assert loser.status == "discard" and loser.gain == pytest.approx(11.0 - 12.25)
    assert loser.against == first.base and loser.base == first.base
    assert not [e for e in events(lab) if e["event"] == "carried"], "a loser costs no second run"


@pytest.mark.slow
def test_changes_that_do_not_go_together_are_a_conflict_and_nothing_is_kept(lab: Lab, screen: Recorder) -> None:
    one, other = (SLOW_SOLVER.replace("X = 4.0", f"X = {sum}") for sum in ("1.0 + 2.0", "2.0 + 1.5"))
    night(lab, Steps(set_knobs(one, FIRST), set_knobs(other, SECOND)), screen, limit=2)
    first, second = finished(lab)[1], finished(lab)[2]
    assert (first.status, second.status) == ("keep", "conflict")
    assert second.reason.startswith("experiment 1 was kept in the meantime, and the two changes cannot be combined")
    assert second.value == 10.25 and second.gain == pytest.approx(0.75), "measured, and against the old incumbent"
    assert git(lab.root, "rev-parse", "autoresearch/t") == first.commit
    row = (lab.folder("t") / RESULTS).read_text().splitlines()[-1].split("\t")
    assert row[1] == "10.250000" and row[3] == "discard" and row[5] == "conflict"
    assert status_of(lab.folder("t")).counts.failed == 1


@pytest.mark.slow
def test_what_runs_is_told_to_the_agent_and_proposed_again_it_is_refused(lab: Lab, screen: Recorder) -> None:
    agent = Steps({"X": 8.0, **FIRST}, {"X": 8.0, **FIRST}, {"X": 9.0, **SECOND})
    night(lab, agent, screen, limit=2)
    assert [len(context.running) for context in agent.contexts] == [0, 1, 1]
    (running,) = agent.contexts[1].running
    assert (running.number, running.knobs) == (1, {"X": (4.0, 8.0), "EARLIER": (0, 1)})
    assert "X = 8.0" in running.files["solver.py"]
    assert agent.contexts[2].feedback == ("the same as experiment 1, which is being measured",)
    assert [finished(lab)[number].status for number in (1, 2)] == ["discard", "discard"]


def test_an_agent_with_nothing_left_ends_the_night_after_what_runs(lab: Lab, screen: Recorder) -> None:
    assert night(lab, Steps(*losers(2, 0.5)), screen) == "no steps left"
    assert {number: e.status for number, e in finished(lab).items()} == {0: "keep", 1: "discard", 2: "discard"}
    assert events(lab)[-1]["event"] == "finished" and not read(lab.folder("t") / FILE).running


@pytest.mark.slow
def test_a_run_of_losers_ends_the_night_exactly(lab: Lab, screen: Recorder) -> None:
    with opened(lab, "t", run__lanes=3) as session:
        reason = research(session, Steps(*losers(9)), Policy(stall=4), screen)
    assert reason == "4 experiments in a row kept nothing, which is the limit"
    assert len(finished(lab)) == 5


@pytest.mark.slow
def test_a_session_takes_up_every_claim_that_was_left_open(lab: Lab, screen: Recorder) -> None:
    night(lab, Steps(*losers(1)), screen, limit=1)
    with opened(lab, "t") as session:
        base = session.incumbent(session.journal().history)
        for number, worker in ((2, "lane-1"), (3, "lane-2")):
            session.append("started", number=number, base=base, time="2026-11-23T01:00:00+01:00", worker=worker)
        sha = session.workspace.commit(3, base, {"solver.py": SLOW_SOLVER.replace("4.0", "0.0")}, "half done\n")
        Heartbeat(session.folder, "lane-2").beat()
    with opened(lab, "t") as session:
        recover(session, screen)
    left = [finished(lab)[number] for number in (2, 3)]
    assert [(e.status, e.commit) for e in left] == [("interrupted", None), ("interrupted", sha)]
    assert left[0].reason == "the process that ran it ended"
    assert re.fullmatch(r"the process that ran it ended; lane-2 last reported at \d\d:\d\d:\d\d", left[1].reason)
    assert night(lab, Steps(*losers(3)[1:]), screen, limit=2) == "2 experiments done, as asked"
    assert sorted(finished(lab)) == list(range(6))


def test_status_shows_the_lane_that_has_gone_silent(lab: Lab, screen: Recorder) -> None:
    night(lab, Steps(*losers(1)), screen, limit=1)
    with opened(lab, "t") as session:
        base = session.incumbent(session.journal().history)
        for number, worker in ((2, "lane-1"), (3, "lane-2")):
            session.append("started", number=number, base=base, time="2026-11-23T01:00:00+01:00", worker=worker)
            Heartbeat(session.folder, worker).beat()
        long_ago = time.time() - 7 * 60
        os.utime(session.folder / HEARTBEATS / "lane-2", (long_ago, long_ago))
        lanes = status_of(session.folder).lanes
        assert [(lane.number, lane.silent_seconds) for lane in lanes] == [(2, None), (3, pytest.approx(420, abs=30))]
        said = [line for line in command_line("status", cwd=lab.root).stdout.splitlines() if "#3" in line]
        assert said and "silent for 7:" in said[0]


@pytest.mark.slow
def test_drift_and_removals_are_looked_for_between_experiments(lab: Lab, screen: Recorder) -> None:
    (lab.root / "bench.py").write_text(NOISY_BENCH)
    (lab.root / "solver.py").write_text(SLOW_SOLVER + "W = 1\nZ = 1\n")
    git(lab.root, "commit", "-qam", "noisy, and longer than it need be")
    options = {"judge__refresh_every": 3, "judge__removal_every": 1}
    night(lab, Steps(SLOW_SOLVER, *losers(12)), screen, limit=13, **options)
    history = read(lab.folder("t") / FILE).history
    assert sorted(e.number for e in history.experiments) == list(range(14))
    shorter = finished(lab)[1]
    assert shorter.status == "keep", "shorter code wins without a gain"
    (trial,) = [e for e in history.experiments if "removes" in e.talk]
    assert trial.talk["removes"] == 1 and trial.base == shorter.commit
    assert history.repeats and all(m.regime == 0 for e in history.experiments for m in e.measurements)


def test_a_target_that_cannot_be_measured_side_by_side_refuses(lab: Lab, screen: Recorder) -> None:
    class Alone:
        name = "alone"

        def lanes_refused(self) -> str:
            return "it needs the whole machine"

    with opened(lab, "t", run__lanes=2) as session, pytest.raises(LabError, match="cannot have 2 lanes: it needs"):
        research(session.measuring(target=Alone()), Steps(), Policy(), screen)


@pytest.mark.slow
def test_a_broken_lab_ends_the_night_and_what_runs_is_logged(lab: Lab, screen: Recorder) -> None:
    """Somebody commits to the session's branch, and the next keep finds the branch moved."""

    class Meddler(Steps):
        def propose(self, context: Context) -> Proposal:
            if context.number == 2:
                foreign = git(lab.root, "commit-tree", "HEAD^{tree}", "-p", "autoresearch/t", "-m", "mine")
                git(lab.root, "update-ref", "refs/heads/autoresearch/t", foreign)
            return super().propose(context)

    with pytest.raises(WorkspaceError, match="somebody committed to it"):
        night(lab, Meddler({"X": 3.5, **FIRST}, {"X": 9.0, **SECOND}), screen)
    assert {number: e.status for number, e in finished(lab).items()} == {0: "keep", 1: "keep", 2: "discard"}


# --- a person at the terminal


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


def running(lab: Lab) -> list[int]:
    path = lab.folder("t") / FILE
    return [each.number for each in read(path).running] if path.exists() else []


@pytest.mark.slow
def test_status_shows_all_lanes_one_can_be_skipped_and_the_run_stopped(lab: Lab, screen: Recorder) -> None:
    night(lab, Steps(), screen, limit=0)
    steps = [{"title": f"step {at}", "knobs": knobs} for at, knobs in enumerate(losers(9, 90.0))]
    with going(lab, steps, "--lanes", "3") as loop:
        until(lambda: running(lab) == [1, 2, 3])
        lanes = until(lambda: found if all((found := phases(lab)).values()) and len(found) == 3 else None)
        assert list(lanes) == [1, 2, 3]
        refused = command_line("skip", cwd=lab.root)
        assert refused.returncode == 1 and "experiments 1, 2, 3 are running in session t" in refused.stderr
        assert command_line("skip", "2", cwd=lab.root).returncode == 0
        until(lambda: running(lab) == [1, 3, 4])
        assert "after experiments 1, 3 and 4" in command_line("stop", cwd=lab.root).stderr
        loop.send_signal(signal.SIGINT)
        loop.wait(30)
    statuses = {number: (e.status, e.reason) for number, e in finished(lab).items() if number > 0}
    assert statuses == {
        2: ("interrupted", "skipped by hand"),
        **dict.fromkeys((1, 3, 4), ("interrupted", "stopped by hand")),
    }


class Deaf:
    """The lab's target, which never calls the watch; after the baseline each run waits until ``go`` is set."""

    def __init__(self, inner: Target) -> None:
        self.inner, self.go, self.runs = inner, threading.Event(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def measure(self, assignment: Assignment) -> Measurement:
        self.runs += 1
        assert assignment.folder.name.startswith("0000-") or self.go.wait(20)
        return self.inner.measure(replace(assignment, watch=lambda progress: None))

    def let_go(self) -> None:
        threading.Timer(0.5, self.go.set).start()


@pytest.mark.slow
def test_ctrl_c_ends_a_target_that_does_not_call_the_watch_after_its_run(lab: Lab, screen: Recorder) -> None:
    class Person(Steps):
        def propose(self, context: Context) -> Proposal:
            if context.number == 3:
                until(lambda: deaf.runs == baseline + 2)
                deaf.let_go()
                raise KeyboardInterrupt
            return super().propose(context)

    with opened(lab, "t", run__lanes=3) as session:
        deaf, baseline = Deaf(session.target), session.judge.baseline_runs
        with pytest.raises(KeyboardInterrupt):
            research(session.measuring(target=deaf), Person({"X": 3.0}, {"Y": 5}), Policy(), screen)
    assert deaf.runs == baseline + 2, "no run begins after Ctrl-C"
    ended = {number: (e.status, e.reason) for number, e in finished(lab).items() if number > 0}
    assert ended == dict.fromkeys((1, 2, 3), ("interrupted", "stopped by hand"))


def test_a_skip_holds_between_the_runs_of_such_a_target(lab: Lab, screen: Recorder) -> None:
    class Person(Steps):
        def propose(self, context: Context) -> Proposal:
            if context.number == 2:
                control.skip(lab.folder("t"), 1, "cli")
                deaf.let_go()
            return super().propose(context)

    with opened(lab, "t", run__lanes=2) as session:
        deaf = Deaf(session.target)
        research(session.measuring(target=deaf), Person({"X": 3.0}, {"Y": 8}), Policy(experiments=2), screen)
    assert (finished(lab)[1].status, finished(lab)[1].reason) == ("interrupted", "skipped by hand")


def phases(lab: Lab) -> dict[int, str | None]:
    return {lane["number"]: lane["title"] for lane in to_json(status_of(lab.folder("t")))["lanes"]}


@pytest.mark.slow
def test_pause_lets_what_runs_end_and_begins_nothing(lab: Lab) -> None:
    seen = Recorder()
    with opened(lab, "t", run__lanes=2) as session:
        run = threading.Thread(target=paused_night, args=(session, seen))
        run.start()
        until(lambda: len(running(lab)) == 2)
        assert control.pause(session.folder, "cli")
        until(lambda: "paused by hand; `autoresearch-mlx resume` continues" in seen.said)
        until(lambda: not running(lab))
        assert control.resume(session.folder, "cli")
        run.join(30)
    assert len(finished(lab)) == 5


def paused_night(session: Session, seen: Recorder) -> None:
    research(session, Steps(*losers(4, 0.5)), Policy(experiments=4), seen)
