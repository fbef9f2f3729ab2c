"""A result that comes too late is recorded once, and machines are not asked for it all the time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder, Steps, write_command_lab

from autoresearch_mlx.experiment import Measurement
from autoresearch_mlx.fleet.job import Delivery
from autoresearch_mlx.fleet.machines import Lost, Machine
from autoresearch_mlx.fleet.night import Night
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.loop.session import Session, open_session
from autoresearch_mlx.loop.worker import Errand, MachineLost
from autoresearch_mlx.store.ledger import FILE


@dataclass
class AwayForLong:
    """A fleet with one machine, which comes back without the result of its run."""

    delivery: Delivery | None = None
    asked: list[str] = field(default_factory=list)

    def machines(self) -> tuple[Machine, ...]:
        return (Machine("attic", "tls://127.0.0.1:1", True, False, False, None, {"chip": "M9"}),)

    def ask(self, *arguments: Any) -> Delivery:
        raise Lost("attic has not reported for 60 s")

    def result(self, name: str, job: str) -> Delivery | None:
        self.asked.append(job)
        return self.delivery


def lost_run(lab: Lab, session: Session, fleet: AwayForLong) -> Night:
    """Return a night in which the machine was asked for a run of experiment 1 and did not come back in time."""
    night = Night(session, load_settings(lab.root).settings, fleet, print)
    (worker,) = night.workers()
    commit = next(e.commit for e in session.journal().history.experiments if e.number == 1)
    assert worker.elsewhere is not None and commit is not None
    with pytest.raises(MachineLost):
        worker.elsewhere(Errand(1, commit, "1", 42, lambda progress: None))
    return night


@pytest.mark.parametrize("delivery", [None, Delivery(Measurement(5.0, 42))], ids=["a job never begun", "a late run"])
def test_a_machine_that_is_back_is_asked_for_a_late_result_once_in_a_while(
    tmp_path: Path, delivery: Delivery | None
) -> None:
    lab = write_command_lab(tmp_path / "lab")
    with open_session(lab, load_settings(lab.root), "t", print) as session:
        research(session, Steps({"X": 5.0}), Policy(experiments=1), Recorder())
        fleet = AwayForLong(delivery)
        night = lost_run(lab, session, fleet)
        for _ in range(20):
            night.workers()
    events = [json.loads(line) for line in (lab.folder("t") / FILE).read_text().splitlines()]
    late = [each for each in events if each["event"] == "late"]
    assert len(fleet.asked) == 1 and len(late) == (1 if delivery is not None else 0)
