"""Compare MLX's results on a device with numpy's.  This is a separate program, run in the environment of a training:

    python -P -m autoresearch_mlx.setup.selftest.device gpu

The program prints a line of JSON for each comparison: a name, the largest difference divided by the largest value, and
the limit for this ratio.  The numbers are random and differ from call to call.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
_ALLOWED = {"float32": 0.002, "float16": 0.01, "bfloat16": 0.02}
"""Largest allowed difference, divided by the largest value, by number type.  NVIDIA's products in TF32 stay within the
limit for float32."""
_ROUNDS = 3
_SHAPES = (
    (1, 512, 64),
    (16, 512, 64),
    (16, 2048, 512),
    (33, 65, 129),
    (256, 1024, 256),
    (2048, 128, 512),
    (512, 512, 1024),
)
"""Sizes of the matrix products: rows, inner size and columns.  For sixteen rows, MLX has a special kernel on some
chips, which was wrong in some builds.  The list also has a vector, odd sizes, and sizes that occur in a training."""
_SIDE = 64


def main(device: str) -> None:
    mx.set_default_device(mx.gpu if device == "gpu" else mx.cpu)
    rng = np.random.default_rng()
    for kind in _ALLOWED:
        # On a CPU, training uses float32 only, so a few products are enough for the other types.
        few = device == "cpu" and kind != "float32"
        for name, found, wanted in products(kind, rng, _SHAPES[:2]) if few else comparisons(kind, rng):
            off = float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-9))
            line = {"name": f"{name}, {kind}", "off": off if np.isfinite(off) else 1e9, "allowed": _ALLOWED[kind]}
            print(json.dumps(line), flush=True)


def comparisons(kind: str, rng: np.random.Generator) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield (name of an operation, MLX's result, numpy's result) for every operation to compare."""
    for _ in range(_ROUNDS):
        yield from products(kind, rng, _SHAPES)
    stack, other = _made(kind, rng, 6, _SIDE, 32), _made(kind, rng, 6, 32, _SIDE)
    yield "products of a stack", _read(stack @ other), _read(stack) @ _read(other)
    x = _made(kind, rng, _SIDE, 256)
    yield "sum", _read(mx.sum(x, axis=-1)), _read(x).sum(-1)
    rms = np.sqrt((_read(x) ** 2).mean(-1, keepdims=True) + 1e-6)
    yield "norm", _read(mx.fast.rms_norm(x, None, 1e-6)), _read(x) / rms
    yield "softmax", _read(mx.softmax(x.astype(mx.float32), axis=-1)), _softmax(_read(x))
    yield from _attention(kind, rng)
    yield from _compiled(kind, rng)


def products(
    kind: str, rng: np.random.Generator, shapes: Sequence[tuple[int, int, int]]
) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield (name, MLX's result, numpy's result) for products of matrices with these shapes.

    Each shape is computed twice: with the second matrix as it is stored, and transposed.
    """
    for rows, inner, columns in shapes:
        left, right = _made(kind, rng, rows, inner), _made(kind, rng, inner, columns)
        name = f"product of {rows} x {inner} and {inner} x {columns}"
        yield name, _read(left @ right), _read(left) @ _read(right)
        flipped = _made(kind, rng, columns, inner)
        yield f"{name}, the second one transposed", _read(left @ flipped.T), _read(left) @ _read(flipped).T


def _attention(kind: str, rng: np.random.Generator) -> Iterator[tuple[str, Floats, Floats]]:
    q, k, v = (_made(kind, rng, 2, 2, _SIDE, 64) for _ in range(3))
    found = mx.fast.scaled_dot_product_attention(q, k, v, scale=0.125, mask="causal")
    scores = 0.125 * _read(q) @ _read(k).swapaxes(-1, -2)
    scores[..., np.triu(np.ones((_SIDE, _SIDE), bool), 1)] = -np.inf
    yield "attention", _read(found), _softmax(scores) @ _read(v)


def _compiled(kind: str, rng: np.random.Generator) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield the results of a compiled expression and of a compiled gradient; MLX builds their kernels from source."""
    x, w = _made(kind, rng, 16, _SIDE), _made(kind, rng, _SIDE, _SIDE)

    def value(weight: mx.array) -> mx.array:
        return mx.sum(mx.square(nn.relu(x @ weight)).astype(mx.float32))

    expression: Callable[[Any], Any] = mx.compile(lambda a: mx.exp(-a * a) + mx.sin(a))
    wide = _read(x)
    yield "compiled expression", _read(expression(x)), np.exp(-wide * wide) + np.sin(wide)
    gradient = mx.compile(mx.grad(value))(w)
    inner = np.maximum(wide @ _read(w), 0.0)
    yield "compiled gradient", _read(gradient), wide.T @ (2 * inner)


def _made(kind: str, rng: np.random.Generator, *shape: int) -> mx.array:
    return mx.array(rng.standard_normal(shape).astype(np.float32)).astype(getattr(mx, kind))


def _read(array: mx.array) -> Floats:
    return np.array(array.astype(mx.float32)).astype(np.float64)


def _softmax(x: Floats) -> Floats:
    powers = np.exp(x - x.max(-1, keepdims=True))
    shares: Floats = powers / powers.sum(-1, keepdims=True)
    return shares


if __name__ == "__main__":
    main(sys.argv[1])
