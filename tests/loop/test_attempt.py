"""One experiment from proposal to verdict: refusals, smoke runs, other bases, agents that take up memory."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import Recorder, git, opened

from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Assignment, Context, Measurement, Proposal, Tenant
from autoresearch_mlx.judge import Again
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.loop.attempt import Attempt
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import recover, research
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.store.git import resolve
from autoresearch_mlx.store.notes import add_note
from autoresearch_mlx.targets.contract import TargetBase

FILE = "solver.py"


class Answers:
    """An agent that gives prepared answers; an answer that is a string contains no edit."""

    name = "answers"

    def __init__(self, *answers: Proposal | str) -> None:
        self._answers = list(answers)
        self.contexts: list[Context] = []

    def propose(self, context: Context) -> Proposal:
        self.contexts.append(context)
        if not self._answers:
            raise AgentError("nothing more to say")
        answer = self._answers.pop(0)
        return Proposal("no edit", {}, agent=self.name, problem=answer) if isinstance(answer, str) else answer


class Guest(Answers):
    """An agent that takes up memory, and records when it is asked to free it."""

    def __init__(self, *answers: Proposal | str) -> None:
        super().__init__(*answers)
        self.left: list[int] = []

    def make_room(self, context: Context) -> Mapping[str, float]:
        self.left.append(context.number)
        return {"unload": 1.5}

    def close(self) -> None:
        pass


def knobs(text: str, **values: object) -> Proposal:
    return Proposal(f"{values}", {FILE: set_knobs(text, values)}, agent="answers")


@pytest.fixture
def text(command_lab: Lab) -> str:
    return (command_lab.root / FILE).read_text()


def test_an_answer_that_is_no_edit_goes_back_with_its_problem(command_lab: Lab, screen: Recorder, text: str) -> None:
    agent = Answers("no fenced block", "still none", knobs(text, X=3.0))
    with opened(command_lab, "t") as session:
        research(session, agent, Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert done.status == "keep"
    assert [list(c.feedback) for c in agent.contexts] == [[], ["no fenced block"], ["no fenced block", "still none"]]


def test_after_the_last_repair_it_is_invalid_with_the_problem_as_reason(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Answers("a", "b", "c", "d"), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert (done.status, done.reason, done.measurements) == ("invalid", "c", ())
    assert done.commit is not None and git(command_lab.root, "diff", "--name-only", f"{done.base}", done.commit) == ""


def test_the_same_answer_twice_ends_the_asking(command_lab: Lab, screen: Recorder) -> None:
    agent = Answers("a", "a", "b")
    with opened(command_lab, "t") as session:
        research(session, agent, Policy(experiments=1), screen)
    assert len(agent.contexts) == 2


def test_what_the_asking_took_is_in_the_ledger(command_lab: Lab, screen: Recorder, text: str) -> None:
    proposal = Proposal("X", {FILE: set_knobs(text, {"X": 3.0})}, talk={"model": "m", "prompt_tokens": 12})
    with opened(command_lab, "t") as session:
        research(session, Answers(proposal), Policy(experiments=1), screen)
        assert session.journal().history.experiments[1].talk == {"model": "m", "prompt_tokens": 12}


def test_the_notes_of_the_person_reach_the_agent(command_lab: Lab, screen: Recorder, text: str) -> None:
    agent = Answers(knobs(text, X=3.0))
    with opened(command_lab, "t") as session:
        add_note(session.folder, "smaller X first")
        research(session, agent, Policy(experiments=1), screen)
    (context,) = agent.contexts
    assert list(context.notes) == ["smaller X first"]
    (baseline,) = context.history.experiments
    assert baseline.commit is not None and context.read(baseline.commit) == {FILE: text}
    assert "METRIC score=11" in context.log_tail(baseline)


def test_an_edit_that_only_reseeds_is_refused(command_lab: Lab, screen: Recorder, text: str) -> None:
    agent = Answers(Proposal("lucky", {FILE: f"import random\nrandom.seed(7)\n{text}"}))
    (command_lab.root / FILE).write_text(f"import random\nrandom.seed(42)\n{text}")
    git(command_lab.root, "commit", "-qam", "seeded")
    with opened(command_lab, "t", agent__repairs=0) as session:
        research(session, agent, Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert (done.status, done.measurements) == ("invalid", ())
    assert done.reason == "only seeds are changed: a lucky seed is not a gain, and the harness sets the seed"


def test_an_edit_that_carries_data_is_refused(command_lab: Lab, screen: Recorder, text: str) -> None:
    agent = Answers(Proposal("known by heart", {FILE: f"{text}\nKNOWN = {list(range(60))}\n"}))
    with opened(command_lab, "t", agent__repairs=0, literals__statement_bytes=50) as session:
        research(session, agent, Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert (done.status, done.measurements) == ("invalid", ())
    assert "bytes of literals in one statement" in done.reason and "more than 50" in done.reason


# --- another base than the incumbent


def test_a_proposal_may_depart_from_an_older_version(command_lab: Lab, screen: Recorder, text: str) -> None:
    with opened(command_lab, "t") as session:
        research(session, Answers(knobs(text, X=3.5)), Policy(experiments=1), screen)
        baseline, first = session.journal().history.experiments
        older = Proposal("Y alone", {FILE: set_knobs(text, {"Y": 5})}, base=baseline.commit)
        research(session, Answers(older), Policy(experiments=1), screen)
        second = session.journal().history.experiments[2]
        settled = session.workspace.tip()
    assert second.status == "keep"
    assert (second.base, second.knobs) == (baseline.commit, {"Y": (2, 5)})
    assert second.gain == pytest.approx(10.25 - 2.0), "the gain is against the incumbent of its time"
    assert settled == second.commit != first.commit
    with opened(command_lab, "t") as session:
        recover(session, screen)
        assert session.workspace.tip() == second.commit


def test_a_death_on_an_older_version_is_recovered_with_what_was_tried(
    command_lab: Lab, screen: Recorder, text: str
) -> None:
    with opened(command_lab, "t") as session:
        research(session, Answers(knobs(text, X=3.5)), Policy(experiments=1), screen)
        baseline = session.journal().history.experiments[0]
        attempt = Attempt.start(session, session.worker)
        proposal = Proposal("Y alone", {FILE: set_knobs(text, {"Y": 5})}, base=baseline.commit)
        assert isinstance(attempt.propose(Answers(proposal), screen.progress), Again)
        attempt.commit()
    with opened(command_lab, "t") as session:
        recover(session, screen)
        left = session.journal().history.experiments[2]
    assert (left.status, left.title, left.base) == ("interrupted", "Y alone", baseline.commit)
    assert left.knobs == {"Y": (2, 5)}


# --- memory


def test_an_agent_that_takes_up_memory_leaves_before_a_measurement(
    command_lab: Lab, screen: Recorder, text: str
) -> None:
    agent = Guest("nonsense", knobs(text, X=3.0), "a", "b", "c")
    assert isinstance(agent, Tenant)
    with opened(command_lab, "t") as session:
        research(session, agent, Policy(experiments=2), screen)
        kept, invalid = session.journal().history.experiments[1:]
    assert agent.left == [1], "a refused proposal needs no room"
    assert kept.seconds["unload"] == 1.5
    assert invalid.status == "invalid" and "unload" not in invalid.seconds


# --- smoke runs


class Smoking(TargetBase):
    """The lab's own target with a smoke run before the real run; the smoke run fails for files that contain a mark."""

    def __init__(self, session: Session) -> None:
        self._target = session.target
        self.name, self.metric, self.direction = session.target.name, session.target.metric, session.target.direction
        self.smoked = 0

    def refuse(self, files: Mapping[str, str]) -> str | None:
        return self._target.refuse(files)

    def measure(self, assignment: Assignment) -> Measurement:
        return self._target.measure(assignment)

    def smoke(self, assignment: Assignment) -> Measurement:
        self.smoked += 1
        log = assignment.folder / "log.txt"
        log.write_text("Traceback\nNameError: name 'gelu' is not defined\n")
        bad = "gelu" in (assignment.tree / FILE).read_text()
        return Measurement(None if bad else 1.0, 0, "crash" if bad else None, "NameError: gelu", log="log.txt")


