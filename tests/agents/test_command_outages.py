"""Limits and outages of a coding agent's service: messages that people reported, and nights that go on during an
outage."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import Recorder, git, opened

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.command import CodingAgent, Standby
from autoresearch_mlx.agents.command.outages import asks_for_a_person, outage
from autoresearch_mlx.agents.command.patience import Patience
from autoresearch_mlx.agents.command.shell import Called
from autoresearch_mlx.agents.knobs.knobs_agent import Knobs
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import AgentAway
from autoresearch_mlx.experiment import Context, Proposal
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.trial.runner import Ended

NOW = datetime(2026, 11, 29, 22, 0, tzinfo=ZoneInfo("Europe/Paris"))
HOUR, DAY = 3600, 86_400
MARGIN = 30

TIMED = [
    ("Claude AI usage limit reached|1796000400", 1796000400 - NOW.timestamp()),
    ("Claude usage limit reached. Your limit will reset at 3am (Europe/Paris).", 5 * HOUR),
    ("You've hit your session limit · resets 5:10pm (Africa/Nairobi)", 16 * HOUR + 600 + HOUR),
    ("You've hit your limit · resets 4pm", 18 * HOUR),
    ("You've hit your weekly limit · resets Dec 1 at 10pm", 2 * DAY),
    ("5-hour limit reached ∙ resets 11pm", HOUR),
    ("■ You've hit your usage limit. Try again in 2 days 17 hours 14 minutes.", 2 * DAY + 61_200 + 840),
    ("You've hit your usage limit. Try again in 3 hours 5 minutes.", 3 * HOUR + 300),
    ("You've hit your usage limit. ... or try again at 11:30 PM.", HOUR + 1800),
    ("usage limit reached, resets at 3am", 5 * HOUR),
    ("[API Error: You exceeded your current quota. Please retry in 34.07s.]", 34.07),
    ('{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "retryDelay": "51s"}}', 51),
    ("Error: 429 Too Many Requests (retry-after: 120)", 120),
    ("You have exhausted your capacity on this model. Your quota will reset after 13h42m5s.", 13 * HOUR + 42 * 60 + 5),
    ("Rate limit reached for requests. Please try again in 6m0s.", 360),
    ("You've hit your monthly limit · resets Jan 2 at 10pm", 34 * DAY),
    ("Usage limit reached. Try again in an hour.", 3600),
    ("Usage limit reached. Please retry after about half an hour.", 1800),
    ("Usage limit reached. Try again in one day and 2 hours.", 93_600),
    ("Rate limited. Wait 90 seconds.", 90),
    ("You're out of extra usage · resets 11pm", HOUR),
    ("You've hit your weekly limit · resets Mon 12:00am", 2 * HOUR),
    ("Weekly limit reached ∙ resets Sunday 9pm", 7 * DAY - HOUR),
    ("Your limit will reset tomorrow at 9am", 11 * HOUR),
    ("Usage limit reached, resets at 22:00 UTC", HOUR),
    ("Usage limit reached, resets at 2pm PST", HOUR),
    ("You have hit the Plus limit. Try again after 11:30 PM.", HOUR + 1800),
    ("Usage limit reached. Retry after 2026-11-30 00:30", 2 * HOUR + 1800),
    ('{"type": "usage_limit_reached", "resets_in_seconds": 4000}', 4000),
    ("rate limit exceeded; x-ratelimit-reset: 1796000400", 1796000400 - NOW.timestamp()),
    ('{"error": "usage limit reached", "resets_at": 1796000400}', 1796000400 - NOW.timestamp()),
    ("Monthly usage limit reached. Resets 2026-11-30T05:00:00Z", 8 * HOUR),
]  # fmt: skip
UNTIMED = [
    'API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    'Error: 429 {"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your limit."}}',
    "stream error: unexpected status 503 Service Unavailable",
    "✕ [API Error: Resource has been exhausted (e.g. check quota).]",
    "TypeError: fetch failed: getaddrinfo ENOTFOUND api.example.com",
    "litellm.InternalServerError: Internal server error",
    "Error: connect ECONNREFUSED 127.0.0.1:443",
    "The model is currently at capacity. Please try again later.",
    "[API Error: You have exhausted your daily quota on this model.]",
    "You have exceeded your premium request allowance.",
    "litellm.ServiceUnavailableError: no answer",
]
NO_OUTAGE = [
    "I lowered the learning rate and raised the batch size.",
    "error: unknown option '--bogus'",
    "Invalid API key · Please run /login",
    "NameError: name 'x' is not defined",
    "I left the time limit of 429 steps as it is.",
    "",
]


@pytest.mark.parametrize(("text", "seconds"), TIMED)
def test_a_limit_names_when_it_ends(text: str, seconds: float) -> None:
    found = outage(f"working...\n{text}\n", NOW)
    assert found is not None and text.startswith(found.words[:40])
    assert found.seconds == pytest.approx(seconds + MARGIN, abs=1)


@pytest.mark.parametrize("text", UNTIMED)
def test_an_outage_that_names_no_time(text: str) -> None:
    found = outage(text, NOW)
    assert found is not None and found.seconds is None


@pytest.mark.parametrize("text", NO_OUTAGE)
def test_what_is_no_outage(text: str) -> None:
    assert outage(text, NOW) is None


def test_what_only_a_person_can_change() -> None:
    assert asks_for_a_person("Invalid API key · Please run /login")
    assert asks_for_a_person("error: unknown option '--bogus'")
    assert not asks_for_a_person("")


# --- how long the loop waits for the service


def said(text: str, code: int = 1, seconds: float = 0.3) -> Called:
    return Called(Ended(code, None, seconds, None), text)


def away(patience: Patience, called: Called, folder: Path, worked: bool = False) -> float | None:
    (folder / "log").write_text(called.output)
    try:
        patience.check(called, folder / "log", worked)
    except AgentAway as error:
        return error.seconds
    return None


def test_an_outage_without_a_time_is_waited_for_longer_and_longer(tmp_path: Path) -> None:
    patience = Patience(600.0)
    assert [away(patience, said("Overloaded"), tmp_path) for _ in range(8)] == [30, 60, 120, 240, 480, 960, 1800, 1800]
    patience.answered()
    assert away(patience, said("Overloaded"), tmp_path) == 30


def test_a_program_that_ends_at_once_has_time_and_then_loses_the_experiment(tmp_path: Path) -> None:
    time = [0.0]
    patience = Patience(100.0, clock=lambda: time[0])
    assert away(patience, said("", code=3), tmp_path) is None, "it never worked, and its exit code has a meaning"
    assert away(patience, said(""), tmp_path) == 30
    time[0] = 90.0
    assert away(patience, said(""), tmp_path, worked=True) == 10
    time[0] = 101.0
    assert away(patience, said(""), tmp_path, worked=True) is None
    assert away(patience, said(""), tmp_path, worked=True) is not None, "the next experiment has time again"
    assert away(patience, said("", code=3), tmp_path, worked=True) is not None
    assert away(patience, said("please log in"), tmp_path, worked=True) is None
    assert away(patience, said("error: unknown option '--bogus'"), tmp_path, worked=True) is None
    assert away(patience, said("", seconds=40.0), tmp_path, worked=True) is None


def test_a_long_answer_that_speaks_of_limits_is_an_answer(tmp_path: Path) -> None:
    text = "I read the code.\n" * 10 + "Rate limit exceeded is what the comment says.\n"
    assert away(Patience(600.0), said(text, code=0), tmp_path) is None
    assert away(Patience(600.0), said("Claude AI usage limit reached", code=0), tmp_path) == 30


def test_a_machine_that_ends_the_agent_is_waited_for(tmp_path: Path) -> None:
    assert away(Patience(600.0), said("OSError: [Errno 28] No space left on device"), tmp_path) == 30


# --- nights


def limited(lab: Lab, times: int, text: str = "usage limit reached, resets in 2 seconds") -> str:
    """Return the shell line of a program that reports a limit this number of times, and makes edits after that."""
    path = lab.root.parent / "agent.py"
    path.write_text(f"""\
