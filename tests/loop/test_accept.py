"""A gain that is too good to be believed is audited, and then kept only when a person accepts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from conftest import Recorder, opened

from autoresearch_mlx import terms
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Assignment, Experiment, Measurement, Proposal
from autoresearch_mlx.judge.waiting import waiting
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.loop.accept import accept
from autoresearch_mlx.loop.certify import certify
from autoresearch_mlx.loop.research import measure_edit
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.report.closing import closing_line
from autoresearch_mlx.report.page.gather import page_of
from autoresearch_mlx.report.page.html import render_html
from autoresearch_mlx.report.page.markdown import render_text
from autoresearch_mlx.report.status import status_of, to_json
from autoresearch_mlx.report.terminal import render_log, render_status
from autoresearch_mlx.targets.contract import Auditable, TargetBase

FILE = "solver.py"


class Audits(TargetBase):
    """The lab's own target, which can also audit a run."""

    def __init__(self, session: Session, finds: Mapping[str, Any], invalid: str = "") -> None:
        self._target, self._finds, self._invalid = session.target, finds, invalid
        self.name, self.metric, self.direction = session.target.name, session.target.metric, session.target.direction
        self.gains: list[float] = []

    def measure(self, assignment: Assignment) -> Measurement:
        return self._target.measure(assignment)

    def audit(self, assignment: Assignment, measured: Measurement, gain: float) -> Measurement:
        self.gains.append(gain)
        if self._invalid:
            return replace(measured, value=None, failure="invalid", reason=f"audit: {self._invalid}")
        return replace(measured, extra={**measured.extra, "audited": True, **self._finds})


def tried(session: Session, target: Audits, **knobs: float) -> tuple[Session, Experiment]:
    """Run one edit of the incumbent's knobs in the session with that target."""
    audits = session.measuring(target=target)
    assert isinstance(target, Auditable)

    def edit() -> Proposal:
        text = session.workspace.read(session.incumbent(session.journal().history))[FILE]
        return Proposal(f"{knobs}", {FILE: set_knobs(text, knobs)}, agent="hand")

    return audits, measure_edit(audits, edit, Recorder())


@pytest.mark.parametrize("mode", ["auto", "margin"])
def test_a_gain_beyond_belief_is_not_kept_until_it_is_accepted(command_lab: Lab, mode: str) -> None:
    screen = Recorder()
    with opened(command_lab, "t", judge__mode=mode) as session:
        target = Audits(session, {})
        audits, held = tried(session, target, X=3.0, Y=5)
        assert (held.status, held.held, len(held.measurements)) == ("discard", True, 2)
        assert "too good to be believed" in held.reason and f"`autoresearch-mlx accept {held.number}`" in held.reason
        assert len(target.gains) == 1 and target.gains[0] > 0
        assert sum("audit_seconds" in m.extra for m in held.measurements) == 1
        assert session.journal().history.incumbent == session.journal().history.baseline
        done = accept(audits, held.number, screen)
        history = session.journal().history
    assert (done.status, done.held, len(done.measurements)) == ("keep", False, 1)
    assert history.incumbent == done and done.title == f"accepted #{held.number}: {held.title}"
    assert history.experiments[held.number].held, "the ledger still says what became of the first one"


def test_it_is_measured_against_the_incumbent_of_that_time(command_lab: Lab) -> None:
    with opened(command_lab, "t") as session:
        audits, held = tried(session, Audits(session, {}), Y=5)
        _, kept = tried(session, Audits(session, {}), X=3.9)
        assert kept.status == "keep", kept.reason
        done = accept(audits, held.number, Recorder())
        text = session.workspace.read(session.incumbent(session.journal().history))[FILE]
    assert done.status == "keep" and done.base == kept.commit
    assert "X = 3.9" in text and "Y = 5" in text, "both changes"


def test_a_contradiction_makes_it_invalid_and_nobody_can_accept_it(command_lab: Lab) -> None:
    with opened(command_lab, "t") as session:
        audits, done = tried(session, Audits(session, {}, "the gain does not carry over"), X=3.0, Y=5)
        assert (done.status, done.held) == ("invalid", False) and "does not carry over" in done.reason
        with pytest.raises(LabError, match="is not waiting to be accepted"):
            accept(audits, done.number, Recorder())


def test_what_an_audit_leaves_open_is_for_a_person_too(command_lab: Lab) -> None:
    with opened(command_lab, "t") as session:
        _, done = tried(session, Audits(session, {"audit_doubt": "it told a loss of 5.4"}), X=3.0)
    assert done.held and "it told a loss of 5.4" in done.reason


def test_a_target_without_an_audit_is_measured_again_and_kept(command_lab: Lab) -> None:
    with opened(command_lab, "t") as session:
        proposal = Proposal("far better", {FILE: "X = 3.0\nY = 5\n"}, agent="hand")
        done = measure_edit(session, lambda: proposal, Recorder())
    assert done.status == "keep" and len(done.measurements) == 2


def test_it_is_named_wherever_a_person_looks_in_the_morning(command_lab: Lab) -> None:
    with opened(command_lab, "t") as session:
        audits, held = tried(session, Audits(session, {}), X=3.0, Y=5)
        history, folder = session.journal().history, session.folder
        with pytest.raises(LabError, match="nothing has been kept yet") as refused:
            certify(session, 2, None, Recorder())
        (one,) = waiting(history)
        gain = terms.amount(held.gain)
        assert one.words.startswith(f"#1, gain {gain} (")
        assert one.words.endswith(" %): its audit found nothing wrong; `show 1`, then `accept 1`")
        assert one.words in str(refused.value.hint)
        closing = closing_line(history, "enough").splitlines()
        assert "; nothing has replaced the baseline's " in closing[0] and closing[1] == f"waiting for you: {one.words}"
        status = status_of(folder)
        assert to_json(status)["waiting"][0]["number"] == 1
        assert f"\nwaiting      {one.words}\n" in render_status(status, 200)
        log = render_log(history.experiments, history.metric, history.direction, 200, waiting(history))
        assert "discard ?" in log and log.splitlines()[-1] == f"? waiting for you: {one.words}"
        page = page_of(folder, command_lab.root)
        assert one.words in render_text(page).split("![")[0] and "Waiting for you: #1" in render_html(page)
        accept(audits, held.number, Recorder())
        assert waiting(session.journal().history) == ()


def test_it_waits_no_longer_when_the_incumbent_is_as_good(command_lab: Lab) -> None:
    with opened(command_lab, "t") as session:
        _, held = tried(session, Audits(session, {"audit_doubt": "a loss of 5.4"}), X=3.0, Y=5)
        history = session.journal().history
    (one,) = waiting(history)
    assert "its audit left a doubt" in one.words
    as_good = replace(held, number=2, status="keep", held=False)
    assert waiting(replace(history, experiments=(*history.experiments, as_good))) == ()
    assert waiting(replace(history, experiments=(history.experiments[0],))) == ()


def test_it_still_waits_when_its_acceptance_was_interrupted(command_lab: Lab) -> None:
    with opened(command_lab, "t") as session:
        _, held = tried(session, Audits(session, {}), X=3.0, Y=5)
        history = session.journal().history
    again = replace(held, number=2, status="interrupted", held=False, talk={"accepts": held.number})
    assert len(waiting(replace(history, experiments=(*history.experiments, again)))) == 1
    ended = replace(again, status="discard")
    assert waiting(replace(history, experiments=(*history.experiments, ended))) == ()
