"""data/cuda_baseline.tsv describes the published H100 session without contradictions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from autoresearch_mlx.compare.effects import by_axis, effects, from_reference
from autoresearch_mlx.compare.reference import Reference, ReferenceRun
from autoresearch_mlx.lab.source import axis_of

# Upstream's train.py before the session.
DEFAULTS: dict[str, Any] = {
    "DEPTH": 8,
    "ASPECT_RATIO": 64,
    "HEAD_DIM": 128,
    "WINDOW_PATTERN": "SSSL",
    "SHORT_WINDOW": 0.5,
    "ROPE_BASE": 10000,
    "SOFTCAP": 15,
    "MLP_RATIO": 4,
    "TOTAL_BATCH_SIZE": 2**19,
    "EMBEDDING_LR": 0.6,
    "UNEMBEDDING_LR": 0.004,
    "MATRIX_LR": 0.04,
    "SCALAR_LR": 0.5,
    "WEIGHT_DECAY": 0.2,
    "EMBEDDING_WD": 0.0,
    "VALUE_WD": 0.0,
    "UNEMBEDDING_WD": 0.0,
    "ADAM_BETAS": (0.8, 0.95),
    "WARMUP_RATIO": 0.0,
    "WARMDOWN_RATIO": 0.5,
    "FINAL_LR_FRAC": 0.0,
    "MUON_MOMENTUM": 0.95,
    "MUON_MOMENTUM_START": 0.85,
    "MUON_RAMP_STEPS": 300,
    "MUON_BETA2": 0.95,
    "NS_STEPS": 5,
    "X0_LAMBDA": 0.1,
    "RESID_LAMBDA": 1.0,
    "INIT_SCALE": 1.0,
    "EMBEDDING_INIT_STD": 1.0,
    "UNEMBEDDING_INIT_STD": 0.001,
    "VE_GATE_CHANNELS": 32,
    "VE_GATE_SCALE": 2,
    "SEED": 42,
}


def kept(reference: Reference) -> list[ReferenceRun]:
    return [run for run in reference.runs if run.status == "keep"]


def value(run: ReferenceRun) -> float:
    assert run.val_bpb is not None
    return run.val_bpb


def test_it_has_126_runs_in_order(h100: Reference) -> None:
    assert [run.order for run in h100.runs] == list(range(126))
    assert Counter(run.status for run in h100.runs) == {"keep": 23, "discard": 102, "crash": 1}


def test_it_goes_from_0_997900_to_0_969686(h100: Reference) -> None:
    first, last = value(kept(h100)[0]), value(kept(h100)[-1])
    assert (first, last) == (0.997900, 0.969686)
    assert first - last == pytest.approx(0.028214, abs=1e-9)
    assert 100 * (first - last) / first == pytest.approx(2.83, abs=0.005)


def test_every_keep_is_below_all_keeps_before_it(h100: Reference) -> None:
    values = [value(run) for run in kept(h100)]
    assert values == sorted(set(values), reverse=True)


def test_no_discarded_run_is_below_the_last_keep(h100: Reference) -> None:
    assert min(value(run) for run in h100.runs if run.val_bpb is not None) == value(kept(h100)[-1])


def test_the_kept_gains_add_up_to_the_whole_gain(h100: Reference) -> None:
    found = effects([from_reference(run) for run in h100.runs], "min")
    gains = [effect.gain for effect in found if effect.run.status == "keep" and effect.gain is not None]
    assert len(gains) == 22
    assert sum(gains) == pytest.approx(0.028214, abs=1e-9)


def test_the_crash_has_neither_value_nor_memory(h100: Reference) -> None:
    [crash] = [run for run in h100.runs if run.status == "crash"]
    assert (crash.order, crash.val_bpb, crash.memory_gb) == (15, None, None)


def test_a_knob_lies_on_the_axis_that_our_own_knobs_lie_on(h100: Reference) -> None:
    for run in h100.runs:
        if run.changes:
            assert axis_of(next(iter(run.changes))) == run.axis, f"order {run.order}"


def test_every_step_starts_from_what_the_keeps_before_it_left(h100: Reference) -> None:
    standing = dict(DEFAULTS)
    for run in h100.runs:
        # One key-value head for each query head; the width rounds up to whole heads.
        standing["N_KV_HEAD"] = -(-standing["DEPTH"] * standing["ASPECT_RATIO"] // standing["HEAD_DIM"])
        assert {knob: was for knob, (was, _) in run.changes.items()} == {knob: standing[knob] for knob in run.changes}
        if run.status == "keep":
            standing.update({knob: now for knob, (_, now) in run.changes.items()})


def test_the_keeps_lead_to_the_configuration_that_was_published(h100: Reference) -> None:
    last = {knob: now for run in kept(h100) for knob, (_, now) in run.changes.items()}
    assert last == {
        "TOTAL_BATCH_SIZE": 2**18,
        "DEPTH": 9,
        "ASPECT_RATIO": 57,
        "WINDOW_PATTERN": "SSSSL",
        "SHORT_WINDOW": 0.125,
        "ROPE_BASE": 200000,
        "EMBEDDING_LR": 0.9,
        "UNEMBEDDING_LR": 0.005,
        "WARMDOWN_RATIO": 0.75,
        "FINAL_LR_FRAC": 0.05,
        "INIT_SCALE": 0.68,
        "X0_LAMBDA": 0.05,
        "MUON_RAMP_STEPS": 200,
        "UNEMBEDDING_WD": 0.01,
        "EMBEDDING_WD": 0.001,
        "VALUE_WD": 0.003,
    }


@pytest.mark.parametrize(
    ("axis", "tried", "kept", "order", "gain"),
    [
        ("batch", 2, 1, 1, 0.011859),
        ("depth", 5, 1, 2, 0.004268),
        ("lr.embedding", 5, 2, 8, 0.003260),
        ("rope", 4, 1, 7, 0.001185),
        ("schedule.warmup", 2, 0, 3, -0.000830),
        ("seed", 1, 0, 14, -0.000695),
        ("weight_tying", 1, 0, 88, -2.243721),
    ],
)
def test_best_effects_by_axis(h100: Reference, axis: str, tried: int, kept: int, order: int, gain: float) -> None:
    found = by_axis(effects([from_reference(run) for run in h100.runs], "min"))[axis]
    assert found.best is not None
    assert (found.tried, found.kept, found.best.run.order) == (tried, kept, order)
    assert found.best.gain == pytest.approx(gain, abs=1e-9)


def test_notes_are_short_and_there_is_one_for_every_run(h100: Reference) -> None:
    assert all(0 < len(run.note) <= 80 for run in h100.runs)


def test_the_folder_explains_every_table_in_it() -> None:
    folder = Path(__file__).parents[2] / "data"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "## cuda_baseline.tsv" in readme
