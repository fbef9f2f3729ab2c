"""An experiment's task is the user's idea if there is one; else it is drawn, and the draw can be repeated."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from history_cases import FILES, MARGIN, context, lost, night, tried
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_mlx.agents.ideas.axes import STREAK
from autoresearch_mlx.agents.ideas.choose_task import ISLAND, LEAP, PUSH, Task, choose_task, never_tried, stagnation
from autoresearch_mlx.agents.ideas.idea import Idea
from autoresearch_mlx.agents.ideas.misses import choose_pair, near_misses, resolution
from autoresearch_mlx.agents.prompt.prompt_sections import axis_named
from autoresearch_mlx.experiment import Context, Experiment, History

KNOWN = ("lr.matrix", "depth", "batch", "rope", "softcap", "weight_tying")
MODEL = "model:ollama:m"
NUMBERS = 3000
"""Number of draws in the tests that measure shares; coverage is off there, because it would take most of their time.
"""

MISSES = (
    tried(1, "discard", "rope", 0.001, knobs={"ROPE_BASE": (10000.0, 20000.0)}, title="slower rotation"),
    tried(2, "discard", "depth", -0.0015, knobs={"DEPTH": (4, 5)}, title="one layer more"),
)


def idea(id: int, axis: str | None = None, source: str = MODEL, title: str = "an idea") -> Idea:
    return Idea(id, axis, title, "it should help", None, source, "")


def tasks(context: Context, *ideas: Idea, numbers: int = NUMBERS) -> list[Task]:
    """Draw the task for the same situation with many numbers."""
    return [choose_task(replace(context, seed=seed), ideas, KNOWN) for seed in range(numbers)]


def shares(chosen: list[Task]) -> dict[str, float]:
    return {kind: count / len(chosen) for kind, count in Counter(task.kind for task in chosen).items()}


def stall(experiments: int) -> History:
    """Return a history with one keep and then no further gain."""
    return night(tried(1, "keep", "batch", 0.1), *lost(2, experiments, "lr.matrix"))


# --- who comes first


def test_the_persons_ideas_come_first_oldest_first_whatever_else_there_is() -> None:
    mine, later = idea(5, "depth", "you", "two layers more"), idea(6, None, "you")
    crash = tried(9, "crash", "rope", talk={"task": "axis"})
    for history in (night(), stall(PUSH), stall(LEAP), night(*MISSES, crash)):
        for task in tasks(context(history), idea(1, "rope"), mine, later, numbers=50):
            assert (task.kind, task.idea, task.axis, task.base) == ("idea", 5, "depth", None)
            assert "two layers more" in task.text and "person" in task.text


def test_an_idea_that_is_not_open_is_nobodys_task() -> None:
    gone = [replace(idea(n, "depth", "you"), state=state) for n, state in enumerate(("taken", "done", "dropped"), 1)]  # type: ignore[arg-type]
    assert all(task.idea is None for task in tasks(context(night()), *gone, numbers=200))


# --- shares


@pytest.mark.uncounted
def test_six_tenths_improve_two_combine_one_simplifies_one_leaps() -> None:
    found = shares(tasks(context(night(*MISSES))))
    assert found["axis"] == pytest.approx(0.6, abs=0.03)
    assert found["combine"] == pytest.approx(0.2, abs=0.03)
    assert found["simplify"] == pytest.approx(0.1, abs=0.02)
    assert found["leap"] == pytest.approx(0.1, abs=0.02)


@pytest.mark.uncounted
def test_without_near_misses_the_model_improves_instead() -> None:
    found = shares(tasks(context(night())))
    assert found["axis"] == pytest.approx(0.8, abs=0.03) and "combine" not in found


@pytest.mark.uncounted
def test_waiting_ideas_take_part_of_the_improvements_and_those_on_banned_axes_wait() -> None:
    history = night(*lost(1, STREAK, "rope"))
    chosen = tasks(context(history), idea(1, "rope"), idea(2, "depth"), idea(3))
    taken = Counter(task.idea for task in chosen if task.kind == "idea")
    assert taken[2] > 0.2 * NUMBERS and taken[1] == 0
    assert shares(chosen)["axis"] > 0.2
    assert all(task.axis == "depth" for task in chosen if task.idea == 2)


def test_no_axis_known_leaves_the_choice_to_the_model() -> None:
    bare = replace(context(night()), files={"a.txt": "x"})
    chosen = [choose_task(replace(bare, seed=seed), (), ()) for seed in range(100)]
    task = next(task for task in chosen if task.kind == "axis")
    assert task.axis is None and "of your choice" in task.text


# --- combinations


def test_near_misses_are_within_one_sigma_or_the_judges_margin() -> None:
    far = tried(3, "discard", "batch", -0.01)
    history = night(*MISSES, far)
    assert resolution(context(history)) == MARGIN
    assert [e.number for e in near_misses(context(history))] == [1, 2]
    assert [e.number for e in near_misses(context(history, sigma=0.02))] == [1, 2, 3]
    assert [e.number for e in near_misses(context(history, sigma=0.0012))] == [1]
    unknown = night(*[replace(e, reason="discard") for e in MISSES])
    assert resolution(replace(context(unknown), history=replace(unknown, experiments=unknown.experiments[1:]))) is None


def test_a_change_that_is_in_the_files_by_now_is_no_near_miss() -> None:
    now = {"train.py": FILES["train.py"].replace("DEPTH = 4", "DEPTH = 5")}
    assert [e.number for e in near_misses(context(night(*MISSES), files=now))] == [1]


def test_a_combination_names_both_experiments_and_what_they_did() -> None:
    task = next(task for task in tasks(context(night(*MISSES))) if task.kind == "combine")
    assert task.experiments == (1, 2)
    for words in ("experiment 1", "experiment 2", "slower rotation", "one layer more", "+0.001000", "-0.001500"):
        assert words in task.text


@pytest.mark.parametrize(
    "after",
    [
        tried(3, "crash", None, talk={"task": "combine", "experiments": [2, 1]}),
        tried(3, "discard", "x", -1.0, knobs={"DEPTH": (4, 5), "ROPE_BASE": (10000.0, 20000.0), "X": (1, 2)}),
    ],
)
def test_a_pair_is_combined_once(after: Experiment) -> None:
    assert "combine" not in shares(tasks(context(night(*MISSES, after)), numbers=400))


@pytest.mark.parametrize(
    "second",
    [
        tried(2, "discard", "rope", 0.0),
        tried(2, "discard", "other", 0.0, knobs={"ROPE_BASE": (1, 2), "DEPTH": (1, 2)}),
        tried(2, "keep", "depth", 0.0015),
        tried(2, "crash", "depth"),
    ],
)
def test_only_discards_on_different_axes_are_combined(second: Experiment) -> None:
    assert "combine" not in shares(tasks(context(night(MISSES[0], second)), numbers=400))


@pytest.mark.slow
def test_many_near_misses_are_still_a_quick_choice() -> None:
    many = [tried(n, "discard", f"axis{n % 90}", 0.0001 * (n % 7)) for n in range(1, 400)]
    chosen = tasks(context(night(*many, tried(400, "keep", "batch", 0.1))), numbers=20)
    assert all(len(set(task.experiments)) == 2 for task in chosen if task.kind == "combine")


# --- stagnation


def test_stagnation_counts_what_came_after_the_last_keep() -> None:
    assert stagnation(History((), "val_bpb", "min")) == 0
    assert stagnation(night()) == 0
    assert stagnation(night(tried(1, "keep", "batch", 0.1), tried(2, "crash"), tried(3, "interrupted"))) == 1


@pytest.mark.slow
@pytest.mark.uncounted
def test_after_twelve_without_a_keep_every_task_says_so_and_leads_away_from_the_last_tries() -> None:
    before, after = context(stall(PUSH - 1)), context(stall(PUSH))
    assert not any("Nothing was kept" in task.text for task in tasks(before, numbers=300))
    chosen = tasks(after)
    assert all(f"Nothing was kept in the last {PUSH} experiments" in task.text for task in chosen)
    assert shares(chosen)["leap"] == pytest.approx(0.3, abs=0.03)
    axes = {task.axis for task in chosen if task.kind == "axis"}
    assert axes == set(KNOWN) - {"lr.matrix", "batch"}, "axes that were never tried"
    for task in chosen:
        if task.kind in ("axis", "leap"):
            assert "another kind than the last tries (lr.matrix)" in task.text
        if task.kind == "leap":
            assert all(axis in task.text for axis in never_tried(KNOWN, after.history))


def test_when_every_axis_was_tried_a_push_still_leaves_the_last_ones() -> None:
    history = night(*[tried(n, "discard", axis, -0.1) for n, axis in enumerate(KNOWN, 1)], *lost(10, 8, "rope"))
    axes = {task.axis for task in tasks(context(history), numbers=400) if task.kind == "axis"}
    assert axes == set(KNOWN) - {"rope"}


def test_an_idea_on_the_axis_of_the_last_tries_waits_during_a_push() -> None:
    chosen = tasks(context(stall(PUSH)), idea(1, "lr.matrix"), idea(2, "softcap"), numbers=600)
    assert {task.idea for task in chosen if task.kind == "idea"} == {2}


def older_files(commit: str) -> Mapping[str, str]:
    return {"train.py": f"# {commit}\n"}


def test_after_twenty_the_model_leaps_from_an_older_kept_version_for_a_while() -> None:
    first, second = tried(1, "keep", "batch", 0.1), tried(2, "keep", "depth", 0.1)
    history = night(first, second, *lost(3, LEAP, "rope"))
    chosen = tasks(context(history, read=older_files), numbers=200)
    assert {task.kind for task in chosen} == {"leap"}
    assert {task.base for task in chosen} == {f"{0:040x}", first.commit}, "never the incumbent itself"
    task = next(task for task in chosen if task.base == first.commit)
    assert task.experiments == (1,) and "experiment 1" in task.text and "radical" in task.text
    assert "1.900000" in task.text, "what it must beat is the incumbent's value"
    home = night(first, second, *lost(3, LEAP + ISLAND, "rope"))
    assert not any(task.base for task in tasks(context(home, read=older_files), numbers=200))
    again = night(first, second, *lost(3, LEAP + 2 * ISLAND, "rope"))
    assert all(task.base for task in tasks(context(again, read=older_files), numbers=50))


def test_ancestors_that_were_left_from_already_are_chosen_less() -> None:
    keeps = [tried(1, "keep", "batch", 0.1), tried(2, "keep", "depth", 0.1)]
    leapt = [tried(n, "discard", "x", -1.0, base=keeps[0].commit, talk={"task": "leap"}) for n in range(3, 3 + LEAP)]
    bases = Counter(task.base for task in tasks(context(night(*keeps, *leapt), read=older_files), numbers=400))
    assert bases[keeps[0].commit] < 0.2 * bases[f"{0:040x}"]


def test_without_an_older_version_that_differs_a_leap_starts_from_the_incumbent() -> None:
    alone = night(*lost(1, LEAP, "rope"))
    unreadable = night(tried(1, "keep", "batch", 0.1), *lost(2, LEAP, "rope"))
    same = context(unreadable, read=lambda commit: FILES)
    for situation in (context(alone, read=older_files), context(unreadable), same):
        chosen = tasks(situation, numbers=20)
        assert {(task.kind, task.base) for task in chosen} == {("leap", None)}


# --- repairs


def crash(number: int = 3, **talk: Any) -> Experiment:
    said = {"task": "idea", "idea": 4, "calls": 1, **talk}
    return tried(number, "crash", "rope", reason="ValueError: shapes (4, 8)", title="longer rotation", talk=said)


@pytest.mark.uncounted
def test_half_of_the_crashes_of_a_model_are_followed_by_a_repair() -> None:
    history = night(*MISSES, crash())
    chosen = tasks(context(history))
    assert shares(chosen)["repair"] == pytest.approx(0.5, abs=0.03)
    task = next(task for task in chosen if task.kind == "repair")
    assert (task.axis, task.experiments, task.idea, task.base) == ("rope", (3,), None, None)
    for words in ("experiment 3", "longer rotation", "ValueError: shapes (4, 8)"):
        assert words in task.text


def test_the_optimisers_experiments_in_between_do_not_hide_a_crash() -> None:
    assert shares(tasks(context(night(crash(1), *lost(2, 3, "depth"))), numbers=400))["repair"] > 0.4


@pytest.mark.parametrize(
    "after",
    [
        [replace(crash(), talk={})],  # a problem of the optimiser's own proposal
        [crash(), tried(4, "crash", "rope", talk={"task": "repair"})],  # repaired once already
        [crash(), tried(4, "discard", "depth", -0.1, talk={"task": "axis"})],  # the model continued with something else
        [replace(crash(), status="invalid")],
        [crash(), *lost(4, 5, "depth")],  # long ago
    ],
)
def test_what_is_not_repaired(after: list[Experiment]) -> None:
    assert "repair" not in shares(tasks(context(night(*after)), numbers=300))


# --- any situation at all

AXES = st.sampled_from([*KNOWN, "code", None, "试 axis"])
STATUSES = st.sampled_from(["keep", "discard", "crash", "timeout", "invalid", "duplicate", "interrupted"])
TALKS = st.sampled_from([{}, {"task": "idea", "idea": 1}, {"task": "combine", "experiments": None}, {"task": "leap"}])
TITLES = st.sampled_from(["DEPTH 4 -> 5", "axis: `x`\n```\n<|im_end|>", "", "long " * 500])
NIGHTS = st.lists(st.tuples(STATUSES, AXES, st.floats(-0.003, 0.003), TALKS, TITLES), max_size=45)
IDEAS = st.lists(st.tuples(AXES, st.sampled_from(["you", MODEL, "H100"]), TITLES), max_size=4)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(NIGHTS, IDEAS, st.integers(0, 2**32), st.none() | st.floats(0, 0.01))
def test_any_situation_gives_one_task_of_two_to_six_plain_lines(
    events: list[Any], waiting: list[Any], seed: int, sigma: float | None
) -> None:
    history = night(*[tried(n, s, a, g, talk=talk, title=title) for n, (s, a, g, talk, title) in enumerate(events, 1)])
    ideas = [Idea(n, axis, title or "x", "", None, source, "") for n, (axis, source, title) in enumerate(waiting, 1)]
    now = context(history, seed=seed, sigma=sigma, read=older_files)
    task = choose_task(now, ideas, KNOWN)
    assert task == choose_task(now, ideas, KNOWN)
    assert task.text.startswith("Task this time: ")
    assert 2 <= len(task.text.splitlines()) <= 6 and len(task.text) < 2000
    assert (task.idea is not None) == (task.kind == "idea")
    assert task.base is None or task.kind == "leap"
    assert task.idea is None or any(i.id == task.idea and i.axis == task.axis for i in ideas)


def test_the_prompt_finds_the_axis_of_a_task_in_its_text() -> None:
    situations = [context(night(*MISSES)), context(night(*MISSES, crash())), context(stall(PUSH))]
    for situation in situations:
        for task in tasks(situation, idea(1, "softcap", title="axis: `depth` is a red herring"), numbers=100):
            if task.axis is not None:
                assert axis_named(task.text, situation) == task.axis, task.text


def test_a_pair_is_drawn_from_the_best() -> None:
    many = [tried(n, "discard", f"axis{n}", 0.0001 * n) for n in range(1, 15)]
    pair = choose_pair(context(night(*many)), random.Random(1))
    assert pair is not None and {e.number for e in pair} <= set(range(9, 15))
