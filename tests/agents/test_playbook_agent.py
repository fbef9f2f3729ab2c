"""The playbook replays another machine's winners: first each alone against the baseline, then one on top of the
other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder, git, opened, write_command_lab
from playbook_cases import table

from autoresearch_mlx.agents.playbook import Playbook
from autoresearch_mlx.errors import AgentError, TableError
from autoresearch_mlx.experiment import Context, Experiment, History, Proposal, Status
from autoresearch_mlx.lab.source import changed_knobs, fingerprint, read_knobs
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.store.ledger import FILE as LEDGER
from autoresearch_mlx.store.ledger import read

FILE = """\
BATCH = 2**11  # knob: pow2 256 65536
DEPTH = 4  # knob: int 1 12
MATRIX_LR = 0.04
WARMDOWN_RATIO = 0.6  # knob: lin 0.1 1
"""
BASE = "c0"


@dataclass
class Night:
    """A history made by hand: it treats each proposal as the loop would, without a loop."""

    text: str = FILE
    margin: float = 0.0
    metric: str = "val_bpb"
    experiments: list[Experiment] = field(default_factory=list)
    commits: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log(Proposal("baseline", {"train.py": self.text}), "keep", 1.0)

    def log(self, proposal: Proposal, status: Status, value: float | None, agent: str | None = None) -> Experiment:
        number = len(self.experiments)
        base = proposal.base or (self.incumbent if self.experiments else "start")
        before = self.commits.get(base, {"train.py": self.text})
        after = {**before, **proposal.files}
        done = Experiment(
            number=number,
            status=status,
            value=value,
            gain=None,
            commit=f"c{number}",
            base=base,
            ref=None,
            title=proposal.title,
            axis=proposal.axis,
            knobs=changed_knobs(before["train.py"], after["train.py"]),
            agent=proposal.agent if agent is None else agent,
            reason="",
            started="",
            finished="",
            fingerprint=fingerprint(after),
        )
        self.experiments.append(done)
        self.commits[f"c{number}"] = after
        return done

    @property
    def history(self) -> History:
        return History(tuple(self.experiments), self.metric, "min")

    @property
    def incumbent(self) -> str:
        best = self.history.incumbent
        assert best is not None and best.commit is not None
        return best.commit

    def context(self, *feedback: str) -> Context:
        files = self.commits[self.incumbent]
        number = len(self.experiments)
        return Context(number, "", files, self.history, "", 0, feedback, read=self.commits.__getitem__)

    def knobs(self, proposal: Proposal) -> dict[str, Any]:
        files = {**self.commits[proposal.base or self.incumbent], **proposal.files}
        return {name: knob.value for name, knob in read_knobs(files["train.py"]).items()}

    def play(self, agent: Playbook, score: Callable[[Mapping[str, Any]], float]) -> Proposal:
        """Run one experiment: measure it by ``score`` of the knobs, and keep it when it beats the incumbent."""
        proposal = agent.propose(self.context())
        value, best = score(self.knobs(proposal)), self.history.incumbent
        assert best is not None and best.value is not None
        self.log(proposal, "keep" if best.value - value > self.margin else "discard", value)
        return proposal

    def to_its_end(self, agent: Playbook, score: Callable[[Mapping[str, Any]], float]) -> Iterator[Proposal]:
        for _ in range(50):
            try:
                yield self.play(agent, score)
            except AgentError:
                return
        raise AssertionError("the playbook has no end")


def helps(**gains: float) -> Callable[[Mapping[str, Any]], float]:
    """Return a score that each of these knobs lowers by its gain, once the knob differs from the file's value."""
    start = {name: knob.value for name, knob in read_knobs(FILE).items()}
    return lambda knobs: 1.0 - sum(gain for name, gain in gains.items() if knobs[name] != start[name])


@pytest.fixture
def book(tmp_path: Path) -> Playbook:
    return Playbook(table(tmp_path))


# --- alone


def test_the_first_proposal_is_the_largest_winner_as_one_change_of_the_baseline(book: Playbook) -> None:
    night = Night()
    proposal = book.propose(night.context())
    assert proposal.title == "Elsewhere: BATCH x0.5 (2**11 -> 2**10)"
    assert proposal.files == {"train.py": FILE.replace("2**11", "2**10")}
    assert (proposal.base, proposal.axis, proposal.agent) == (BASE, "batch", "playbook")
    assert proposal.rationale == (
        "BATCH 2**19 -> 2**18 gained 0.100000 on the Elsewhere (run 1 there). Carried over BATCH: by the ratio."
    )


def test_each_winner_is_tried_alone_against_the_baseline_even_after_a_keep(book: Playbook) -> None:
    night = Night()
    played = [night.play(book, helps(BATCH=0.1, DEPTH=0.05)) for _ in range(4)]
    assert [p.base for p in played] == [BASE] * 4
    assert [e.knobs for e in night.experiments[1:]] == [
        {"BATCH": (2048, 1024)},
        {"DEPTH": (4, 5)},
        {"MATRIX_LR": (0.04, 0.06)},
        {"WARMDOWN_RATIO": (0.6, 0.7)},
    ]


