"""Made-up experiments, and the packaged H100 table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autoresearch_mlx.compare.reference import Reference, read_reference
from autoresearch_mlx.experiment import Experiment, Status
from autoresearch_mlx.lab.assets import asset


@pytest.fixture(scope="session")
def h100() -> Reference:
    return read_reference(asset("data/cuda_baseline.tsv"))


@pytest.fixture
def experiment() -> Callable[..., Experiment]:
    return _experiment


def _experiment(
    number: int, status: Status, value: float | None, title: str = "", axis: str | None = None, **knobs: Any
) -> Experiment:
    return Experiment(
        number=number,
        status=status,
        value=value,
        gain=None,
        commit=f"{number:07x}",
        base=None,
        ref=None,
        title=title,
        axis=axis,
        knobs=knobs,
        agent="knobs",
        reason="",
        started="2026-03-01T22:00:00Z",
        finished="2026-03-01T22:06:00Z",
    )


@pytest.fixture
def night() -> list[Experiment]:
    """Return a short session on a Mac with each kind of experiment: gain, loss, no effect, crash, own idea, repeat."""
    return [
        _experiment(0, "keep", 1.402, "baseline"),
        _experiment(1, "keep", 1.371, "half the batch", TOTAL_BATCH_SIZE=(65536, 32768)),
        _experiment(2, "discard", 1.38, "one layer more", DEPTH=(4, 5)),
        _experiment(3, "discard", 1.3725, "longer warmdown", WARMDOWN_RATIO=(0.5, 0.7)),
        _experiment(4, "keep", 1.37, "slower rotation", ROPE_BASE=(10000, 200000)),
        _experiment(5, "keep", 1.3688, "embeddings faster", EMBEDDING_LR=(0.6, 0.8), UNEMBEDDING_LR=(0.004, 0.006)),
        _experiment(6, "keep", 1.3651, "no softcap", SOFTCAP=(15, None)),
        _experiment(7, "crash", None, "smaller heads", HEAD_DIM=(128, 96)),
        _experiment(8, "keep", 1.3644, "SiLU in the MLP", axis="mlp.activation"),
        _experiment(9, "duplicate", None, "half the batch", TOTAL_BATCH_SIZE=(32768, 16384)),
        _experiment(10, "discard", 1.3644, "matrix rate up", MATRIX_LR=(0.04, 0.045)),
        _experiment(11, "timeout", None, "wider", ASPECT_RATIO=(64, 128)),
    ]