def with_smoke(session: Session) -> tuple[Session, Smoking]:

    target = Smoking(session)
    return session.measuring(target=target), target


def test_code_that_fails_its_smoke_run_goes_back_with_its_log(command_lab: Lab, screen: Recorder, text: str) -> None:
    broken = Proposal("gelu", {FILE: f"{text}\ny = 'gelu'\n"})
    agent = Guest(broken, knobs(text, X=3.5))
    with opened(command_lab, "t") as opened_session:
        session, target = with_smoke(opened_session)
        research(session, agent, Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert (done.status, target.smoked, agent.left) == ("keep", 1, [1, 1])
    (said,) = agent.contexts[1].feedback
    assert said.startswith("smoke run: NameError: gelu") and "name 'gelu' is not defined" in said
    assert len(done.measurements) == 1 and done.measurements[0].value == 10.25


def test_code_that_never_gets_through_is_a_crash_that_was_not_measured(
    command_lab: Lab, screen: Recorder, text: str
) -> None:
    tries = [Proposal("gelu", {FILE: f"{text}\ny = 'gelu {n}'\n"}) for n in range(3)]
    with opened(command_lab, "t") as opened_session:
        session, target = with_smoke(opened_session)
        research(session, Answers(*tries), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
        log = Path(session.folder / str(done.measurements[0].log))
        assert log.exists()
    assert (done.status, done.value, target.smoked) == ("crash", None, 3)
    assert done.reason == "smoke run: NameError: gelu"
    assert "gelu 2" in git(command_lab.root, "show", f"{done.ref}:{FILE}"), "the last try is the commit"


def test_a_change_of_knobs_alone_needs_no_smoke_run(command_lab: Lab, screen: Recorder, text: str) -> None:
    with opened(command_lab, "t") as opened_session:
        session, target = with_smoke(opened_session)
        research(session, Answers(knobs(text, X=3.0)), Policy(experiments=1), screen)
    assert target.smoked == 0


def test_an_agent_that_gives_up_after_a_smoke_run_leaves_no_ref(command_lab: Lab, screen: Recorder, text: str) -> None:
    with opened(command_lab, "t") as opened_session:
        session, _ = with_smoke(opened_session)
        said = research(session, Answers(Proposal("gelu", {FILE: f"{text}\ny = 'gelu'\n"})), Policy(), screen)
        assert not session.journal().running
    assert said == "nothing more to say"
    assert resolve(command_lab.root, "refs/autoresearch/t/1") is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "nothing"),
        ("x", "a str, not a Proposal"),
        (Proposal("t", {FILE: 3}), "a proposal whose files do not map paths to texts"),  # type: ignore[dict-item]
        (Proposal("t", None), "a proposal whose files do not map paths to texts"),  # type: ignore[arg-type]
        (Proposal("t", {}, axis=5), "a proposal with axis = 5, neither a text nor None"),  # type: ignore[arg-type]
        (Proposal("t", {}, rationale=None), "a proposal with rationale = None, not a string"),  # type: ignore[arg-type]
        (Proposal("t", {}, talk={"x": object()}), "a proposal whose talk is not plain JSON: .*"),
    ],
)
@pytest.mark.parametrize("lanes", [1, 2])
def test_an_answer_that_is_no_proposal_ends_the_night(
    command_lab: Lab, screen: Recorder, answer: object, said: str, lanes: int
) -> None:
    class Bad:
        name = "bad"

        def propose(self, context: Context) -> object:
            return answer

    with opened(command_lab, "t", run__lanes=lanes) as session:
        reason = research(session, Bad(), Policy(), screen)  # type: ignore[arg-type]
        assert re.fullmatch(f"the agent bad returned {said}", reason)
        assert not session.journal().running


def test_a_proposal_that_starts_from_an_unknown_commit_is_invalid(
    command_lab: Lab, screen: Recorder, text: str
) -> None:
    lost = dataclasses.replace(knobs(text, X=3.0), base="deadbeef")
    with opened(command_lab, "t") as session:
        research(session, Answers(lost, lost, lost), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert (done.status, done.reason) == (
        "invalid",
        "the proposal starts from 'deadbeef', which is not a commit of this session",
    )
