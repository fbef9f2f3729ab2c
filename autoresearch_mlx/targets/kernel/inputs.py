"""Make the inputs of a task from a seed; every process that uses the seed gets equal inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from autoresearch_mlx.targets.kernel.task import Array, Sizes, Task


def values(task: Task, sizes: Sizes, seed: int, scale: float = 1.0) -> list[Any]:
    """Return the values of the task's arrays as numpy arrays of float32, int32 or bool.

    ``scale`` multiplies the standard deviation of the floats.
    """
    random = np.random.default_rng([seed, 7])
    return [_value(array, sizes, random, scale) for array in task.arrays]


def cotangents(shapes: list[tuple[int, ...]], seed: int) -> list[Any]:
    """Return random cotangents of these shapes, from which gradients are computed, as float32 numpy arrays."""
    random = np.random.default_rng([seed, 11])
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def _value(array: Array, sizes: Sizes, random: np.random.Generator, scale: float) -> Any:
    shape = array.shape(sizes)
    if array.dtype.startswith("bool"):
        return np.tril(np.ones(shape, bool)) if array.lower else random.random(shape) < 0.5
    if "int" in array.dtype:
        bound = array.below if isinstance(array.below, int) else sizes[array.below] if array.below else 2
        return random.integers(0, max(1, bound), shape).astype(np.int32)
    return (array.mean + scale * array.std * random.standard_normal(shape)).astype(np.float32)
