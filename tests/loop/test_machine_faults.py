"""Nights on a machine that fails: its failures do not count as crashes, and a file that imitates them gains nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from conftest import Recorder, Steps, git, opened

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Proposal
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.control import resume, stop
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import measure_edit, research

pytestmark = pytest.mark.uncounted
METAL = "[METAL] Command buffer execution failed: Impacting Interactivity (0000000e:kIOGPUCommandBufferCallbackError"
METAL += "ImpactingInteractivity)"
IMITATION = f"X = 3.0\nY = 2\nraise RuntimeError('{METAL}')\n"
BENCH = f"""\
import pathlib
from solver import X, Y
broken = pathlib.Path(__file__).resolve().parents[3] / "broken"
left = int(broken.read_text()) if broken.exists() else 0
if left:
    broken.write_text(str(left - 1))
    raise RuntimeError("{METAL}")
print(f"METRIC score={{(X - 3) ** 2 + (Y - 5) ** 2 + 1:.6f}}")
"""
FOR_EVER = 99


@pytest.fixture
def lab(command_lab: Lab) -> Lab:
    """Make a lab on a machine that breaks as many runs as the file ``broken`` says."""
    (command_lab.root / "bench.py").write_text(BENCH)
    (command_lab.root / ".gitignore").write_text("broken\n.autoresearch/\n")
    git(command_lab.root, "add", "-A")
    git(command_lab.root, "commit", "--quiet", "-m", "a machine that can break")
    return command_lab


def breaks(lab: Lab, runs: int) -> None:
    (lab.root / "broken").write_text(str(runs))


@dataclass
class Beside(Recorder):
    """A screen that does something when the run says that it pauses."""

    then: Callable[[], object] = lambda: None
    paused: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        super().say(text)
        if text.startswith("paused: "):
            self.paused.append(text)
            self.then()


def test_a_run_that_the_machine_ended_is_taken_again_and_a_keep_then_needs_two_runs(lab: Lab, screen: Recorder) -> None:
    with opened(lab, "t", judge__mode="margin") as session:
        research(session, Steps(), Policy(experiments=0), screen)
        breaks(lab, 2)
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert (done.status, done.value) == ("keep", 10.25)
    assert [m.failure for m in done.measurements] == ["interrupted", "interrupted", None, None]
    assert [m.seed for m in done.measurements] == [42, 42, 42, 43], "repeated on its seed, then confirmed on another"
    assert all(METAL in str(m.extra["tainted"]) for m in done.measurements[:2])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "margin"])
def test_a_file_that_imitates_the_machines_error_is_found_out(mode: str, lab: Lab, screen: Recorder) -> None:
    with opened(lab, "t", judge__mode=mode) as session:
        agent = Steps(IMITATION, IMITATION, {"X": 3.5})
        research(session, agent, Policy(experiments=2), screen)
        _, first, second = session.journal().history.experiments
        (trial,) = session.journal().history.repeats
    assert (first.status, len(first.measurements)) == ("invalid", 3)
    assert "so this file counts as the cause" in first.reason and METAL in first.reason
    assert (trial.number, trial.measurement.value) == (0, 11.0)
    assert agent.contexts[2].feedback == ("the same as experiment 1 (invalid)",)
    assert second.status == "keep"


@pytest.mark.slow
def test_three_failures_in_a_row_and_the_incumbents_too_pause_the_night(lab: Lab) -> None:
    def repaired() -> None:
        breaks(lab, 0)
        resume(session.folder, "cli")

    screen = Beside(then=repaired)
    with opened(lab, "t", judge__mode="margin") as session:
        research(session, Steps(), Policy(experiments=0), screen)
        breaks(lab, FOR_EVER)
        reason = research(session, Steps({"X": 3.5}, {"X": 3.5}), Policy(experiments=2), screen)
        _, first, second = session.journal().history.experiments
    assert reason == "2 experiments done, as asked"
    assert (first.status, second.status) == ("interrupted", "keep"), "what the machine ended may be tried again"
    assert first.reason.startswith("the machine ended 3 runs in a row, and the incumbent's run too")
    (said,) = screen.paused
    assert "let the display sleep" in said and "`autoresearch-mlx resume`" in said and "tries again in 300.0 s" in said
    assert screen.said[-1] == "continuing"


def test_a_stop_ends_the_pause(lab: Lab) -> None:
    screen = Beside(then=lambda: stop(session.folder, "cli"))
    with opened(lab, "t", judge__mode="margin") as session:
        research(session, Steps(), Policy(experiments=0), screen)
        breaks(lab, FOR_EVER)
        assert research(session, Steps({"X": 3.5}), Policy(), screen) == "by hand (autoresearch-mlx stop)"


def test_a_machine_that_fails_from_the_start_ends_the_run_with_what_to_do(lab: Lab, screen: Recorder) -> None:
    breaks(lab, FOR_EVER)
    with opened(lab, "t") as session, pytest.raises(LabError, match="the machine ended 3 runs in a row") as raised:
        research(session, Steps(), Policy(experiments=0), screen)
    assert "let the display sleep" in str(raised.value)
    assert raised.value.hint.startswith("the file is not to blame")


@pytest.mark.slow
def test_an_edit_by_hand_is_told_that_the_machine_failed(lab: Lab, screen: Recorder) -> None:
    with opened(lab, "t", judge__mode="margin") as session:
        research(session, Steps(), Policy(experiments=0), screen)
        breaks(lab, FOR_EVER)
        edit = Proposal("mine", {"solver.py": "X = 3.5\nY = 2\n"}, agent="human")
        done = measure_edit(session, lambda: edit, screen)
    assert done.status == "interrupted" and "the machine ended" in done.reason
