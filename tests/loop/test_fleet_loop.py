"""The loop of a fleet, with machines in this process: which runs a night needs, and which machine takes them."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder, Steps, write_command_lab

from autoresearch_mlx.agents.scripted import Scripted
from autoresearch_mlx.errors import AgentAway, LabError
from autoresearch_mlx.experiment import Context, Experiment, Measurement, Progress, Proposal
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import read_knobs
from autoresearch_mlx.loop import control
from autoresearch_mlx.loop.attempt import Attempt
from autoresearch_mlx.loop.fleet_runs import note_proposal
from autoresearch_mlx.loop.health import Health
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import experiment, research
from autoresearch_mlx.loop.session import Session, open_session
from autoresearch_mlx.loop.worker import Brought, Errand, MachineLost, NotTaken, Worker
from autoresearch_mlx.store.ledger import FILE, read

NOISE = (0.0, 0.004, -0.004)


@dataclass
class Machine:
    """A machine that measures X plus an offset of its own, with a little noise that depends on the seed."""

    name: str
    level: float = 0.0
    seconds: float = 0.002
    crashes: bool = False
    shift_above: float = 100.0
    """Above this X, values are lower by 9 on this machine, so that a change that loses elsewhere wins here."""
    ends_soon: Callable[[], bool] = lambda: False
    seconds_left: Callable[[], float] = lambda: 0.0
    lost_in_smoke: bool = False
    """Whether the machine goes away during a smoke run and does not come back."""
    during: Callable[[Errand], None] = lambda errand: None
    """Function that is called in each run."""
    now: int = 0
    """Number of jobs that the machine has received and not delivered yet."""
    most: int = 0
    asked: list[tuple[int, str]] = field(default_factory=list)
    """Number and name of each run, in the order in which the runs were made."""
    alone: threading.Lock = field(default_factory=threading.Lock)

    def worker(self, session: Session, here: list[str]) -> Worker:
        def elsewhere(errand: Errand) -> Brought:
            if errand.name == "smoke":
                self.asked.append((errand.number, errand.name))
                if self.lost_in_smoke:
                    raise MachineLost(f"{self.name} has not reported for 60 s")
                return Brought(None, "", {"machine": self.name}, here)
            self.now += 1
            self.most = max(self.most, self.now)
            with self.alone:
                self.asked.append((errand.number, errand.name))
                time.sleep(self.seconds)
                self.during(errand)
                text = session.workspace.read(errand.commit)["solver.py"]
                x = float(str(read_knobs(text)["X"].value))
                value = x + self.level + NOISE[errand.seed % 3] - 9 * (x > self.shift_above)
            self.now -= 1
            failed = Measurement(None, errand.seed, "crash", "it does not run here")
            taken = failed if self.crashes else Measurement(value, errand.seed)
            return Brought(taken, "", {"machine": self.name}, here)

        made = replace(session.worker, name=self.name, elsewhere=elsewhere, chip=self.name, health=Health())
        told = replace(made, ends_soon=self.ends_soon, seconds_left=self.seconds_left)
        return replace(told, refreshing=threading.Lock())


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return write_command_lab(tmp_path / "lab")


def night(lab: Lab, machines: list[Machine], steps: list[float], **options: Any) -> dict[int, Experiment]:
    """Measure experiments that set X to these values; return them by number."""
    settings = load_settings(lab.root, {name.replace("__", "."): value for name, value in options.items()})
    with open_session(lab, settings, "t", print, elsewhere=True) as session:
        names = [machine.name for machine in machines]
        workers = [machine.worker(session, names) for machine in machines]
        fleet = replace(session, roster=lambda: workers)
        research(fleet, Steps(*({"X": x} for x in steps)), Policy(experiments=len(steps)), Recorder())
    return {e.number: e for e in read(lab.folder("t") / FILE).history.experiments}


def events(lab: Lab, kind: str) -> Iterator[dict[str, Any]]:
    lines = (json.loads(line) for line in (lab.folder("t") / FILE).read_text().splitlines())
    return (line for line in lines if line["event"] == kind)


def test_a_loser_takes_one_run_on_any_machine_even_after_a_keep(lab: Lab) -> None:
    machines = [Machine(name, level) for name, level in (("attic", 0.0), ("desk", 1.0), ("shelf", 2.0))]
    found = night(lab, machines, [3.0, *(5.0 + at / 10 for at in range(8))])
    assert found[1].status == "keep" and len(found[1].measurements) == 2
    losers = [found[number] for number in range(2, 10)]
    assert {e.status for e in losers} == {"discard"}
    extra = sum(len(e.measurements) - 1 for e in losers)
    assert extra <= 3, "only at the end, when machines without work make spare runs"
    assert len(list(events(lab, "repeated"))) == 6, "the baseline's runs on the other two machines, and nothing else"
    taken = sum(len(machine.asked) for machine in machines) - extra - len(list(events(lab, "spare")))
    assert taken == 9 + 2 + 8, "three runs of the baseline on each machine, and the runs of the experiments"


def test_the_gain_of_a_loser_is_that_over_the_version_with_which_it_was_compared(lab: Lab) -> None:
    machines = [Machine("attic"), Machine("desk", 1.0), Machine("shelf", 2.0)]
    found = night(lab, machines, [3.0, 5.0, 5.1, 5.2, 5.3, 5.4])
    keep = found[1]
    knows = {str(m.machine["fleet_machine"]) for m in keep.measurements}
    for loser in (found[number] for number in range(2, 7)):
        new = loser.base == keep.commit
        assert new or loser.against in (None, found[0].commit), "it was begun before the keep"
        if new:
            there = str(loser.measurements[0].machine["fleet_machine"]) in knows
            assert loser.against == (None if there else found[0].commit)
        before = 3.0 if new and loser.against is None else 4.0
        assert loser.gain == pytest.approx(before - float(loser.knobs["X"][1]), abs=0.05)  # type: ignore[arg-type]


def test_a_gain_is_confirmed_by_whichever_machine_is_free_first(lab: Lab) -> None:
    machines = [Machine("attic", seconds=0.02), Machine("slow", 1.0, seconds=0.4), Machine("quick", 2.0, seconds=0.02)]
    found = night(lab, machines, [5.0, 5.1, 3.0, 5.2, 5.3, 5.4])
    assert found[3].status == "keep"
    assert {str(m.machine["fleet_machine"]) for m in found[3].measurements} == {"attic", "quick"}


def test_the_first_machine_that_is_done_with_the_baseline_begins_the_night(lab: Lab) -> None:
    machines = [Machine("slow", seconds=0.3), Machine("quick", 1.0)]
    found = night(lab, machines, [5.0, 5.1])
    assert {str(m.machine["fleet_machine"]) for m in found[0].measurements} == {"quick"}
    assert [line["measurement"]["machine"]["fleet_machine"] for line in events(lab, "repeated")][:1] != ["quick"]


def test_four_machines_share_the_repeats_of_the_baseline(lab: Lab) -> None:
    machines = [Machine(name, level) for level, name in enumerate(("attic", "desk", "shelf", "cellar"))]
    found = night(lab, machines, [5.0, 3.0])
    taken = [sum(number == 0 for number, _ in machine.asked) for machine in machines]
    assert sorted(taken) == [2, 2, 3, 3], "as many repeats as those of three machines with three runs each"
    assert len(found[0].measurements) in (2, 3) and found[0].status == "keep"
    assert [found[1].status, found[2].status] == ["discard", "keep"]


def test_a_machine_without_work_confirms_a_candidate_while_another_still_measures_it(lab: Lab) -> None:
    both = threading.Barrier(2, timeout=60)

    def meet(errand: Errand) -> None:
        if errand.number == 1:
            both.wait()

    found = night(lab, [Machine("attic", during=meet), Machine("desk", 1.0, during=meet)], [3.0])
    assert found[1].status == "keep" and not both.broken
    assert sorted(str(m.machine["fleet_machine"]) for m in found[1].measurements) == ["attic", "desk"]


def test_a_spare_run_ends_when_its_candidate_has_lost(lab: Lab) -> None:
    begun = threading.Event()

    def wait(errand: Errand) -> None:
        assert errand.number == 0 or begun.wait(60)

    def measure_until_told(errand: Errand) -> None:
        while errand.number == 1:
            begun.set()
            errand.watch(Progress("train"))
            time.sleep(0.01)

    found = night(lab, [Machine("attic", during=wait), Machine("desk", 1.0, during=measure_until_told)], [5.0])
    assert found[1].status == "discard" and len(found[1].measurements) == 1
    assert not list(events(lab, "spare")), "it has no result"


def test_a_spare_run_that_ends_after_the_verdict_is_logged_and_does_not_count(lab: Lab) -> None:
    begun = threading.Event()

    def wait(errand: Errand) -> None:
        assert errand.number == 0 or begun.wait(60)

    def outlast(errand: Errand) -> None:
        begun.set()
        while errand.number == 1 and not any(line["number"] == 1 for line in events(lab, "finished")):
            time.sleep(0.01)

    found = night(lab, [Machine("attic", during=wait), Machine("desk", 1.0, during=outlast)], [5.0])
    assert found[1].status == "discard" and len(found[1].measurements) == 1
    (late,) = events(lab, "spare")
    assert late["number"] == 1 and late["measurement"]["machine"]["fleet_machine"] == "desk"


def test_the_run_that_confirms_a_candidate_is_not_asked_for_while_it_is_a_spare_run(lab: Lab) -> None:
    begun, first_done = threading.Event(), threading.Event()

    def measure_first(errand: Errand) -> None:
        if errand.number == 1:
            begun.wait(60)
            first_done.set()

    def measure_second(errand: Errand) -> None:
        if errand.number == 1:
            begun.set()
            first_done.wait(60)
            time.sleep(0.5)  # the judge asks for this run meanwhile

    desk = Machine("desk", 1.0, during=measure_second, ends_soon=begun.is_set)
    found = night(lab, [Machine("attic", during=measure_first), desk], [3.0])
    assert found[1].status == "keep" and len(found[1].measurements) == 2
    assert Counter(desk.asked)[1, "1"] == 1


def test_a_skip_ends_an_experiment_of_which_a_spare_run_is_being_made(lab: Lab) -> None:
    both = threading.Barrier(3, timeout=60)

    def measure_until_told(errand: Errand) -> None:
        if errand.number == 1:
            both.wait()
        while errand.number == 1:
            errand.watch(Progress("train"))
            time.sleep(0.01)

    def skip() -> None:
        both.wait()
        control.skip(lab.folder("t"), 1, "test")

    other = threading.Thread(target=skip)
    other.start()
    machines = [Machine(name, during=measure_until_told) for name in ("attic", "desk")]
    assert night(lab, machines, [5.0])[1].status == "interrupted"
    other.join()


def test_no_spare_run_is_taken_where_the_margin_decides_by_one_run(lab: Lab) -> None:
    machines = [Machine("attic"), Machine("desk", 1.0), Machine("shelf", 2.0)]
    night(lab, machines, [5.0, 3.0], judge__mode="margin")
    assert all(len(machine.asked) <= 3 for machine in machines) and not list(events(lab, "spare"))


def test_a_machine_on_which_the_baseline_does_not_run_does_not_end_the_night(lab: Lab) -> None:
    machines = [Machine("broken", crashes=True), Machine("desk", seconds=0.05)]
    found = night(lab, machines, [5.0])
    assert found[0].status == "keep" and {m.value is not None for m in found[0].measurements} == {True}
    assert found[1].status == "discard"
    failed = [line for line in events(lab, "repeated") if line["measurement"]["failure"] == "crash"]
    assert failed, "its runs are in the ledger all the same"


def test_a_machine_that_is_nearly_done_gets_its_next_experiment_and_no_third_one(lab: Lab) -> None:
    machines = [Machine("attic", seconds=0.25, ends_soon=lambda: True)]
    found = night(lab, machines, [5.0, 5.1, 5.2, 5.3])
    assert machines[0].most == 2
    assert Counter(machines[0].asked).most_common(1)[0][1] == 1, "no run is asked for twice"
    assert [found[number].status for number in range(1, 5)] == ["discard"] * 4


def test_a_machine_without_a_run_of_the_incumbent_for_long_measures_it_again(lab: Lab) -> None:
    machines = [Machine("attic", seconds=0.02, ends_soon=lambda: True)]
    night(lab, machines, [5.0 + at / 100 for at in range(8)], judge__refresh_every=3)
    again = [line["during"] for line in events(lab, "repeated")]
    assert again, "even though an experiment always waits for the machine"
    assert max(b - a for a, b in zip([0, *again], again, strict=False)) <= 5


def test_what_wins_on_one_machine_alone_goes_from_machine_to_machine_only_a_few_times(lab: Lab) -> None:
    odd = Machine("odd", seconds=0.02, shift_above=6.0)
    found = night(
        lab,
        [Machine("attic", seconds=0.1), Machine("desk", 1.0, seconds=0.1), odd],
        [3.0, *[7.0 + n / 10 for n in range(8)]],
    )
    assert found[1].status == "keep"
    assert {found[number].status for number in range(2, 10)} == {"discard"}
    assert any(number > 1 for number, _ in odd.asked), "it has measured some of them"
    moves = Counter(line["number"] for line in events(lab, "moved"))
    assert max(moves.values()) <= 5


def test_a_machine_that_is_lost_in_a_smoke_run_ends_neither_the_night_nor_the_experiment(lab: Lab) -> None:
    machines = [Machine("attic", seconds=0.05, lost_in_smoke=True), Machine("desk", 1.0, lost_in_smoke=True)]
    found = night(lab, machines, [5.0, 3.0, 5.1], budget__smoke="always")
    assert [found[number].status for number in range(1, 4)] == ["discard", "keep", "discard"]
    assert Counter(name for machine in machines for _, name in machine.asked)["smoke"] == 4, "the baseline's too"


def test_a_smoke_run_goes_to_the_machine_that_is_done_first_while_all_measure(lab: Lab) -> None:
    late = Machine("attic", seconds=0.3, seconds_left=lambda: 100.0)
    soon = Machine("desk", 1.0, seconds=0.3, seconds_left=lambda: 0.1)
    night(lab, [late, soon], [5.0, 5.1, 5.2], budget__smoke="always")
    assert (3, "smoke") in soon.asked and (3, "smoke") not in late.asked


def test_a_fleet_without_a_machine_cannot_begin_and_says_so(lab: Lab) -> None:
    settings = load_settings(lab.root)
    with open_session(lab, settings, "t", print, elsewhere=True) as session:
        worker = Machine("attic").worker(session, ["attic"])
        leaving = replace(session, roster=lambda: [] if session.journal().running else [worker])
        with pytest.raises(LabError, match="no machine of the fleet is connected"):
            research(leaving, Steps({"X": 5.0}), Policy(experiments=1), Recorder())


def test_an_experiment_that_a_dead_process_left_open_is_carried_onto_what_was_kept_meanwhile(lab: Lab) -> None:
    machines = [Machine("attic"), Machine("desk", 1.0)]
    with open_session(lab, load_settings(lab.root), "t", print, elsewhere=True) as session:
        workers = [machine.worker(session, ["attic", "desk"]) for machine in machines]
        fleet = replace(session, roster=lambda: workers)
        research(fleet, Steps({"X": 5.0}), Policy(experiments=1), Recorder())
        left = Attempt.start(fleet, workers[0])
        left.propose(Steps({"X": 2.0}), lambda progress: None)
        left.commit()
        note_proposal(left)
        kept = experiment(replace(session, worker=workers[0]), Steps({"X": 3.0}), Recorder())
        assert kept.status == "keep"
        research(fleet, Steps(), Policy(experiments=1), Recorder())  # of a process that was started again
    (found,) = (e for e in read(lab.folder("t") / FILE).history.experiments if e.number == left.number)
    assert found.status == "keep" and found.base == kept.commit
    assert found.title.endswith(f"(carried onto #{kept.number})")
    assert Counter(machines[0].asked)[left.number, "1"] == 1, "the run that was under way is asked for, and counts"


def test_the_run_of_a_machine_that_is_away_at_the_verdict_confirms_a_gain(lab: Lab) -> None:
    gone = threading.Event()
    machines = [
        Machine("attic", seconds=0.02),
        Machine("desk", 1.0, seconds=0.02, during=lambda errand: gone.set() if errand.number == 1 else None),
    ]
    with open_session(lab, load_settings(lab.root), "t", print, elsewhere=True) as session:
        attic, desk = (machine.worker(session, ["attic", "desk"]) for machine in machines)
        fleet = replace(session, roster=lambda: (desk,) if gone.is_set() else (attic, desk))
        research(fleet, Steps({"X": 3.0}), Policy(experiments=1), Recorder())
    found = read(lab.folder("t") / FILE).history.experiments[1]
    assert found.status == "keep" and "over 2 machines" in found.reason
    assert {str(m.machine["fleet_machine"]) for m in found.measurements} == {"attic", "desk"}


@pytest.mark.parametrize(("error", "times", "status"), [(MachineLost, 2, "interrupted"), (NotTaken, 4, "discard")])
def test_an_experiment_is_asked_for_again_once_after_its_machine_was_lost(
    lab: Lab, error: type[MachineLost], times: int, status: str
) -> None:
    lost: list[str] = []

    def fail(errand: Errand) -> None:
        if errand.number == 1 and len(lost) < times:
            lost.append(errand.name)
            raise error("it has not reported for 60 s")

    machines = [Machine(name, level, during=fail) for level, name in enumerate(("attic", "desk", "shelf"))]
    found = night(lab, machines, [5.0 + at / 10 for at in range(9)])
    assert [found[number].status for number in range(1, 10)] == [status, *["discard"] * 8]
    assert len(lost) == times, "more machines may refuse to begin it, because then the edit cannot be the cause"
    if status == "interrupted":
        first, second = found[1].reason.split(" did not come back")[0].split(" and ")
        assert first != second, "another machine was asked"


def scripted(lab: Lab, *steps: tuple[str, str]) -> tuple[str, dict[int, Experiment]]:
    """Run a night of two machines in which each step replaces a value of X by another; return why it ended."""
    path = lab.root.parent / "edits.json"
    path.write_text(json.dumps([{"title": f"to {b}", "search": f"X = {a}", "replace": f"X = {b}"} for a, b in steps]))
    with open_session(lab, load_settings(lab.root), "t", print, elsewhere=True) as session:
        machines = [Machine("attic", seconds=0.05), Machine("desk", 1.0, seconds=0.05)]
        workers = [machine.worker(session, ["attic", "desk"]) for machine in machines]
        limit = Policy(experiments=len(steps))
        ended = research(replace(session, roster=lambda: workers), Scripted(path), limit, Recorder())
    return ended, {e.number: e for e in read(lab.folder("t") / FILE).history.experiments}


def test_a_scripted_edit_of_an_edit_that_is_being_measured_waits_for_its_verdict(lab: Lab) -> None:
    ended, found = scripted(lab, ("4.0", "5.0"), ("4.0", "3.0"), ("3.0", "2.0"), ("2.0", "2.5"))
    assert [found[number].status for number in range(1, 5)] == ["discard", "keep", "keep", "discard"], ended


def test_a_scripted_edit_of_an_edit_that_was_discarded_ends_the_night_in_words(lab: Lab) -> None:
    ended, found = scripted(lab, ("4.0", "5.0"), ("5.0", "3.0"))
    assert sorted(found) == [0, 1] and "edits.json, step 2: no editable file has the text 'X = 5.0'" in ended


def test_machines_go_on_while_the_agent_is_away(lab: Lab) -> None:
    class AwayAfterOne(Steps):
        def propose(self, context: Context) -> Proposal:
            if context.number == 2:
                raise AgentAway("its limit is reached", seconds=600)
            return super().propose(context)

    def stop_after_one() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and not any(line["number"] == 1 for line in events(lab, "finished")):
            time.sleep(0.02)
        control.stop(lab.folder("t"), "test")

    with open_session(lab, load_settings(lab.root), "t", print, elsewhere=True) as session:
        machines = [Machine("attic", seconds=0.05), Machine("desk", 1.0, seconds=0.05)]
        workers = [machine.worker(session, ["attic", "desk"]) for machine in machines]
        fleet = replace(session, roster=lambda: workers)
        baseline = research(fleet, Steps(), Policy(experiments=0), Recorder())
        assert baseline
        other = threading.Thread(target=stop_after_one)
        other.start()
        research(fleet, AwayAfterOne({"X": 3.0}), Policy(), Recorder())
        other.join()
    found = read(lab.folder("t") / FILE).history.experiments
    assert [e.status for e in found] == ["keep", "keep"], "the second machine has confirmed it"
