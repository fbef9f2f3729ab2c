"""Candidates are measured by real processes, against a reference that none of them can change."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from kernel_labs import WAVE, WAVE_TEXT, candidate, target

from autoresearch_mlx.targets.kernel.inputs import values
from autoresearch_mlx.targets.kernel.pairs import order, ratio
from autoresearch_mlx.targets.kernel.task import REFERENCE, task_from


@pytest.mark.slow
def test_an_honest_candidate_gets_a_number_from_outside(tmp_path: Path) -> None:
    measured = target(tmp_path).measure(candidate(tmp_path, "return 2 * mx.tanh(x)"))
    assert measured.failure is None, measured.reason
    assert measured.value is not None and measured.value > 0
    assert math.exp(measured.value) == pytest.approx(measured.extra["speedup"], rel=1e-3)


def test_a_changed_reference_is_refused(tmp_path: Path) -> None:
    found = target(tmp_path)
    (tmp_path / REFERENCE).write_text(WAVE_TEXT + "\n")
    measured = found.measure(candidate(tmp_path, "return 2 * mx.tanh(x)"))
    assert "a candidate may change kernel.py alone" in measured.reason


# --- numbers


def test_a_few_numbers_at_an_odd_shape_are_judged_one_by_one_and_not_by_their_average() -> None:
    """Inputs are drawn anew in each run, and the rounding of one small number says nothing about the precision."""
    import mlx.core as mx
    import numpy as np

    from autoresearch_mlx.targets.kernel.inside.functions import arrays_of, of_arrays
    from autoresearch_mlx.targets.kernel.inside.referee import compared

    reference = of_arrays(WAVE, lambda x: 2 * mx.tanh(x))

    def why(sizes: dict[str, int], error: float) -> str:
        (right,) = reference(*arrays_of(WAVE, values(WAVE, sizes, 7)))
        found = [("float32", np.array(right) * np.float32(1 + error))]
        return str(compared(WAVE, reference, sizes, 7, 1.0, found)["why"])

    assert why({"N1": 1, "N2": 2}, 1e-5) == "None"
    assert "are off by more than" in why({"N1": 1, "N2": 2}, 1e-3)
    assert "on average" in why({"N1": 5, "N2": 20}, 1e-5) and "on average" in why(dict(WAVE.sizes), 1e-5)


def test_pairs_alternate_and_their_median_resists_one_disturbed_block() -> None:
    assert order(2) == [True, False, False, True]
    found = ratio([2.0, 2.0, 9.0], [1.0, 1.0, 1.0])
    assert found.factor == pytest.approx(2)


def test_a_task_survives_its_json() -> None:
    assert task_from(WAVE.to_json()) == WAVE
