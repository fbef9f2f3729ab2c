"""The optimiser's ranking as a list: moves over different axes, with what is expected of each."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prompt_cases import experiment, night, small

from autoresearch_mlx.agents.knobs.knobs_agent import Knobs
from autoresearch_mlx.agents.knobs.ranked_moves import ranked_moves
from autoresearch_mlx.agents.knobs.space import read_space
from autoresearch_mlx.experiment import History
from autoresearch_mlx.lab.source import changed_knobs


@pytest.mark.parametrize("context", [night(), small(), replace(night(), history=History((), "val_bpb", "min"))])
def test_each_move_is_a_fresh_change_within_the_ranges_that_comes_as_files(context) -> None:
    moves = ranked_moves(context)
    ranges = {d.name: d.range for d in read_space(context.files)}
    assert moves
    assert len({tuple(sorted(move.files.items())) for move in moves}) == len(moves)
    for move in moves:
        changed = {}
        for path, text in move.files.items():
            changed |= changed_knobs(context.files[path], text)
        assert changed == dict(move.changes)
        for name, (_, value) in move.changes.items():
            r = ranges[name]
            assert value in r.choices if r.kind == "choice" else r.low <= value <= r.high
        assert 0 <= move.failing <= 1


def test_ten_moves_have_ten_axes_where_there_are_ten() -> None:
    moves = ranked_moves(night(), 10)
    assert len({move.axis for move in moves}) == len(moves) == 10


def test_when_every_axis_has_a_move_the_next_best_follow() -> None:
    files = {"solver.py": "MATRIX_LR = 0.04\nDEPTH = 4  # knob: int 2 8\n"}
    moves = ranked_moves(small(files=files, history=History((), "score", "min")), 6)
    assert len(moves) == 6
    assert len({move.axis for move in moves[:2]}) == 2


def test_the_first_is_what_the_optimiser_would_propose() -> None:
    proposal = Knobs().propose(night())
    assert ranked_moves(night())[0].files == proposal.files


def test_no_gain_is_promised_before_one_was_measured() -> None:
    baseline = small().history.experiments[0]
    crash = experiment(1, "crash", None, base="c0", knobs={"X": (4.0, 9.0)})
    for move in ranked_moves(small(history=History((baseline, crash), "score", "min"))):
        assert move.gain is None and move.deviation is None
    assert all(move.gain is not None for move in ranked_moves(night()))


@pytest.mark.parametrize("files", [{}, {"solver.py": "print(1)\n"}, {"notes.md": "DEPTH = 3\n"}])
def test_files_without_knobs_give_no_moves(files: dict[str, str]) -> None:
    assert ranked_moves(small(files=files)) == ()


def test_the_same_context_gives_the_same_list() -> None:
    assert ranked_moves(night()) == ranked_moves(night())
