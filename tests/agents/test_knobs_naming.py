"""A move is named for people: the largest step first, and the experiment that it starts from in place of its values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prompt_cases import night, small

from autoresearch_mlx.agents.knobs.knobs_agent import Knobs
from autoresearch_mlx.agents.knobs.naming import MoveName
from autoresearch_mlx.agents.knobs.ranked_moves import ranked_moves
from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.source import changed_knobs, describe

RATE: KnobChanges = {"MATRIX_LR": (0.04, 0.03)}
SIZE: KnobChanges = {"DEPTH": (4, 6), "WIDTH": (64, 48)}
TILED: KnobChanges = {"DECAY": (0.2, 0.1), "BETA2": (0.95, 0.9)}


@pytest.mark.parametrize(
    ("steps", "start", "title"),
    [
        (RATE, {}, "MATRIX_LR 0.04 -> 0.03"),
        ({**SIZE, **RATE}, {}, "DEPTH 4 -> 6, WIDTH 64 -> 48, MATRIX_LR 0.04 -> 0.03"),
        ({**SIZE, **RATE, **TILED}, {}, "DEPTH 4 -> 6, WIDTH 64 -> 48 and 3 more knobs"),
        (RATE, SIZE, "MATRIX_LR 0.04 -> 0.03, DEPTH 4 -> 6, WIDTH 64 -> 48"),
        (RATE, {**SIZE, **TILED}, "MATRIX_LR 0.04 -> 0.03, from experiment 7"),
        (
            {**SIZE, **TILED},
            RATE | {"BETA1": (0.8, 0.9)},
            "DEPTH 4 -> 6, WIDTH 64 -> 48 and 2 more knobs, from experiment 7",
        ),
    ],
)
def test_a_title_names_three_knobs_at_most(steps: KnobChanges, start: KnobChanges, title: str) -> None:
    name = MoveName("lr.matrix", steps, start, 7 if start else None, {**steps, **start})
    assert name.title == title
    assert len(name.title) <= 100


def test_every_title_of_a_long_night_begins_with_the_knob_that_moves_furthest() -> None:
    for move in ranked_moves(night()):
        main = next(iter(move.name.steps))
        assert move.name.title.startswith(main + " ")
        assert move.name.number == 21, "all moves start from the point that is expected to be best"
        assert move.name.start == {"MUON_RAMP_STEPS": (300, 100)}
        assert len(move.name.title) < 130


def test_the_steps_and_the_start_together_are_the_change_of_the_file() -> None:
    for move in ranked_moves(night()):
        reached = {name: now for name, (_, now) in {**move.name.start, **move.name.steps}.items()}
        (path, text), *_ = move.files.items()
        changed = changed_knobs(night().files[path], text)
        assert {name: now for name, (_, now) in changed.items()} == reached
        assert changed == dict(move.changes)


def test_a_move_of_the_incumbent_needs_no_starting_point() -> None:
    name = ranked_moves(small())[0].name
    assert (name.start, name.number) == ({}, None)
    assert name.title == describe(name.changes)


def test_the_optimisers_own_experiments_have_such_titles() -> None:
    proposal = Knobs().propose(night())
    best = ranked_moves(night())[0]
    assert (proposal.title, proposal.axis) == (best.name.title, best.axis)
    assert proposal.title.endswith(", MUON_RAMP_STEPS 300 -> 100"), "where experiment 21 differs from the incumbent"
    assert "starts from experiment 21" in proposal.rationale
    other = Knobs().propose(replace(night(), feedback=("tried before",)))
    assert other.title != proposal.title
