"""The end of a run: which limit ends it, what is done afterwards, and who is notified."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from command_runs import call, refused, script
from conftest import Recorder, git, opened
from live_run import finished, slow_lab, sweep

from autoresearch_mlx.experiment import Context, Proposal
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.store.ledger import FILE, read

pytestmark = pytest.mark.uncounted


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return slow_lab(tmp_path / "lab")


class Losing:
    """An agent that proposes a worse edit each time."""

    name = "losing"

    def propose(self, context: Context) -> Proposal:
        files = {path: set_knobs(text, {"X": 7.0 + context.number / 100}) for path, text in context.files.items()}
        return Proposal(f"worse, {context.number}", files, agent=self.name)


def test_a_stall_ends_a_run(lab: Lab) -> None:
    with opened(lab, "t") as session:
        reason = research(session, Losing(), Policy(stall=2), Recorder())
    assert reason == "2 experiments in a row kept nothing, which is the limit"
    assert finished(lab) == {0: "keep", 1: "discard", 2: "discard"}


def test_an_experiment_that_would_not_end_in_time_is_not_started(lab: Lab) -> None:
    with opened(lab, "t") as session:
        research(session, Losing(), Policy(experiments=1), Recorder())
        soon = Policy(until=time.time() + 0.15)  # one takes over 0.3 s
        reason = research(session, Losing(), soon, Recorder())
    assert reason.startswith("the next experiment takes about 0.") and ", and it is " in reason
    assert list(finished(lab)) == [0, 1]


@pytest.mark.slow
def test_time_is_kept_for_a_certificate_and_the_page_lies_there_in_the_morning(lab: Lab) -> None:
    note = lab.root.parent / "note.txt"
    told = f"cat > {note}; echo $AUTORESEARCH_SESSION >> {note}"
    steps = script(lab, {"title": "X = 3", "knobs": {"X": 3.0}}, *sweep(40))
    done = call(lab, "run", "--tag", "t", "--agent", steps, "--hours", "0.002", "--certify", "2", "--notify", told)
    assert done.returncode == 0, done.stderr
    outcome, stopped, certified, report = done.stdout.splitlines()
    assert "experiments: 1 kept" in outcome
    assert stopped.startswith("stopped: the next experiment takes about") and "the certification" in stopped
    assert certified.startswith("certified: better by ")
    page = Path(report.removeprefix("report: ")).read_text()
    assert page.startswith("<!doctype html>")
    assert "running now" not in page, "the run that writes it is over"
    assert note.read_text() == f"autoresearch-mlx t\n{done.stdout}t\n"
    (certificate,) = read(lab.folder("t") / FILE).certificates
    assert (certificate["before"], certificate["head"], certificate["runs"]) == (0, 1, 4)


@pytest.mark.slow
def test_what_cannot_be_certified_is_said_and_the_run_has_its_results(lab: Lab) -> None:
    steps = script(lab, {"title": "worse", "knobs": {"X": 7.0}})
    done = call(lab, "run", "--tag", "t", "--agent", steps, "--experiments", "1", "--certify", "2", "--report")
    assert done.returncode == 0, done.stderr
    assert "nothing was kept, so there is nothing to certify" in done.stdout
    assert "stopped: 1 experiment done" in done.stdout and "report: " in done.stdout


def test_an_error_in_the_night_is_told_too(lab: Lab) -> None:
    note = lab.root.parent / "note.txt"
    (lab.root / "bench.py").write_text("raise SystemExit(3)\n")
    git(lab.root, "commit", "-qam", "broken")
    assert "the baseline ended as crash" in refused(lab, "run", "--tag", "t", "--notify", f"cat > {note}")
    assert note.read_text().startswith("autoresearch-mlx t\nstopped by an error: the baseline ended as")


def test_a_notification_that_fails_is_said_and_costs_nothing(lab: Lab) -> None:
    done = call(lab, "run", "--tag", "t", "--experiments", "0", "--notify", "echo no bell >&2; exit 7")
    assert done.returncode == 0
    assert "could not notify you: 'echo no bell >&2; exit 7' ended with 7 no bell" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--until", "soon"), "'soon' is not a time of day; for example 07:00"),
        (("--stall", "0"), "0 is not in the range"),
        (("--hours", "0"), "'0' is not a number of hours above 0"),
    ],
)
def test_limits_that_cannot_be(lab: Lab, options: tuple[str, ...], said: str) -> None:
    assert said in refused(lab, "run", *options, code=2)


def test_an_odd_number_of_pairs_is_refused(lab: Lab) -> None:
    assert "certify_pairs" in refused(lab, "run", "--certify", "3")


@pytest.mark.parametrize(
    ("agent", "options", "status"),
    [
        ("chat", ["--experiments", "9"], 1),  # nobody answers
        ("none", [], 1),  # the script has no step
        ("same", ["--experiments", "1"], 0),  # as many as asked for, though nothing was new
        ("none", ["--experiments", "0"], 0),
        ("edit", [], 0),
    ],
)
def test_a_run_that_measures_nothing_exits_with_status_1(
    command_lab: Lab, agent: str, options: list[str], status: int
) -> None:
    steps = {
        "none": [],
        "same": [{"title": "as it is", "knobs": {"X": 4.0}}],
        "edit": [{"title": "X", "knobs": {"X": 3.5}}],
    }
    chosen = script(command_lab, *steps[agent]) if agent in steps else agent
    with (command_lab.root / "lab.toml").open("a") as file:
        file.write('\n[agent]\nmodel = "any"\nbase_url = "http://127.0.0.1:9/v1"\npatience_seconds = 0\n')
    done = call(command_lab, "run", "--tag", "t", "--agent", chosen, *options)
    assert done.returncode == status, done.stdout + done.stderr
    assert "stopped: " in done.stdout