import pathlib, sys
count = pathlib.Path({str(lab.root.parent / "count")!r})
calls = int(count.read_text()) if count.exists() else 0
count.write_text(str(calls + 1))
if calls < {times}:
    print({text!r})
    sys.exit(1)
path = pathlib.Path("solver.py")
path.write_text(path.read_text().replace("4.0", f"3.{{calls}}5"))
""")
    return f"'{sys.executable}' -S '{path}'"


class Impatient(CodingAgent):
    """A coding agent whose waiting times are over at once."""

    def propose(self, context: Context) -> Proposal:
        try:
            return super().propose(context)
        except AgentAway as error:
            raise AgentAway(str(error), error.hint, 0.01) from error


def night(
    lab: Lab, line: str, experiments: int, screen: Recorder, standby: bool, share: float = 1.0
) -> tuple[str, list[tuple[str, str]]]:
    with opened(lab, "t", judge__mode="margin") as session:
        office = Office(AgentSettings(), folder=session.folder, say=screen.say)
        agent = Impatient(line, office, session.worker.worktree.lent, session.workspace.may_edit)
        both = Standby(agent, Knobs(0), office, share) if standby else agent
        reason = research(session, both, Policy(experiments=experiments), screen)
        done = session.journal().history.experiments
    return reason, [(e.agent, e.status) for e in done[1:]]


@pytest.mark.slow
def test_the_run_waits_for_an_agent_at_its_limit(command_lab: Lab, screen: Recorder) -> None:
    reason, done = night(command_lab, limited(command_lab, 7), 1, screen, standby=False)
    assert (reason, done) == ("1 experiment done, as asked", [("command", "keep")])
    waits = [text for text in screen.said if text.startswith("waiting: ")]
    assert len(waits) == 7 and "usage limit reached" in waits[0]


@pytest.mark.slow
def test_the_optimiser_goes_on_while_an_agent_is_at_its_limit(command_lab: Lab, screen: Recorder) -> None:
    reason, done = night(command_lab, limited(command_lab, 2), 3, screen, standby=True)
    assert reason == "3 experiments done, as asked"
    assert [agent for agent, _ in done] == ["knobs", "knobs", "command"]
    assert any("knobs continues alone until" in text for text in screen.said)
    assert "the coding agent answers again" in screen.said


@pytest.mark.slow
def test_where_the_optimiser_has_nothing_to_move_the_run_waits(command_lab: Lab, screen: Recorder) -> None:
    (command_lab.root / "solver.py").write_text("X, Y = (4.0, 2)\n")
    git(command_lab.root, "commit", "-qam", "no knobs")
    reason, done = night(command_lab, limited(command_lab, 3), 1, screen, standby=True)
    assert (reason, done) == ("1 experiment done, as asked", [("command", "keep")])


@pytest.mark.slow
def test_an_agent_that_never_edits_ends_the_night_with_its_reason(command_lab: Lab, screen: Recorder) -> None:
    reason, done = night(command_lab, "echo 'I would rather not.'", 20, screen, standby=True)
    assert done == [("command", "invalid")] * 5
    assert reason.startswith("5 experiments in a row had no edit; the last one: ") and "I would rather not." in reason


@pytest.mark.slow
def test_by_turns_with_the_optimiser_a_limit_or_an_agent_that_gives_up_ends_nothing(
    command_lab: Lab, screen: Recorder
) -> None:
    reason, done = night(command_lab, limited(command_lab, 1), 6, screen, standby=True, share=0.5)
    assert reason == "6 experiments done, as asked"
    assert [agent for agent, _ in done] == ["knobs", "knobs", "knobs", "command", "knobs", "command"]


@pytest.mark.slow
def test_the_optimiser_goes_on_alone_when_the_agent_of_a_pair_cannot_be_started(
    command_lab: Lab, screen: Recorder
) -> None:
    reason, done = night(command_lab, "no-such-agent -p", 4, screen, standby=True, share=0.5)
    assert reason == "4 experiments done, as asked"
    assert [agent for agent, _ in done] == ["knobs"] * 4
    assert any("knobs continues alone for the rest of this run" in text for text in screen.said)


def test_a_pair_is_named_like_hybrid(command_lab: Lab) -> None:
    with opened(command_lab, "t") as session:
        office = Office(AgentSettings(), folder=session.folder, lend=session.worker.worktree.lent)
        assert load_agent("hybrid:command:claude -p", office).name == "hybrid"
        assert load_agent("command:claude -p", office).name == "command"
