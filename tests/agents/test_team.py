"""A chief and its juniors: briefs on different axes, named failures, brackets without a model, and the minutes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder, command_line, opened, write_command_lab
from openai_server import OpenAIServer
from server_behaviours import Received, say

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.knobs.knobs_agent import Knobs
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.team.chief import Chief
from autoresearch_mlx.agents.team.team_agent import Junior, Team
from autoresearch_mlx.errors import AgentAway, AgentError
from autoresearch_mlx.experiment import Context, Experiment, History, Proposal, Running
from autoresearch_mlx.lab.config import TeamSettings, load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.loop.hire import hired
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.store.ledger import FILE, Journal, read
from autoresearch_mlx.store.minutes import Minute, minutes_of

FILES = {"solver.py": "A = 5.0\nB = 5.0\nC = 5.0\n"}
NONE = History((), "score", "min")


def context(number: int = 1, history: History = NONE, running: Sequence[Running] = (), **fields: Any) -> Context:
    return Context(number, "", FILES, history, "a machine", 42, running=running, **fields)


class Say:
    """A junior that sets its own knobs, one each time, or that only talks and never makes an edit."""

    def __init__(self, name: str, *knobs: str, talks: bool = False) -> None:
        self.name, self._knobs, self._talks = name, list(knobs), talks
        self.asked: list[Context] = []

    def propose(self, context: Context) -> Proposal:
        self.asked.append(context)
        if self._talks:
            return Proposal("", {}, agent=self.name, problem="no proposal in the reply")
        if not self._knobs:
            raise AgentError(f"{self.name} has nothing left")
        knob = self._knobs.pop(0)
        text = set_knobs(context.files["solver.py"], {knob: float(context.number)})
        return Proposal(f"{knob} = {context.number}", {"solver.py": text}, agent=self.name)


class Thinker(Say):
    """A junior that may think while an experiment is measured."""

    def ahead_refused(self, context: Context) -> str | None:
        return None


class Ledger:
    """A ledger that collects the events that a team writes."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def __call__(self, event: str, fields: Any) -> None:
        self.lines.append({"event": event, "time": "", **fields})

    def minutes(self) -> tuple[Minute, ...]:
        return minutes_of(self.lines, NONE)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


def team(ledger: Ledger, *agents: Say, carry: Callable[..., Any] | None = None) -> Team:
    office = Office(record=ledger, minutes=ledger.minutes, **({"carry": carry} if carry is not None else {}))
    return Team(office, Chief(42), [Junior(each.name, each, isinstance(each, Thinker)) for each in agents])


def running(number: int, knob: str) -> Running:
    return Running(number, knob, f"knob.{knob.lower()}", {knob: (5.0, 1.0)}, {})


# --- never two live briefs on one axis


def test_a_junior_is_sent_back_from_the_axis_of_a_running_experiment() -> None:
    ledger, stubborn = Ledger(), Say("a", "A", "B")
    proposal = team(ledger, stubborn).propose(context(2, running=[running(1, "A")]))
    assert (proposal.title, proposal.axis) == ("B = 2", "knob.b")
    assert "knob.a is the axis of another brief" in stubborn.asked[1].feedback[0]
    assert ledger.of("brief")[0]["must_not"] == ["knob.a"]


def test_a_junior_that_insists_on_a_taken_axis_gets_no_experiment() -> None:
    ledger = Ledger()
    found = team(ledger, Say("a", *["A"] * 30), Say("b", "C")).propose(context(2, running=[running(1, "A")]))
    assert found.title == "C = 2"
    (ended,) = ledger.of("brief_ended")
    assert (ended["outcome"], ended["reason"]) == ("failed", "its change belongs to an axis of another brief: knob.a")


def test_an_axis_is_free_when_its_experiment_has_ended_though_a_lane_still_lists_it() -> None:
    ledger = Ledger()
    crowd = team(ledger, Say("a", *["A"] * 60))
    first = crowd.propose(context(1))
    busy = [running(1, "A")]
    for _ in range(2):  # the same refusal is written once
        with pytest.raises(AgentAway):
            crowd.propose(context(2, running=busy))
    assert [e["outcome"] for e in ledger.of("brief_ended")] == ["failed"]
    ended = History((measured(1, "discard", first),), "score", "min")
    assert crowd.propose(context(2, ended, busy)).axis == "knob.a"


def test_the_briefs_of_juniors_that_think_side_by_side_have_different_axes() -> None:
    ledger, names = Ledger(), "ABC"
    crowd = team(ledger, *(Thinker(name, name) for name in names))
    found = crowd.propose(context(1))
    briefs = ledger.of("brief")
    assert len(briefs) == 3 and len({each["axis"] for each in briefs}) == 3
    assert found.talk["brief"] in {each["brief"] for each in briefs}


