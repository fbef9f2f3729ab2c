"""The changes that won elsewhere are carried over to this file, each knob on its own scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playbook_cases import table

from autoresearch_mlx.agents.playbook.carry import carry
from autoresearch_mlx.agents.playbook.winners import Winner, agreed, winners
from autoresearch_mlx.compare.reference import Reference, apple_logs, read_reference
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.source import changed_knobs, literal, set_knobs

# --- what won there


def test_a_winner_is_a_knobs_whole_kept_way_with_the_sum_of_its_gains(tmp_path: Path) -> None:
    found = {winner.axis: winner for winner in winners(read_reference(table(tmp_path)))}
    assert found["lr.matrix"].changes == {"MATRIX_LR": (0.6, 0.9)}
    assert found["lr.matrix"].gain == pytest.approx(0.03)
    assert found["lr.matrix"].runs == (4, 5)
    assert found["batch"].changes == {"BATCH": (524288, 262144)}  # the discarded step back is not a part of it


def test_the_largest_gain_there_comes_first_and_neither_code_nor_a_seed_is_a_strategy(tmp_path: Path) -> None:
    found = [winner.axis for winner in winners(read_reference(table(tmp_path)))]
    assert found == ["batch", "depth", "lr.matrix", "schedule.warmdown", "value"]


def test_knobs_that_moved_together_once_are_one_winner(tmp_path: Path) -> None:
    rows = "0 b 1.0 keep baseline\n1 a 0.9 keep depth DEPTH+ASPECT 8+64 9+57\n2 c 0.8 keep width ASPECT 57 60\n"
    (only,) = winners(read_reference(table(tmp_path, rows)))
    assert only.changes == {"DEPTH": (8, 9), "ASPECT": (64, 60)}
    assert only.runs == (1, 2)


def test_a_knob_that_came_back_and_a_value_nobody_wrote_down_are_left_out(tmp_path: Path) -> None:
    rows = "0 b 1.0 keep baseline\n1 a 0.9 keep x X 1 2\n2 c 0.8 keep x X 2 1\n3 d 0.7 keep y Y 8 ?\n"
    assert winners(read_reference(table(tmp_path, rows))) == ()


def test_the_h100s_winners_all_gained_and_each_knob_stands_in_one_of_them() -> None:
    found = winners(read_reference(asset("data/cuda_baseline.tsv")))
    names = [name for winner in found for name in winner.changes]
    assert len(names) == len(set(names))
    assert found[0].changes == {"TOTAL_BATCH_SIZE": (524288, 262144)}
    assert all(winner.gain > 0 for winner in found)


# --- what several logs agree on


def logs(tmp_path: Path, *changes: str) -> list[Reference]:
    """Return one log for each change ("MATRIX_LR 0.04 0.02"); the log has that change as its only keep."""
    found = []
    for at, change in enumerate(changes):
        (folder := tmp_path / str(at)).mkdir()
        rows = f"0 b 1.0 keep baseline\n1 a {0.9 + 0.01 * at:.2f} keep axis {change}\n"
        found.append(read_reference(table(folder, rows)))
    return found


@pytest.mark.parametrize(
    ("changes", "move", "agree", "disagree"),
    [
        (["MATRIX_LR 0.04 0.01", "MATRIX_LR 0.04 0.02", "MATRIX_LR 0.02 0.015"], (0.04, 0.02), 3, 0),
        (["DEPTH 8 4", "DEPTH 4 3", "DEPTH 4 2", "DEPTH 2 4"], (4, 2), 3, 1),
        (["WARMUP_RATIO 0.0 0.1", "WARMUP_RATIO 0.0 0.05"], (0.0, 0.05), 2, 0),
        (["WINDOW_PATTERN SSSL L", "WINDOW_PATTERN SL L", "WINDOW_PATTERN L SL"], ("SSSL", "L"), 2, 1),
        (["BATCH 65536 32768", "BATCH 65536 8192"], (65536, 32768), 2, 0),
    ],
)
def test_logs_agree_on_a_direction_and_the_change_in_the_middle_is_carried_over(
    tmp_path: Path, changes: list[str], move: tuple[Any, Any], agree: int, disagree: int
) -> None:
    (only,) = agreed(logs(tmp_path, *changes))
    assert list(only.changes.values()) == [move]
    assert (only.agree, only.disagree) == (agree, disagree)


@pytest.mark.parametrize("changes", [["X 1 2"], ["X 1 2", "X 2 1"], ["X 1 2", "Y 1 2"], []])
def test_one_log_alone_and_logs_that_contradict_each_other_agree_on_nothing(tmp_path: Path, changes: list[str]) -> None:
    assert agreed(logs(tmp_path, *changes)) == ()


def test_a_batch_per_pass_that_moved_along_is_no_strategy_of_its_own(tmp_path: Path) -> None:
    both = "TOTAL_BATCH_SIZE+DEVICE_BATCH_SIZE 65536+16 32768+8"
    assert [list(each.changes) for each in agreed(logs(tmp_path, both, both))] == [["TOTAL_BATCH_SIZE"]]


def test_most_macs_agree_on_a_smaller_batch_and_on_a_lower_rate_of_the_matrices() -> None:
    first, second, *_ = found = agreed(apple_logs())
    assert first.changes == {"TOTAL_BATCH_SIZE": (65536, 16384)} and first.agree >= 12
    assert list(second.changes) == ["MATRIX_LR"] and second.agree > second.disagree
    assert all(winner.log for winner in found)


# --- the same change here


@pytest.mark.parametrize(
    ("line", "change", "value", "sign"),
    [
        ("X = 2**14  # knob: pow2 1024 131072", (524288, 262144), 2**13, "x0.5"),
        ("X = 2**14", (2**19, 2**18), 2**13, "x0.5"),
        ("X = 6000  # knob: pow2 1024 131072", (524288, 262144), 4096, "x0.5"),  # 3000 becomes a power of two
        ("X = 0.03  # knob: log 0.001 1", (0.6, 0.8), 0.04, "x1.33"),
        ("X = 300  # knob: log 20 1000", (300, 200), 200, "x0.667"),
        ("X = 64  # knob: lin 32 128", (64, 57), 57, "x0.891"),
        ("X = 4  # knob: int 1 12", (8, 9), 5, "+1"),
        ("X = 1  # knob: log 0.3 2", (1.0, 0.68), 0.68, "x0.68"),  # a rate written without a decimal point
        ("X = 0.0  # knob: lin 0 0.3", (0.0, 0.05), 0.05, ""),
        ("X = 0.02", (0.0, 0.01), 0.01, ""),
        ("X = 0.0", (0.4, 0.2), 0.2, ""),
        ("END_RATIO = 0.9  # knob: lin 0 1", (0.5, 0.75), 0.75, ""),
        ("MUON_BETA2 = 0.9", (0.95, 0.98), 0.98, ""),
        ("MLP_RATIO = 4.0", (4, 3), 3.0, "-1"),
        ('X = "L"', ("SSSL", "SSSSL"), "SSSSL", ""),
        ("X = (0.8, 0.95)", ((0.8, 0.9), (0.9, 0.9)), (0.9, 0.9), ""),
    ],
)
def test_a_change_carries_over_in_its_own_scale(line: str, change: tuple[Any, Any], value: Any, sign: str) -> None:
    name = line.split()[0]
    play = carry(Winner("a", {name: change}, 0.1, (1,)), {"train.py": line + "\n"})
    (step,) = play.steps
    assert (step.value, step.sign, play.left_out) == (value, sign, ())
    assert play.applied({"train.py": line + "\n"}) == {"train.py": set_knobs(line + "\n", {name: value})}


@pytest.mark.parametrize(
    ("line", "change", "value", "note"),
    [
        ("X = 0.9  # knob: log 0.1 1", (1.0, 2.0), 1.0, "clipped from 1.8 to the end of its range"),
        ("X = 2048  # knob: pow2 1500 9000", (64, 16), 2048, None),
        ("X = 4096  # knob: pow2 1500 9000", (64, 16), 2048, "clipped from 2**10"),
        ("X = 12  # knob: int 1 12", (8, 9), 12, None),
        ("X = 32  # knob: choice 8 16 32 64", (32, 48), 32, None),
        ("X = 32  # knob: choice 8 16 32 64", (30, 50), 64, "the nearest choice to 53"),
        ('X = "L"  # knob: choice L SL', ("SSSL", "SSSSL"), "SSSSL", "which its comment does not list"),
    ],
)
def test_a_value_beyond_the_knobs_own_range_is_clipped_and_says_so(
    line: str, change: tuple[Any, Any], value: Any, note: str | None
) -> None:
    play = carry(Winner("a", {"X": change}, 0.1, (1,)), {"train.py": line + "\n"})
    if note is None:
        assert play.steps == () and play.left_out[0].startswith(f"X: it is {literal(value)} already")
    else:
        assert (play.steps[0].value, note in play.steps[0].why) == (value, True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Y = 1\n", "X: no such knob in the file"),
        ("X = 4  # knob: fixed\n", "X: the knob's comment says `fixed`"),
        ("X = 'SSSL'\n", 'X: it is "SSSL" here, which is nothing like 9'),
        ("X = True\n", "X: it is True here, which is nothing like 9"),
    ],
)
def test_a_knob_that_cannot_move_here_is_left_out_with_the_reason(text: str, reason: str) -> None:
    play = carry(Winner("a", {"X": (8, 9)}, 0.1, (1,)), {"train.py": text})
    assert (play.steps, play.left_out) == ((), (reason,))


def test_two_files_with_the_same_knob_are_no_guess_of_ours() -> None:
    play = carry(Winner("a", {"X": (8, 9)}, 0.1, (1,)), {"a.py": "X = 1\n", "b.py": "X = 2\n"})
    assert play.left_out == ("X: a.py and b.py each have a knob of this name",)


def test_a_short_window_is_not_tried_where_no_layer_is_short() -> None:
    change = Winner("attention.window", {"SHORT_WINDOW": (0.5, 0.125)}, 0.1, (1,))
    text = 'WINDOW_PATTERN = "L"\nSHORT_WINDOW = 0.5\n'
    assert carry(change, {"t.py": text}).left_out == (
        'SHORT_WINDOW: no layer has a short window while WINDOW_PATTERN is "L"',
    )
    assert carry(change, {"t.py": text.replace('"L"', '"SL"')}).steps[0].value == 0.125


def test_all_winners_that_fit_the_shipped_file_leave_it_a_valid_one() -> None:
    files = {"train_mlx.py": asset("train_mlx.py").read_text()}
    for winner in winners(read_reference(asset("data/cuda_baseline.tsv"))):
        play = carry(winner, files)
        changed = changed_knobs(files["train_mlx.py"], (play.applied(files) or files)["train_mlx.py"])
        assert set(changed) == {step.name for step in play.steps}
        assert play.steps or play.left_out