def test_what_does_not_fit_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    agent = Playbook(table(tmp_path), said.append)
    night = Night()
    night.play(agent, helps())
    night.play(agent, helps())
    assert agent.skipped == ("VALUE_WD: no such knob in the file",)
    assert said == ["playbook: 4 of 5 winners on the Elsewhere fit here; skipped: VALUE_WD: no such knob in the file"]


def test_a_resumed_night_goes_on_where_it_was(tmp_path: Path) -> None:
    night = Night()
    titles = [night.play(Playbook(table(tmp_path)), helps()).title for _ in range(4)]
    assert len(set(titles)) == 4


def test_what_another_agent_measured_already_is_not_tried_again(book: Playbook) -> None:
    night = Night()
    night.log(replace(book.propose(night.context()), title="by hand"), "keep", 0.9, agent="manual")
    assert "DEPTH" in book.propose(night.context()).title


@pytest.mark.parametrize("status", ["crash", "timeout", "invalid", "duplicate"])
def test_a_play_that_failed_is_not_repeated(book: Playbook, status: Status) -> None:
    night = Night()
    night.log(book.propose(night.context()), status, None)
    assert "DEPTH" in book.propose(night.context()).title


def test_a_refused_play_is_proposed_again_as_it_is_so_that_the_ledger_has_it(book: Playbook) -> None:
    night = Night()
    assert book.propose(night.context("it cannot be")) == book.propose(night.context())


def test_an_interrupted_play_is_tried_once_more_and_then_given_up(book: Playbook) -> None:
    night = Night()
    first = book.propose(night.context())
    night.log(first, "interrupted", None)
    assert book.propose(night.context()) == first
    night.log(first, "interrupted", None, agent="")  # as the loop logs an experiment that a dead process left
    assert "DEPTH" in book.propose(night.context()).title


# --- one on top of another


def test_what_gained_alone_is_stacked_upon_the_incumbent_best_first(book: Playbook) -> None:
    night = Night()
    machine = helps(BATCH=0.02, DEPTH=-0.03, MATRIX_LR=0.05, WARMDOWN_RATIO=0.01)
    played = list(night.to_its_end(book, machine))
    assert [p.title for p in played[4:]] == [
        "Elsewhere, stacked: BATCH x0.5 (2**11 -> 2**10)",
        "Elsewhere, stacked: WARMDOWN_RATIO 0.6 -> 0.7",
    ]
    assert [p.base for p in played[4:]] == [None, None]
    assert night.knobs(Proposal("", {})) == {"BATCH": 1024, "DEPTH": 4, "MATRIX_LR": 0.06, "WARMDOWN_RATIO": 0.7}


def test_a_layer_of_the_stack_that_loses_is_left_out_and_not_repeated(book: Playbook) -> None:
    night = Night()

    def quarrel(knobs: Mapping[str, Any]) -> float:
        both = knobs["MATRIX_LR"] != 0.04 and knobs["BATCH"] != 2048
        return helps(BATCH=0.02, MATRIX_LR=0.05, WARMDOWN_RATIO=0.01)(knobs) + (0.1 if both else 0.0)

    played = list(night.to_its_end(book, quarrel))
    assert [p.axis for p in played[4:]] == ["batch", "schedule.warmdown"]
    assert night.knobs(Proposal("", {}))["BATCH"] == 2048


def test_gains_too_small_to_be_kept_alone_are_stacked_upon_the_best_of_them(book: Playbook) -> None:
    night = Night(margin=0.025)
    played = list(night.to_its_end(book, helps(BATCH=0.02, DEPTH=0.01, MATRIX_LR=0.001)))
    assert [p.title for p in played[4:]] == [
        "Elsewhere, stacked: BATCH x0.5 (2**11 -> 2**10) + DEPTH +1 (4 -> 5)",
        "Elsewhere, stacked: MATRIX_LR x1.5 (0.04 -> 0.06)",
    ]
    assert [e.status for e in night.experiments[-2:]] == ["keep", "discard"]


def test_a_stack_that_is_never_kept_has_an_end_too(book: Playbook) -> None:
    night = Night(margin=1.0)
    played = list(night.to_its_end(book, helps(BATCH=0.03, DEPTH=0.02, MATRIX_LR=0.01)))
    assert [p.axis for p in played[4:]] == ["depth", "lr.matrix"]


def test_the_night_ends_the_same_however_often_it_is_resumed(tmp_path: Path) -> None:
    machine = helps(BATCH=0.02, MATRIX_LR=0.05, WARMDOWN_RATIO=0.01)
    one, other = Night(), Night()
    agent = Playbook(table(tmp_path))
    whole = [p.title for p in one.to_its_end(agent, machine)]
    resumed = [other.play(Playbook(table(tmp_path)), machine).title for _ in whole]
    assert resumed == whole


