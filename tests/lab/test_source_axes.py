"""A knob's axis is the same word for every agent and every log."""

import pytest

from autoresearch_mlx.lab.source import axis_of


@pytest.mark.parametrize(
    ("knob", "axis"),
    [
        ("DEPTH", "depth"),
        ("ASPECT_RATIO", "width"),
        ("WINDOW_PATTERN", "attention.window"),
        ("SHORT_WINDOW", "attention.window"),
        ("TOTAL_BATCH_SIZE", "batch"),
        ("MATRIX_LR", "lr.matrix"),
        ("VALUE_WD", "weight_decay.value"),
        ("WARMDOWN_RATIO", "schedule.warmdown"),
        ("MUON_RAMP_STEPS", "muon.momentum"),
        ("RANDOM_SEED", "seed"),
        ("BRAND_NEW", "knob.brand_new"),
        ("model.py:DEPTH", "depth"),
    ],
)
def test_axis(knob: str, axis: str) -> None:
    assert axis_of(knob) == axis
