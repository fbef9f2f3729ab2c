"""Controlling a run from another terminal: real runs, real commands."""

from __future__ import annotations

import json
import re
import shlex
import signal
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from command_runs import call, data, refused
from conftest import ROOT, Recorder, git, opened
from live_run import finished, going, phase, slow_lab, started, sweep, until

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Context, Progress, Proposal
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.loop.control import (
    FILE,
    STOPPED,
    Orders,
    Skipped,
    listening,
    live_run,
    pause,
    resume,
    set_limits,
    skip,
    stop,
)
from autoresearch_mlx.loop.policy import Policy, Sofar
from autoresearch_mlx.loop.research import baseline, experiment, recover, research
from autoresearch_mlx.loop.upkeep import look_for_drift
from autoresearch_mlx.store.journal import read_events
from autoresearch_mlx.store.ledger import FILE as LEDGER
from autoresearch_mlx.store.ledger import read
from autoresearch_mlx.store.locks import locked

pytestmark = pytest.mark.uncounted


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return slow_lab(tmp_path / "lab")


@pytest.mark.slow
def test_a_pause_holds_a_run_until_it_is_resumed(lab: Lab) -> None:
    with going(lab, sweep(40)) as run:
        until(lambda: 1 in finished(lab), "the first experiment")
        done = call(lab, "pause")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert "session t pauses" in done.stderr and "`autoresearch-mlx resume` continues the run" in done.stderr
        until(lambda: phase(lab) == "paused", "the pause")
        before = finished(lab)
        time.sleep(1.5)
        assert (finished(lab), started(lab), run.poll()) == (before, None, None)
        assert "paused by hand" in call(lab, "status").stdout
        assert "is already paused" in call(lab, "pause").stderr
        assert "continues" in call(lab, "resume").stderr
        until(lambda: len(finished(lab)) > len(before), "the next experiment")
        assert "neither paused nor stopped" in call(lab, "resume").stderr
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=20)[1]
    assert "paused by hand; `autoresearch-mlx resume` continues" in said and "continuing" in said


@pytest.mark.slow
def test_a_stop_ends_the_run_after_its_experiment_and_not_the_next_run(lab: Lab) -> None:
    with going(lab, sweep(40, X=8.0)) as run:
        until(lambda: started(lab) == 1, "the first experiment")
        assert "session t stops after experiment 1" in call(lab, "stop").stderr
        assert "already been asked to stop" in call(lab, "stop").stderr
        assert "after experiment 1, by hand" in call(lab, "status").stdout
        said = run.communicate(timeout=20)[0]
    assert run.returncode == 0
    assert f"stopped: {STOPPED}" in said
    statuses = finished(lab)
    assert statuses == {0: "keep", 1: "discard"}, "nothing was cut off"
    with going(lab, sweep(40), "--experiments", "1") as again:
        assert again.wait(20) == 0
    assert max(finished(lab)) == 2


@pytest.mark.slow
def test_a_skip_ends_the_experiment_and_the_next_one_starts(lab: Lab) -> None:
    with going(lab, sweep(40, X=9.0), "--experiments", "3") as run:
        until(lambda: phase(lab) == "train" and started(lab) == 1, "the wait")
        began = time.monotonic()
        assert call(lab, "skip").stderr == "session t: experiment 1 ends now\n"
        until(lambda: started(lab) == 2 or 2 in finished(lab), "the next one", 5)
        assert time.monotonic() - began < 4, "the command's own start is part of that"
        assert run.wait(20) == 0
    assert finished(lab) == {0: "keep", 1: "interrupted", 2: "discard", 3: "discard"}
    skipped = read(lab.folder("t") / LEDGER).history.experiments[1]
    assert (skipped.reason, skipped.value, skipped.title) == ("skipped by hand", None, "to be skipped")
    assert skipped.commit is not None
    assert call(lab, "show", "1").returncode == 0


@pytest.mark.slow
def test_limits_are_changed_while_the_run_goes_on(lab: Lab) -> None:
    later = time.strftime("%H:%M", time.localtime(time.time() + 6 * 3600))
    with going(lab, sweep(40, X=9.0), "--experiments", "40") as run:
        until(lambda: started(lab) == 1, "the first experiment")
        assert call(lab, "policy").stdout == "session t ends after 40 experiments\n"
        changed = call(lab, "policy", "set", "experiments=2", "hours=7.5", f"until={later}", "stall=30", "tokens=9000")
        assert changed.stdout == (
            f"session t ends at {later}, or 7.5 hours after its start, or after 2 experiments, or after 30 experiments"
            " in a row without a keep, or once 9,000 tokens are spent, whichever comes first\n"
        )
        assert data(lab, "policy")["experiments"] == 2
        assert f"at {later}, or" in call(lab, "status").stdout
        assert data(lab, "status")["limits"] == data(lab, "policy")
        call(lab, "skip")
        assert run.wait(20) == 0
    assert finished(lab) == {0: "keep", 1: "interrupted", 2: "discard"}