def test_at_the_end_it_says_how_much_carried_over(book: Playbook) -> None:
    night = Night()
    night.log(book.propose(night.context()), "crash", None)
    list(night.to_its_end(book, helps(DEPTH=0.1)))
    with pytest.raises(AgentError) as caught:
        book.propose(night.context())
    assert str(caught.value) == (
        "the playbook is finished: 4 winners of the Elsewhere tried alone, 1 gained over the baseline here,"
        " 1 failed, 1 now in the incumbent"
    )
    assert "autoresearch-mlx compare" in caught.value.hint


def test_a_knob_that_the_incumbents_code_has_lost_is_no_layer(book: Playbook) -> None:
    night = Night()
    for _ in range(4):
        night.play(book, helps(BATCH=0.02, DEPTH=0.01))
    night.log(Proposal("no layers", {"train.py": FILE.replace("DEPTH", "depth")}, agent="chat"), "keep", 0.5)
    assert [p.axis for p in night.to_its_end(book, helps(BATCH=0.6))] == ["batch"]


# --- labs where the table cannot be replayed


def test_another_metric_is_refused_at_once(book: Playbook) -> None:
    with pytest.raises(AgentError, match=r"lower val_bpb, but this session measures score \(min\)") as caught:
        book.propose(Night(metric="score").context())
    assert "--agent knobs" in caught.value.hint


def test_without_a_baseline_there_is_nothing_to_replay_against(book: Playbook) -> None:
    context = Context(1, "", {"train.py": FILE}, History((), "val_bpb", "min"), "", 0)
    with pytest.raises(AgentError, match="no baseline"):
        book.propose(context)


def test_a_file_that_no_winner_fits_is_told_so(book: Playbook) -> None:
    with pytest.raises(
        AgentError, match=r"none of the 5 winners on the Elsewhere fits: BATCH, DEPTH, .*: no such knob"
    ):
        book.propose(Night(text="WIDTH = 3\n").context())


def test_a_table_that_cannot_be_read_is_an_error_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot read the table"):
        Playbook(tmp_path / "none.tsv")


# --- in the loop


SOLVER = """\
TOTAL_BATCH_SIZE = 2**14  # knob: pow2 1024 131072
DEPTH = 4  # knob: int 1 12
EMBEDDING_LR = 0.6  # knob: log 0.05 3
WARMDOWN_RATIO = 0.5  # knob: lin 0.1 1
"""
BENCH = """\
from solver import DEPTH, EMBEDDING_LR, TOTAL_BATCH_SIZE, WARMDOWN_RATIO
assert WARMDOWN_RATIO == 0.5, "no room for a longer decay"
value = 1.9 - 0.2 * (TOTAL_BATCH_SIZE < 2**14) + 0.1 * (DEPTH > 4) - 0.3 * (EMBEDDING_LR > 0.6)
print(f"METRIC val_bpb={value:.6f}")
"""


@pytest.mark.slow
def test_a_night_of_the_h100s_and_the_macs_winners_on_a_command(tmp_path: Path, screen: Recorder) -> None:
    lab = write_command_lab(tmp_path / "lab")
    (lab.root / "solver.py").write_text(SOLVER)
    (lab.root / "bench.py").write_text(BENCH)
    (lab.root / "lab.toml").write_text((lab.root / "lab.toml").read_text().replace('"score"', '"val_bpb"'))
    git(lab.root, "commit", "-qam", "knobs of the H100")
    reasons = []
    for experiments in (1, 2, None):  # stopped and resumed in between
        with opened(lab, "t") as session:
            reasons.append(research(session, Playbook(say=screen.say), Policy(experiments=experiments), screen))
            text = session.workspace.read(session.incumbent(session.journal().history))["solver.py"]
    baseline, *done = read(lab.folder("t") / LEDGER).history.experiments
    assert [(e.title, e.status) for e in done] == [
        ("H100: TOTAL_BATCH_SIZE x0.5 (2**14 -> 2**13)", "keep"),
        ("H100: DEPTH +1 (4 -> 5)", "discard"),
        ("H100: EMBEDDING_LR x1.5 (0.6 -> 0.9)", "keep"),
        ("H100: WARMDOWN_RATIO 0.5 -> 0.75", "crash"),
        ("Macs: TOTAL_BATCH_SIZE x0.25 (2**14 -> 2**12)", "discard"),
        ("Macs: DEPTH -2 (4 -> 2)", "discard"),
        ("Macs: WARMDOWN_RATIO 0.5 -> 0.3", "crash"),
        ("H100, stacked: TOTAL_BATCH_SIZE x0.5 (2**14 -> 2**13)", "keep"),
    ]
    assert [e.base for e in done] == [baseline.commit] * 7 + [done[2].commit]
    assert [len(e.knobs) for e in done] == [1] * 8
    assert text == SOLVER.replace("2**14", "2**13", 1).replace("0.6 ", "0.9 ")
    assert reasons[-1].startswith(
        "the playbook is finished: 7 winners of the H100 and of Macs tried alone, 3 gained over the baseline here,"
        " 2 failed, 2 now in the incumbent"
    )