def test_ten_rounds_of_three_thinking_juniors_never_share_an_axis() -> None:
    ledger, done = Ledger(), []
    crowd = team(ledger, *(Thinker(name, *"ABCABCABCABC") for name in ("x", "y", "z")))
    for number in range(1, 11):
        found = crowd.propose(context(number, History(tuple(done), "score", "min")))
        done.append(measured(number, "discard", found))
        live = [m for m in minutes_of(ledger.lines, History(tuple(done), "score", "min")) if m.outcome == "open"]
        assert len({m.axis for m in live}) == len(live)


def measured(number: int, status: Any, proposal: Proposal, **fields: Any) -> Experiment:
    plain: dict[str, Any] = {
        "value": 1.0,
        "gain": 0.0,
        "commit": f"{number:040x}",
        "base": None,
        "ref": None,
        "knobs": {},
        "reason": "",
        "started": "",
        "finished": "",
    }
    told = {"title": proposal.title, "axis": proposal.axis, "agent": proposal.agent, "talk": proposal.talk}
    return Experiment(number=number, status=status, **{**plain, **told, **fields})


# --- what comes back is a proposal, or a named failure


def test_a_junior_that_only_talks_is_a_status(tmp_path: Path, screen: Recorder) -> None:
    lab = write_command_lab(tmp_path / "lab")
    ledger = Ledger()
    with opened(lab, "t") as session:
        research(session, team(ledger, Say("talker", talks=True), Say("b")), Policy(experiments=1), screen)
        (first,) = session.journal().history.experiments[1:]
    assert (first.status, first.reason, first.talk["junior"]) == ("invalid", "no proposal in the reply", "talker")
    assert first.measurements == ()


def test_a_proposal_that_cannot_be_carried_is_a_conflict_and_is_never_handed_out() -> None:
    ledger, why = Ledger(), "both changed solver.py"
    crowd = team(ledger, Thinker("x", "A"), Thinker("y", "B"), carry=lambda mine, base, theirs: why)
    first = crowd.propose(context(1))
    history = History((measured(1, "keep", first),), "score", "min")
    moved = Context(2, "", {"solver.py": "A = 1.0\nB = 1.0\nC = 1.0\n"}, history, "", 42)
    with pytest.raises(AgentError, match="has nothing left"):
        crowd.propose(moved)
    ended = ledger.of("brief_ended")[0]
    assert (ended["outcome"], ended["reason"]) == ("conflict", f"another change was kept in the meantime, and {why}")


def test_a_junior_whose_agent_fails_rests_and_the_others_go_on() -> None:
    ledger = Ledger()
    crowd = team(ledger, Say("a"), Say("b", "A", "B"))
    assert [crowd.propose(context(number)).agent for number in (1, 2)] == ["b", "b"]
    assert ("failed", "a has nothing left") in [(e["outcome"], e["reason"]) for e in ledger.of("brief_ended")]
    with pytest.raises(AgentError, match="b has nothing left"):
        crowd.propose(context(3))


def test_briefs_that_a_dead_process_left_open_are_lost_and_their_numbers_are_not_used_again() -> None:
    ledger = Ledger()
    team(ledger, Say("a", "A")).propose(context(1))
    again = team(ledger, Say("a", "B")).propose(context(1))
    assert again.talk["brief"] == 2
    assert ledger.minutes()[0].outcome == "lost"


# --- brackets


@pytest.mark.parametrize(
    ("before", "after", "gain", "expected"),
    [
        (5.0, 3.0, 1.0, ["A 3.0 -> 4.0 (midpoint of #1)", "A 3.0 -> 2.0 (half overshoot of #1)"]),
        (2, 6, 1.0, ["A 6 -> 4 (midpoint of #1)", "A 6 -> 8 (half overshoot of #1)"]),
        (5.0, 3.0, 0.2, []),
        ("relu", "silu", 1.0, []),
    ],
)
def test_a_clear_gain_is_followed_by_its_midpoint_and_half_overshoot(
    before: Any, after: Any, gain: float, expected: list[str]
) -> None:
    ledger, junior = Ledger(), Say("a", *"BCBC")
    crowd = team(ledger, junior)
    kept = measured(1, "keep", Proposal("A", {}, "knob.a"), gain=gain, knobs={"A": (before, after)})
    files = {"solver.py": f"A = {after!r}\nB = 5.0\nC = 5.0\n"}
    done, titles = [kept], []
    for number in range(2, 5):
        now = Context(number, "", files, History(tuple(done), "score", "min"), "", 42, sigma=0.1)
        found = crowd.propose(now)
        done.append(measured(number, "discard", found))
        titles += [found.title] if found.agent == "chief" else []
    assert titles == expected
    assert len(junior.asked) == 3 - len(expected)


# --- a chief's model, a critic, the person's notes