@pytest.mark.slow
def test_ctrl_c_ends_a_pause(lab: Lab) -> None:
    with going(lab, sweep(40)) as run:
        until(lambda: 1 in finished(lab), "the first experiment")
        call(lab, "pause")
        until(lambda: phase(lab) == "paused", "the pause")
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 130
    assert live_run(lab.folder("t")) is None
    assert set(finished(lab).values()) <= {"keep", "discard"}


def test_a_stop_ends_a_pause_and_hours_do(tmp_path: Path) -> None:
    for limits, want, reason in (
        ({}, stop, STOPPED),
        ({"hours": 1e-4}, None, "the time limit of 0.0001 h is over, as asked"),
    ):
        folder = tmp_path / reason.split()[0]
        with locked(folder), listening_to(folder, Policy(**limits)) as orders:  # type: ignore[arg-type]
            pause(folder, "cli")
            seen: list[str] = []

            def watch(progress: Progress, seen: list[str] = seen, want: object = want, folder: Path = folder) -> None:
                seen.append(progress.phase)
                if callable(want):
                    want(folder, "cli")

            assert orders.stop(Sofar(0), watch) == reason
            assert set(seen) == {"paused"}


def listening_to(folder: Path, policy: Policy) -> AbstractContextManager[Orders]:
    return listening(folder, policy, lambda text: None)


def test_nobody_is_told_when_no_run_goes_on(lab: Lab) -> None:
    assert "no session yet" in refused(lab, "pause")
    assert call(lab, "run", "--tag", "t", "--experiments", "0").returncode == 0
    before = (lab.folder("t") / FILE).read_bytes()
    for command in (["pause"], ["resume"], ["stop"], ["skip"], ["policy"], ["policy", "set", "hours=1"]):
        said = refused(lab, *command)
        assert "no run in progress in session t" in said and "`autoresearch-mlx run` continues the session" in said
    assert (lab.folder("t") / FILE).read_bytes() == before
    with locked(lab.folder("t")):
        said = refused(lab, "pause")
        assert "no run in progress; session t is in use by process" in said, "a `try` or `certify` uses the session"
    assert "no session nope" in refused(lab, "stop", "--tag", "nope")


def test_limits_that_cannot_be_are_told_with_the_next_step(lab: Lab) -> None:
    call(lab, "run", "--tag", "t", "--experiments", "0")
    assert "'cows=3' is not a limit" in refused(lab, "policy", "set", "cows=3")
    for word in (
        "experiments=-1",
        "experiments=x",
        "hours=0",
        "hours=nan",
        "until=25:00",
        "until=soon",
        "stall=no",
        "tokens=1e6",
        "cost=0",
    ):
        assert f"{word} is not valid" in refused(lab, "policy", "set", word)
    assert "cost needs price_in and price_out" in refused(lab, "policy", "set", "cost=2")
    assert "policy set until=08:30" in refused(lab, "policy", "sat", code=2)
    assert "policy set until=08:30" in refused(lab, "policy", "set", code=2)


@pytest.mark.slow
def test_the_console_of_the_page_runs_as_written(lab: Lab) -> None:
    page = (ROOT / "docs" / "dashboard.md").read_text()
    (console,) = re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    with going(lab, sweep(40, X=9.0)) as run:
        until(lambda: phase(lab) == "train" and started(lab) == 1, "the first experiment")
        for line in console.splitlines():
            done = call(lab, *shlex.split(line.removeprefix("$ autoresearch-mlx ")))
            assert done.returncode == 0, (line, done.stderr)
        assert run.wait(20) == 0
    assert finished(lab)[1] == "interrupted"


# --- the file


def test_a_wish_holds_for_one_run_only(tmp_path: Path) -> None:
    with locked(tmp_path):
        with listening_to(tmp_path, Policy()) as orders:
            stop(tmp_path, "cli")
            assert orders.stop(Sofar(0), lambda progress: None) == STOPPED
        with listening_to(tmp_path, Policy()) as orders:
            assert orders.stop(Sofar(0), lambda progress: None) is None
    with pytest.raises(LabError, match="no run in progress"):
        stop(tmp_path, "cli")


def test_resume_takes_a_stop_back(tmp_path: Path) -> None:
    with locked(tmp_path), listening_to(tmp_path, Policy()) as orders:
        assert (stop(tmp_path, "cli"), stop(tmp_path, "cli")) == (True, False)
        assert (resume(tmp_path, "dashboard"), resume(tmp_path, "dashboard")) == (True, False)
        assert orders.stop(Sofar(0), lambda progress: None) is None
        kinds = [(e["event"], e.get("origin")) for e in read_events(tmp_path / FILE).events]
        assert kinds == [("began", None), ("stop", "cli"), ("resume", "dashboard")]


def test_a_skip_hits_only_the_experiment_that_it_names_and_only_once(tmp_path: Path) -> None:
    with locked(tmp_path), listening_to(tmp_path, Policy()) as orders:
        skip(tmp_path, 3, "cli")
        orders.watching(3, print)(Progress("train"))  # ordered before this run began
        watch = orders.watching(4, lambda progress: None)
        skip(tmp_path, 3, "cli")
        watch(Progress("train"))
        skip(tmp_path, 4, "cli")
        with pytest.raises(Skipped, match="skipped by hand"):
            watch(Progress("train"))
        watch(Progress("train"))


