"""Both sessions side by side, as figures, as JSON and as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_mlx.compare import log
from autoresearch_mlx.compare.reference import Reference
from autoresearch_mlx.compare.table import Comparison, compare_logs, render, to_json
from autoresearch_mlx.experiment import Direction, Experiment, History, Measurement, Repeat
from autoresearch_mlx.judge.history import gained, standing

GOLDEN = Path(__file__).parent / "golden"
MAC = "Apple M2 Pro"


def compare(
    here: list[Experiment], metric: str, direction: Direction, machine: str, reference: Reference
) -> Comparison:
    history = History(tuple(here), metric, direction)
    return compare_logs(log.of_history(history, machine), log.of_reference(reference))


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n")


@pytest.mark.parametrize(("name", "width"), [("night", 100), ("night_narrow", 60), ("night_wide", 200)])
def test_a_night_beside_the_h100(h100: Reference, night: list[Experiment], name: str, width: int) -> None:
    text = render(compare(night, "val_bpb", "min", MAC, h100), width)
    assert text == golden(name)
    assert max(len(line) for line in text.splitlines()) <= width


def test_before_the_first_experiment(h100: Reference) -> None:
    assert render(compare([], "val_bpb", "min", MAC, h100), 100) == golden("nothing_yet")


def test_after_the_baseline_alone(h100: Reference, night: list[Experiment]) -> None:
    assert render(compare(night[:1], "val_bpb", "min", MAC, h100), 100) == golden("baseline_only")


def test_another_metric_is_not_laid_beside_val_bpb(h100: Reference, experiment: Callable[..., Experiment]) -> None:
    runs = [experiment(0, "keep", 343.5), experiment(1, "keep", 402.25, SEED=(1, 2))]
    comparison = compare(runs, "images_per_second", "max", MAC, h100)
    assert render(comparison, 100) == golden("other_metric")
    assert (to_json(comparison)["applies"], to_json(comparison)["there"], to_json(comparison)["axes"]) == (
        False,
        None,
        [],
    )


def test_every_axis_of_either_side_stands_once_by_the_h100s_best_effect(
    h100: Reference, night: list[Experiment]
) -> None:
    document = to_json(compare(night, "val_bpb", "min", MAC, h100))
    gains = [row["there"]["best"]["gain"] for row in document["axes"] if row["there"]]
    assert gains == sorted(gains, reverse=True)
    names = [row["axis"] for row in document["axes"]]
    assert len(names) == len(set(names))
    # Axes that were tried only here come last, and among them those without a value come after the others.
    assert names[-2:] == ["mlp.activation", "width"]


@pytest.mark.parametrize(
    ("axis", "word"),
    [
        ("batch", "same sign?"),
        ("depth", "opposite sign?"),
        ("softcap", "within noise"),
        ("lr.matrix", "within noise"),
        ("attention.heads", "failed here"),
        ("mlp.activation", "tried only here"),
        ("weight_tying", "untested here"),
    ],
)
def test_a_verdict_says_what_the_intervals_allow(
    h100: Reference, night: list[Experiment], axis: str, word: str
) -> None:
    rows = compare(night, "val_bpb", "min", MAC, h100).axes
    assert [row.verdict for row in rows if row.axis == axis] == [word]


def test_the_json_document_has_the_figures_of_both_sides(h100: Reference, night: list[Experiment]) -> None:
    document = json.loads(json.dumps(to_json(compare(night, "val_bpb", "min", MAC, h100)), allow_nan=False))
    there, here = document["there"], document["here"]
    assert (there["experiments"], there["kept"], there["discarded"], there["failed"]) == (126, 23, 102, 1)
    assert (there["baseline"], there["best"]) == (0.9979, 0.969686)
    assert there["gain"] == pytest.approx(0.028214)
    assert there["gain_percent"] == pytest.approx(2.83, abs=0.005)
    assert (here["name"], here["baseline"], here["best"]) == (MAC, 1.402, 1.3644)
    assert (here["experiments"], here["measured"], here["kept"], here["discarded"], here["failed"]) == (12, 9, 6, 3, 3)


def test_the_json_document_names_the_run_behind_an_effect(h100: Reference, night: list[Experiment]) -> None:
    document = to_json(compare(night, "val_bpb", "min", MAC, h100))
    batch = document["axes"][0]
    assert (batch["axis"], batch["there"]["tried"], batch["there"]["kept"]) == ("batch", 2, 1)
    assert batch["there"]["best"]["commit"] == "bea057b"
    assert batch["there"]["best"]["knobs"] == {"TOTAL_BATCH_SIZE": [524288, 262144]}
    assert batch["here"]["best"]["gain"] == pytest.approx(0.031)
    assert (batch["here"]["tried"], batch["here"]["best"]["order"]) == (1, 1)


def test_a_comparison_ends_with_what_absolute_values_compare_on(h100: Reference, night: list[Experiment]) -> None:
    for comparison in (
        compare(night, "val_bpb", "min", MAC, h100),
        compare([], "val_bpb", "min", MAC, h100),
    ):
        assert comparison.remarks[-1].startswith("Absolute values can be compared only on the same data")
        assert render(comparison, 1000).endswith(comparison.remarks[-1])
    assert "tokenizer" not in render(compare([], "seconds", "min", MAC, h100), 1000)


def test_no_word_claims_significance(h100: Reference, night: list[Experiment]) -> None:
    text = render(compare(night, "val_bpb", "min", MAC, h100), 1000)
    assert "tends to look better than it is" in text
    assert "significant" not in text


def test_the_best_value_is_the_incumbents_estimate_by_all_its_runs_as_in_status(
    h100: Reference, night: list[Experiment]
) -> None:
    incumbent = History(tuple(night), "val_bpb", "min").incumbent
    assert incumbent is not None and incumbent.value is not None
    later = tuple(Repeat(incumbent.number, 99, Measurement(incumbent.value + 0.01, seed)) for seed in (1, 2, 3))
    history = History(tuple(night), "val_bpb", "min", repeats=later)
    here = compare_logs(log.of_history(history, MAC), log.of_reference(h100)).here
    assert here.best == pytest.approx(standing(history, incumbent)) != incumbent.value
    assert here.gain == gained(history)
