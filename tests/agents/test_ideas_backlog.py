"""The backlog: a journal of ideas, and the outcome of those that were taken, as the ledger shows it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from history_cases import night, tried

from autoresearch_mlx.agents.ideas.axis_names import axis_in, clean_axis, title_key
from autoresearch_mlx.agents.ideas.backlog import (
    FILE,
    add_ideas,
    drop,
    open_ideas,
    read_backlog,
    refilled,
    same_open,
    take,
)
from autoresearch_mlx.agents.ideas.idea import H100, LONGEST_TITLE, MOST_OPEN, YOU, Draft
from autoresearch_mlx.agents.ideas.listing import render_ideas
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Experiment

MODEL = "model:ollama:m"
WRITER = """
import sys
from pathlib import Path
from autoresearch_mlx.agents.ideas.backlog import add_ideas
from autoresearch_mlx.agents.ideas.idea import Draft
for number in range(int(sys.argv[3])):
    add_ideas(Path(sys.argv[1]), [Draft(f"{sys.argv[2]} {number}")], "you")
"""


def titles(folder: Path) -> list[str]:
    return [idea.title for idea in open_ideas(folder)]


def test_ideas_are_numbered_from_one_and_keep_what_was_said(tmp_path: Path) -> None:
    assert open_ideas(tmp_path) == ()
    draft = Draft("halve the batch", "batch", "more steps", 0.004, "constant", {"TOTAL_BATCH_SIZE": 8192})
    (first,) = add_ideas(tmp_path, [draft], MODEL)
    (second,) = add_ideas(tmp_path, [Draft("untie", "weight_tying")], YOU)
    assert [idea.id for idea in open_ideas(tmp_path)] == [1, 2]
    read = open_ideas(tmp_path)[0]
    assert (read.title, read.axis, read.hypothesis, read.expected) == ("halve the batch", "batch", "more steps", 0.004)
    assert (read.source, read.cost, read.knobs, read.state) == (MODEL, "constant", {"TOTAL_BATCH_SIZE": 8192}, "open")
    assert read.added and (first.id, second.source) == (1, YOU)


def test_an_idea_said_before_is_not_added_again(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("Halve the batch!"), Draft("deeper", "depth", knobs={"DEPTH": 5})], MODEL)
    again = [Draft("halve  the BATCH"), Draft("one layer more", "depth", knobs={"DEPTH": 5}), Draft(""), Draft("\x00")]
    assert add_ideas(tmp_path, again, H100) == ()
    assert len(add_ideas(tmp_path, [Draft("two layers more", "depth", knobs={"DEPTH": 6})], H100)) == 1


def test_a_model_does_not_bring_back_what_was_dropped_but_the_person_may(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("tie the weights")], MODEL)
    drop(tmp_path, 1)
    assert add_ideas(tmp_path, [Draft("tie the weights")], MODEL) == ()
    assert add_ideas(tmp_path, [Draft("tie the weights")], YOU)[0].id == 2
    assert add_ideas(tmp_path, [Draft("Tie the weights.")], YOU) == ()
    found = same_open(tmp_path, "tie THE weights", YOU)
    assert found is not None and found.id == 2


def test_the_person_takes_over_what_a_model_had_open(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("tie the weights"), Draft("deeper")], MODEL)
    add_ideas(tmp_path, [Draft("tie the weights")], YOU)
    assert [(i.id, i.source) for i in open_ideas(tmp_path)] == [(2, MODEL), (3, YOU)]


def test_when_room_is_short_distinct_axes_come_first(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft(f"idea {n}", f"axis{n}") for n in range(MOST_OPEN - 2)], MODEL)
    drafts = [Draft("a", "depth"), Draft("b", "depth"), Draft("c", "axis0"), Draft("d", "width"), Draft("e", "mlp")]
    assert [idea.title for idea in add_ideas(tmp_path, drafts, MODEL)] == ["a", "d"]
    assert len(open_ideas(tmp_path)) == MOST_OPEN
    assert add_ideas(tmp_path, [Draft("mine too")], YOU)


def test_what_a_draft_says_is_bounded_and_made_one_line(tmp_path: Path) -> None:
    odd = Draft("\x1b[1mbold\n" + "x" * 999, "LR / Matrix", "why\r\n" * 999, math.inf, "c" * 999, {"A": math.nan})
    (idea,) = add_ideas(tmp_path, [odd], MODEL)
    assert len(idea.title) == LONGEST_TITLE and idea.title.startswith("bold xxx")
    assert (idea.axis, idea.expected, idea.knobs) == ("lr_matrix", None, {})
    assert len(idea.hypothesis) <= 1000 and "\n" not in idea.hypothesis
    assert open_ideas(tmp_path) == (idea,)


def test_an_axis_that_nobody_named_is_that_of_a_knob_in_the_title(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("MATRIX_LR up by a third"), Draft("USE more of it")], YOU)
    assert [idea.axis for idea in open_ideas(tmp_path)] == ["lr.matrix", None]


# --- ideas that were taken, and their outcome


def test_a_taken_idea_waits_no_more_and_is_done_when_its_experiment_is(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("deeper")], YOU)
    take(tmp_path, 1, 7)
    (idea,) = read_backlog(tmp_path, night())
    assert (idea.state, idea.experiment) == ("taken", 7)
    (idea,) = read_backlog(tmp_path, night(tried(7, "crash", talk={"task": "idea", "idea": 1, "calls": 2})))
    assert (idea.state, idea.experiment) == ("done", 7)
    assert open_ideas(tmp_path, night()) == ()


@pytest.mark.parametrize(
    ("status", "talk"),
    [
        ("interrupted", {}),
        ("interrupted", {"idea": 1, "calls": 1}),
        ("keep", {}),  # the optimiser proposed instead
        ("discard", {"idea": 2, "calls": 1}),
        ("invalid", {"idea": 1, "calls": 0}),  # the server did not answer
    ],
)
def test_an_idea_that_its_experiment_never_tried_comes_back(tmp_path: Path, status: Any, talk: dict[str, Any]) -> None:
    add_ideas(tmp_path, [Draft("deeper")], YOU)
    take(tmp_path, 1, 3)
    size = (tmp_path / FILE).stat().st_size
    (idea,) = open_ideas(tmp_path, night(tried(3, status, talk=talk)))
    assert (idea.state, idea.experiment) == ("open", None)
    assert (tmp_path / FILE).stat().st_size == size, "computed, not written"


def test_an_idea_that_was_cut_off_again_and_again_is_given_up(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("use all memory")], MODEL)
    cut_off: list[Experiment] = []
    for number in (1, 2, 3):
        assert open_ideas(tmp_path, night(*cut_off))
        take(tmp_path, 1, number)
        cut_off.append(tried(number, "interrupted"))
    assert open_ideas(tmp_path, night(*cut_off)) == ()


def test_a_silent_server_never_costs_an_idea(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("deeper")], YOU)
    for number in range(1, 9):
        take(tmp_path, 1, number)
    assert open_ideas(tmp_path, night(*[tried(n, "discard", "batch", -0.1) for n in range(1, 9)]))


def test_dropping_says_what_is_there_and_what_is_over(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("deeper"), Draft("wider")], YOU)
    with pytest.raises(LabError, match="no idea 9"):
        drop(tmp_path, 9)
    assert drop(tmp_path, 1).title == "deeper"
    with pytest.raises(LabError, match="dropped already"):
        drop(tmp_path, 1)
    take(tmp_path, 2, 4)
    done = night(tried(4, "keep", gain=0.1, talk={"idea": 2}))
    with pytest.raises(LabError, match="done: experiment 4"):
        drop(tmp_path, 2, done)
    with pytest.raises(LabError, match="no idea 3"):
        take(tmp_path, 3, 5)
    assert titles(tmp_path) == []


def test_a_dropped_idea_stays_dropped_even_when_its_experiment_is_cut_off(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("deeper")], YOU)
    take(tmp_path, 1, 3)
    drop(tmp_path, 1, night())
    assert read_backlog(tmp_path, night(tried(3, "interrupted")))[0].state == "dropped"


# --- the journal


@pytest.mark.slow
def test_two_processes_that_add_at_once_lose_nothing_and_share_no_number(tmp_path: Path) -> None:
    each = 25
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), n, str(each)]) for n in ("one", "two")]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    ideas = read_backlog(tmp_path)
    assert [idea.id for idea in ideas] == list(range(1, 2 * each + 1))
    assert {idea.title for idea in ideas} == {f"{name} {n}" for name in ("one", "two") for n in range(each)}


def test_odd_events_are_passed_over(tmp_path: Path) -> None:
    odd: list[Any] = [
        {"event": "added", "id": "1", "title": "no number"},
        {"event": "added", "id": True, "title": "no number"},
        {"event": "added", "id": 2, "title": ""},
        {"event": "added", "id": 3, "title": 7},
        {"event": "dropped", "id": 99},
        {"event": "taken", "id": 4},
        {"event": "taken", "id": [1]},
        {"event": "added", "id": 4, "title": "whole", "expected": 10**400, "knobs": [1], "axis": 3},
        {"event": "added", "id": 4, "title": "twice"},
        {"event": "taken", "id": 4, "experiment": "x"},
    ]
    (tmp_path / FILE).write_text("".join(json.dumps(event) + "\n" for event in odd) + '{"event": "dropp')
    (idea,) = read_backlog(tmp_path, night())
    assert (idea.id, idea.title, idea.state, idea.expected, idea.axis) == (4, "whole", "open", None, None)
    assert add_ideas(tmp_path, [Draft("next")], YOU)[0].id == 5


def test_a_refill_is_remembered_even_when_it_brought_nothing(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("mine")], YOU)
    assert refilled(tmp_path) is None
    add_ideas(tmp_path, [], MODEL)
    assert refilled(tmp_path) is not None


# --- words


@pytest.mark.parametrize(
    ("written", "axis"),
    [
        ("lr.matrix", "lr.matrix"),
        (" LR.Matrix ", "lr.matrix"),
        ("weight decay", "weight_decay"),
        ("..a..b_.", "a.b"),
        ("code", None),
        ("seed", None),
        ("試", None),
        ("", None),
        (None, None),
        ("x" * 500, "x" * 40),
    ],
)
def test_an_axis_as_written_becomes_one_that_compares(written: str | None, axis: str | None) -> None:
    assert clean_axis(written) == axis
    assert clean_axis(axis) == axis


def test_titles_compare_without_case_and_marks_but_with_signs() -> None:
    assert title_key("Set  X to 0.5!") == title_key("set x to 0.5")
    assert title_key("X +1") != title_key("X -1")
    assert title_key("1e-3") != title_key("1e3")
    assert title_key("試す") == title_key("試す。") != title_key("")
    assert axis_in("raise EMBEDDING_LR, not DEPTH") == "lr.embedding"
    assert axis_in("GELU instead of SiLU, SEED 3") is None


def test_the_listing_fits_the_terminal(tmp_path: Path) -> None:
    add_ideas(tmp_path, [Draft("試す " * 30, "lr.matrix"), Draft("short")], MODEL)
    take(tmp_path, 2, 12)
    for width in (60, 100, 200):
        lines = render_ideas(read_backlog(tmp_path, night()), 3, width).splitlines()
        assert all(len(line) <= width for line in lines)
    assert "taken (#12)" in lines[2] and "1 idea done or dropped: --all shows them" in lines
    assert render_ideas((), 0, 80) == "no ideas yet"
    assert render_ideas((), 2, 80) == "no open ideas; 2 ideas done or dropped: --all shows them"