def test_a_model_as_chief_words_questions_and_never_names_an_edit(tmp_path: Path) -> None:
    script = tmp_path / "chief.json"
    answer = {"order": ["knob.c", "nowhere"], "questions": {"knob.c": "How flat is it?", "knob.b": "set B to 3"}}
    script.write_text(json.dumps([answer]))
    from autoresearch_mlx.agents.team.agenda import agenda_of
    from autoresearch_mlx.agents.team.chief import ScriptedVoice

    chief, agenda = Chief(42, ScriptedVoice(script)), agenda_of(context())
    first = chief.order(context(), agenda, (), 1)
    assert first is not None and (first.axis, first.question) == ("knob.c", "How flat is it?")
    rest = chief.order(context(), agenda, ("knob.a", "knob.c"), 2)
    assert rest is not None and (rest.axis, rest.question) == ("knob.b", "Does a change of knob.b gain anything?")
    assert chief.order(context(), agenda, ("knob.a", "knob.b", "knob.c"), 3) is None


def test_a_persons_note_reaches_the_chief() -> None:
    ledger = Ledger()
    found = team(ledger, Thinker("x", "B"), Thinker("y")).propose(context(1, notes=["please look at B"]))
    assert ledger.of("brief")[0]["axis"] == "knob.b"
    assert found.talk["note"] == "please look at B"


def reply(request: Received) -> Any:
    text = request.prompt
    if "Proposals:" in text:
        number = text.split("Proposals:\n- ")[1].split(":")[0]
        return say(json.dumps({"order": [], "drop": {number: "seen before"} if number == "1" else {}}))
    axis = text.split("the axis 'knob.")[1].split("'")[0].upper() if "the axis 'knob." in text else "X"
    value = 7 if axis == "Y" else 7.5
    return say(json.dumps({"title": axis, "axis": f"knob.{axis}", "hypothesis": "", "knobs": {axis: value}}))


@pytest.fixture(scope="module")
def with_a_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Journal]:
    """Return the night of a team with a critic and two juniors, all of them models on a real server."""
    lab = write_command_lab(tmp_path_factory.mktemp("team") / "lab")
    with OpenAIServer() as server:
        server.default = reply
        table = f'\n[agent]\nname = "team"\nmodel = "m"\nbase_url = "{server.base_url}"\nformat = "blocks"\n'
        table += '[team]\njuniors = ["chat", "chat"]\ncritic = "m"\n'
        (lab.root / "lab.toml").write_text((lab.root / "lab.toml").read_text() + table)
        done = command_line("run", "--experiments", "3", "--tag", "t", cwd=lab.root)
    assert done.returncode == 0, done.stderr
    return lab, read(lab.folder("t") / FILE)


@pytest.mark.slow
def test_a_critic_drops_a_proposal_before_anything_is_measured(with_a_model: tuple[Lab, Journal]) -> None:
    _, journal = with_a_model
    first = minutes_of(journal.briefs, journal.history)[0]
    assert (first.outcome, first.reason, first.experiment) == ("dropped", "by the critic: seen before", None)
    assert 1 not in {e.talk.get("brief") for e in journal.history.experiments}


@pytest.mark.slow
def test_the_minutes_are_in_status_log_and_report(with_a_model: tuple[Lab, Journal]) -> None:
    lab, journal = with_a_model
    words = "dropped: by the critic: seen before"
    for command in (("status",), ("log",)):
        assert words in " ".join(command_line(*command, cwd=lab.root).stdout.split())
    told = json.loads(command_line("status", "--json", cwd=lab.root).stdout)
    assert len(told["minutes"]) == len(minutes_of(journal.briefs, journal.history))
    assert command_line("report", "--out", "page", cwd=lab.root).returncode == 0
    assert words in (lab.root / "page" / "report.md").read_text()
    assert words in (lab.root / "page" / "report.html").read_text()


# --- a team of one


@pytest.mark.slow
def test_a_team_of_one_junior_has_the_night_of_that_junior(tmp_path: Path, screen: Recorder) -> None:
    nights = []
    script = tmp_path / "steps.json"
    steps = [{"X": 3.5}, {"Y": 7}, {"X": 3.0}, {"Y": 5}, {"X": 9.0}, {"Y": 2}]
    script.write_text(json.dumps([{"title": str(knobs), "knobs": knobs} for knobs in steps]))
    for name in (f"scripted:{script}", "team"):
        lab = write_command_lab(tmp_path / name.partition(":")[0])
        options = {"agent.name": name, "team.juniors": [f"scripted:{script}"]}
        settings = load_settings(lab.root, options).settings
        with opened(lab, "t") as session, hired(session, settings, screen.say) as agent:
            research(session, agent, Policy(experiments=6), screen)
        lines = [json.loads(line) for line in (lab.folder("t") / FILE).read_text().splitlines()]
        nights.append([plain(line) for line in lines[1:]])
    assert nights[0] == nights[1] and len(nights[0]) > 12
    assert isinstance(load_agent("team", Office(team=TeamSettings(juniors=("knobs",)))), Knobs)


def plain(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line of a ledger without its times and the fields that depend on them."""
    timed = ("time", "started", "finished", "seconds", "measurements", "measurement", "base", "commit", "against")
    return {name: value for name, value in line.items() if name not in timed}


def test_a_team_of_nobody_else_is_refused() -> None:
    with pytest.raises(AgentError, match="a junior cannot be a team"):
        load_agent("team", Office(team=TeamSettings(juniors=("team", "knobs"))))
