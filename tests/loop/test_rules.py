"""Settings on which verdicts depend change during a session: this is reported, dated in the ledger and shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Recorder, Steps, opened

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.report.page.gather import page_of
from autoresearch_mlx.report.page.markdown import render_text
from autoresearch_mlx.report.show import render_show
from autoresearch_mlx.report.terminal import render_log
from autoresearch_mlx.store.rules import MARK


def night(lab: Lab, said: list[str], x: float, **options: Any) -> None:
    with opened(lab, "t", said.append, **options) as session:
        research(session, Steps({"X": x}), Policy(experiments=1), Recorder())


def events(lab: Lab) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (lab.folder("t") / "ledger.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "before"),
    [("judge.mode", "margin", "auto"), ("judge.margin", 0.25, "auto"), ("judge.removal_every", 3, 8)],
)
def test_a_change_is_told_dated_and_shown_beside_every_verdict_after_it(
    command_lab: Lab, name: str, value: Any, before: Any
) -> None:
    said: list[str] = []
    night(command_lab, said, 3.8)
    night(command_lab, said, 3.6)
    assert not said and not any(event["event"] == "rules" for event in events(command_lab))
    night(command_lab, said, 3.4, **{name.replace(".", "__"): value})
    assert len(said) == 1 and f"{name} = {value} (it was {before})" in said[0] and "from experiment 3 on" in said[0]
    noted = [event for event in events(command_lab) if event["event"] == "rules"]
    assert [(event["first"], event["changed"]) for event in noted] == [(3, {name: [before, value]})]
    assert noted[0]["time"]
    with opened(command_lab, "t", said.append, **{name.replace(".", "__"): value}) as session:
        history = session.journal().history
        text = render_text(page_of(session.folder, command_lab.root))
    assert len(said) == 1, "told once"
    assert [MARK in e.reason for e in history.experiments] == [False, False, False, True]
    last = history.experiments[3]
    assert f"{name} = {value}, {before} at the start" in render_show(last, None, None, "score", 400)
    shown = render_log(history.experiments, "score", "min", 200).splitlines()
    assert [f"{last.status} !" in line for line in shown[:5]] == [False, False, False, False, True]
    assert "From experiment 3 on" in text


@pytest.mark.slow
def test_rules_that_return_are_dated_too_and_verdicts_are_plain_again(command_lab: Lab) -> None:
    said: list[str] = []
    night(command_lab, said, 3.8)
    night(command_lab, said, 3.6, judge__mode="strict")
    night(command_lab, said, 3.4)
    with opened(command_lab, "t") as session:
        history = session.journal().history
    assert len(said) == 2 and [MARK in e.reason for e in history.experiments] == [False, False, True, False]


def test_a_ledger_that_notes_no_rules_opens_as_before(command_lab: Lab) -> None:
    said: list[str] = []
    night(command_lab, said, 3.8)
    path = command_lab.folder("t") / "ledger.jsonl"
    first, *rest = path.read_text().splitlines()
    old = {key: held for key, held in json.loads(first).items() if key != "rules"}
    path.write_text("\n".join([json.dumps(old), *rest]) + "\n")
    night(command_lab, said, 3.6, judge__mode="margin")
    assert not said and not any(event["event"] == "rules" for event in events(command_lab))
