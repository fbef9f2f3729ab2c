"""``knobs`` in the loop: its proposals follow the loop's rules, whatever the outcomes are."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_mlx.agents.knobs.joint_moves import MOST
from autoresearch_mlx.agents.knobs.knobs_agent import Knobs
from autoresearch_mlx.agents.knobs.naming import NAMED
from autoresearch_mlx.agents.knobs.ranges import Range
from autoresearch_mlx.agents.knobs.space import read_space
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context, Experiment, History, Measurement, Proposal, Running
from autoresearch_mlx.lab.source import changed_knobs, describe, read_knobs
from bench.knob_file import TEXT

FILE = "train_mlx.py"
SMALL = "DEPTH = 4  # knob: int 2 6\nWINDOW = 'L'  # knob: choice L SL\nMATRIX_LR = 0.04\nNAME = 'gpt'\nprint(DEPTH)\n"
STATUSES = ("keep", "discard", "crash", "timeout", "invalid", "interrupted", "duplicate")
outcomes = st.lists(st.tuples(st.sampled_from(STATUSES), st.floats(0.0, 0.1)), max_size=12)


def context(number: int, text: str, done: list[Experiment], *feedback: str) -> Context:
    return Context(number, "", {FILE: text}, History(tuple(done), "val_bpb", "min"), "", 0, feedback)


def experiment(number: int, status: str, value: float | None, knobs: dict, base: str | None) -> Experiment:
    failure = status if status in ("crash", "timeout", "invalid") else None
    measured = () if status in ("interrupted", "duplicate") else (Measurement(value, 0, failure),)
    return Experiment(
        number, status, value, None, f"c{number}", base, None, "", None, knobs, "knobs", "", "", "", measured
    )


class Session:
    """A session as the loop would keep it, with outcomes that the test gives instead of measurements."""

    def __init__(self, text: str = TEXT, seed: int = 0) -> None:
        self.text, self.seed = text, seed
        self.done = [experiment(0, "keep", 1.0, {}, None)]
        self.base, self.best = "c0", 1.0

    def next(self, *feedback: str) -> Context:
        return context(len(self.done), self.text, self.done, *feedback)

    def step(self, status: str, change: float) -> Proposal:
        proposal = Knobs(self.seed).propose(self.next())
        after = proposal.files[FILE]
        number, kept = len(self.done), status == "keep"
        value = {"keep": self.best - change - 1e-6, "discard": self.best + change}.get(status)
        self.done.append(experiment(number, status, value, changed_knobs(self.text, after), self.base))
        if kept:
            self.text, self.base, self.best = after, f"c{number}", value
        return proposal


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(outcomes=outcomes, seed=st.integers(0, 10), text=st.sampled_from([TEXT, SMALL]))
def test_every_proposal_is_a_small_fresh_change_of_knobs_within_their_ranges(outcomes, seed: int, text: str) -> None:
    session = Session(text, seed)
    ranges = {d.name: d.range for d in read_space({FILE: text})}
    seen = {tuple(k.value for k in read_knobs(text).values())}
    for status, change in outcomes:
        before = session.text
        proposal = session.step(status, change)
        after = proposal.files[FILE]
        changes = changed_knobs(before, after)
        assert 1 <= len(changes) <= MOST
        if len(changes) <= NAMED:
            assert sorted(proposal.title.split(", ")) == sorted(describe(changes).split(", "))
        else:
            assert " more knobs" in proposal.title or ", from experiment " in proposal.title
        assert _without_values(after) == _without_values(before)
        for name, (_, value) in changes.items():
            assert _allowed(ranges[name], value)
        point = tuple(k.value for k in read_knobs(after).values())
        assert point not in seen
        if status != "interrupted":
            seen.add(point)


def _allowed(allowed: Range, value) -> bool:
    if allowed.kind == "choice":
        return value in allowed.choices
    return allowed.low <= value <= allowed.high


def _without_values(text: str) -> list[str]:
    return [line.split("=")[0] + line.partition("#")[2] for line in text.splitlines()]


@pytest.mark.slow
@pytest.mark.uncounted
@settings(max_examples=15, deadline=None)
@given(outcomes=outcomes, seed=st.integers(0, 10))
def test_the_same_context_and_seed_give_the_same_proposal(outcomes, seed: int) -> None:
    session, agent = Session(seed=seed), Knobs(seed)
    for status, change in outcomes:
        agent.propose(session.next())  # an agent that proposed the whole night
        session.step(status, change)
    assert agent.propose(session.next()) == Knobs(seed).propose(session.next())


def test_another_seed_walks_another_way() -> None:
    """The first step follows the public records, whatever the seed; the next ones do not."""
    walks = set()
    for seed in range(4):
        session = Session(seed=seed)
        walks.add(tuple(session.step("discard", 0.01).title for _ in range(3)))
    assert len(walks) > 1


def test_each_refusal_passes_on_to_another_point() -> None:
    session = Session()
    for status in ("discard", "keep", "crash", "discard"):
        session.step(status, 0.01)
    refusals = [["refused"] * k for k in range(20)]
    assert len({Knobs().propose(session.next(*said)).files[FILE] for said in refusals}) == 20


def test_the_reasons_are_given_in_numbers() -> None:
    session = Session()
    assert "No step measured yet" in session.step("keep", 0.01).rationale
    proposal = session.step("discard", 0.01)
    assert "Expected gain" in proposal.rationale
    assert proposal.agent == "knobs"
    assert proposal.axis
    assert "of its range" in proposal.rationale
    assert "chance of failing" in proposal.rationale


@pytest.mark.slow
@pytest.mark.uncounted
def test_a_direction_that_crashed_is_left_alone() -> None:
    """In this night every run with more layers than the start crashes, and no other change gains."""
    session = Session("DEPTH = 8  # knob: int 2 16\nMATRIX_LR = 0.04\nSCALAR_LR = 0.5\n")
    deeper = [_run_with_ceiling(session, 8) for _ in range(32)]
    assert sum(deeper) <= 8
    assert sum(deeper[16:]) <= 2


def _run_with_ceiling(session: Session, ceiling: int) -> bool:
    (_, depth) = changed_knobs(session.text, Knobs().propose(session.next()).files[FILE]).get("DEPTH", (8, 8))
    session.step("crash" if depth > ceiling else "discard", 0.01)
    return depth > ceiling


def test_every_knob_is_moved_alone_before_it_moves_with_others() -> None:
    session, alone = Session(), set()
    for number in range(10):
        moved = set(changed_knobs(session.text, session.step("discard", 0.05).files[FILE]))
        assert number > 1 or len(moved) == 1
        assert len(moved) == 1 or moved <= alone
        alone |= moved if len(moved) == 1 else set()


def test_a_tiny_space_is_used_up_to_its_last_point_and_then_says_so() -> None:
    session = Session("TIED = True\nDEPTH = 3  # knob: int 2 4\n")
    points = {session.step("discard", 0.01).files[FILE] for _ in range(5)}
    assert len(points) == 5
    with pytest.raises(AgentError, match="every combination of 2 knobs") as caught:
        session.step("discard", 0.01)
    assert "ranges" in caught.value.hint


def test_what_is_being_measured_is_not_proposed_again() -> None:
    session = Session(SMALL)
    for status, change in [("discard", -0.1), ("keep", 0.2), ("discard", -0.3)]:
        session.step(status, change)
    context, running, seen = session.next(), [], set()
    for number in range(context.number, context.number + 12):
        proposal = Knobs().propose(replace(context, number=number, running=running))
        assert proposal.files[FILE] not in seen
        seen.add(proposal.files[FILE])
        running.append(Running(number, proposal.title, proposal.axis, {}, {**context.files, **proposal.files}))


@pytest.mark.parametrize("knob", ["TOTAL_BATCH_SIZE", "MATRIX_LR", "SCALAR_LR", "FINAL_LR_FRAC"])
def test_a_knob_with_a_usual_direction_may_have_words_or_huge_numbers_as_values(knob: str) -> None:
    for line in ("'auto'  # knob: choice auto fixed", f"0.5  # knob: choice 0.5 1{'0' * 400}", "True"):
        assert Knobs().propose(context(1, f"{knob} = {line}\n", [])).files


def test_files_without_knobs_cannot_be_searched() -> None:
    with pytest.raises(AgentError, match="no knob to move"):
        Knobs().propose(context(1, "print('hello')\n", []))


def test_a_session_without_a_finished_baseline_gets_a_proposal_all_the_same() -> None:
    assert Knobs().propose(context(1, SMALL, [])).files


def test_constant_values_and_extreme_ones_do_not_stop_it() -> None:
    session = Session(SMALL)
    for status, change in [("discard", 0.0), ("discard", 1e9), ("keep", 1e-9), ("discard", 0.0), ("crash", 0.0)]:
        session.step(status, change)
    assert Knobs().propose(session.next()).files


def test_what_other_agents_did_takes_part() -> None:
    session = Session("TIED = True\nDEPTH = 3  # knob: int 2 3\n")
    theirs = experiment(1, "discard", 1.1, {"DEPTH": (3, 2)}, "c0")
    session.done.append(replace(theirs, agent="chat"))
    session.done.append(replace(experiment(2, "duplicate", None, {"TIED": (True, False)}, "c0"), agent="chat"))
    assert changed_knobs(session.text, Knobs().propose(session.next()).files[FILE]) == {
        "TIED": (True, False),
        "DEPTH": (3, 2),
    }


def test_a_night_of_nothing_but_crashes_goes_on() -> None:
    session = Session(SMALL)
    titles = {session.step("crash", 0.0).title for _ in range(12)}
    assert len(titles) == 12


def test_ranges_by_kind_lie_around_the_first_value_not_the_last() -> None:
    session = Session("MATRIX_LR = 0.04\n")
    for _ in range(15):
        session.step("keep", 0.01)
        assert 0.004 <= read_knobs(session.text)["MATRIX_LR"].value <= 0.4


def test_it_goes_on_from_a_point_that_a_lucky_incumbent_turned_down() -> None:
    """By luck the incumbent measured 0.003 better than it is, so a change that really gains was not kept."""
    text = "A = 0.5\nB = 0.5\nC = 0.5\n"
    tried = [("A", 0.52, 1.005), ("A", 0.48, 1.005), ("B", 0.64, 1.001), ("B", 0.65, 1.002), ("B", 0.66, 1.003)]
    done = [experiment(0, "keep", 0.9995, {}, None)]
    for name, now, value in tried:
        done.append(experiment(len(done), "discard", value, {name: (0.5, now)}, "c0"))
    proposal = Knobs().propose(replace(context(len(done), text, done), sigma=0.002))
    assert "B" in changed_knobs(text, proposal.files[FILE])
    assert (
        "starts from experiment 5, the measured point that is expected to be best: B 0.5 -> 0.66." in proposal.rationale
    )