def test_a_spoilt_or_foreign_file_ends_no_run(tmp_path: Path) -> None:
    said: list[str] = []
    with locked(tmp_path), listening(tmp_path, Policy(experiments=5), said.append) as orders:
        with (tmp_path / FILE).open("a") as file:
            file.write('spoilt\n{"event": "skip", "number": "x"}\n{"event": "policy", "limits": {"hours": "x"}}\n')
            file.write('{"event": "policy", "limits": {"experiments": 2, "cows": 3}}\n{"event": "policy"}\n')
        assert orders.stop(Sofar(0), print) is None
        assert orders.stop(Sofar(2), print) == "2 experiments done, as asked"
        pause(tmp_path, "cli")
        assert orders.wish().paused
        (tmp_path / FILE).unlink()
        (tmp_path / FILE).mkdir()
        assert orders.wish().paused, "what was wanted before holds"
        assert len(said) == 1 and "pause, stop and skip have no effect" in said[0]
        (tmp_path / FILE).rmdir()


def test_a_lifted_limit_holds_no_more(tmp_path: Path) -> None:
    with locked(tmp_path), listening_to(tmp_path, Policy(experiments=1)) as orders:
        assert orders.stop(Sofar(1), print) is not None
        set_limits(tmp_path, {"experiments": None, "until": 1.0}, "cli")
        assert str(orders.stop(Sofar(1), print)).endswith(", as asked")
        set_limits(tmp_path, {"until": None}, "cli")
        assert orders.stop(Sofar(1), print) is None
        run = live_run(tmp_path)
        assert run is not None and run.limits == Policy().limits()


def test_without_a_folder_nobody_wants_anything() -> None:
    orders = Orders()
    assert orders.stop(Sofar(10**6), print) is None
    orders.obey(1)


@pytest.mark.slow
def test_the_file_tells_when_a_run_began_and_ended(command_lab: Lab) -> None:
    assert call(command_lab, "run", "--tag", "t", "--experiments", "0", "--hours", "3").returncode == 0
    events = read_events(command_lab.folder("t") / FILE).events
    assert [e["event"] for e in events] == ["began", "ended"]
    rest = {"until": None, "stall": None, "tokens": None, "cost": None}
    assert events[0]["limits"] == {"experiments": 0, "hours": 3.0, **rest}
    assert json.loads((command_lab.folder("t") / FILE).read_text().splitlines()[0])["schema"] == 1


class Skipping:
    """An agent that is still thinking when a person skips its experiment."""

    name = "skipping"

    def __init__(self, folder: Path, *skipped: int) -> None:
        self._folder, self._skipped = folder, skipped

    def propose(self, context: Context) -> Proposal:
        if context.number in self._skipped:
            skip(self._folder, context.number, "cli")
        files = {"solver.py": set_knobs(context.files["solver.py"], {"X": 4 + context.number / 100})}
        return Proposal(f"X = {context.number}", files, agent=self.name)


def test_a_skip_while_the_author_thinks_ends_the_experiment_before_its_measurement(
    command_lab: Lab, screen: Recorder
) -> None:
    with opened(command_lab, "t") as session:
        research(session, Skipping(session.folder, 1), Policy(experiments=2), screen)
        skipped, measured = session.journal().history.experiments[1:]
    assert (skipped.status, skipped.reason, skipped.measurements) == ("interrupted", "skipped by hand", ())
    assert skipped.commit is not None and not skipped.cut_off, "kept to be read, and not wanted again"
    assert measured.value is not None
    assert git(command_lab.folder("t") / "worktree", "status", "--porcelain") == ""


def test_the_first_baseline_cannot_be_skipped(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session, listening(session.folder, Policy(), screen.say):
        with pytest.raises(LabError, match="the baseline cannot be skipped"):
            skip(session.folder, 0, "cli")
        recover(session, screen)
        baseline(session, screen)
        assert skip(session.folder, 0, "cli"), "a later look at it can"


def test_another_look_at_the_incumbent_can_be_skipped_too(lab: Lab, screen: Recorder) -> None:
    folder = lab.folder("t")
    with opened(lab, "t", judge__refresh_every=1, judge__replicates=1) as session:
        recover(session, screen)
        baseline(session, screen)
        experiment(session, Skipping(folder), screen)
        history = session.journal().history
        assert history.incumbent is not None and session.judge.refresh_due(history)
        with listening(folder, Policy(), screen.say) as orders, pytest.raises(Skipped):
            look_for_drift(session, Impatient(folder, history.incumbent.number), orders)
        assert len(session.journal().history.repeats) == len(history.repeats), "nothing was written of it"


class Impatient(Recorder):
    """A screen at which the user presses Ctrl-C as soon as there is progress."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__()
        self._folder, self._skipped = folder, number

    def progress(self, progress: Progress) -> None:
        skip(self._folder, self._skipped, "cli")
