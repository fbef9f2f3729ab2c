"""How large a model is, from the shapes of its weights: the child that trains counts so, and so does its parent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

FLOPS_PER_PARAMETER = 6
"""Of training, for each matrix parameter and token: multiply and add, once forward and twice backward."""
_LONGEST_HEADER = 2**24
"""Bytes; the names and shapes of some hundred thousand weights."""


def count(shapes: Mapping[str, Sequence[int]], vocab_size: int) -> dict[str, int]:
    """Number of weights, and of those that stand in matrix products: tables of embeddings are looked up.

    A table is what is called one and has a row for each token.  Where every matrix with that many rows is called so,
    the smallest of them gives the logits too (tied weights), and is counted.
    """
    tables = {name: math.prod(shape) for name, shape in shapes.items() if _is_table(name, shape, vocab_size)}
    products = {name: math.prod(shape) for name, shape in shapes.items() if len(shape) >= 2 and name not in tables}
    gives_logits = any(vocab_size <= max(shapes[name]) for name in products)
    tied = 0 if gives_logits else min(tables.values(), default=0)
    return {"num_params": sum(map(math.prod, shapes.values())), "matrix_params": sum(products.values()) + tied}


def _is_table(name: str, shape: Sequence[int], vocab_size: int) -> bool:
    return len(shape) == 2 and shape[0] >= vocab_size and ("wte" in name or "embedding" in name)


def shapes_of(weights: Path) -> dict[str, tuple[int, ...]]:
    """The shapes in a safetensors file, from its header.  Raises ValueError when it has none; OSError."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("a header that is no object")
    found = {name: each.get("shape") for name, each in header.items() if name != "__metadata__"}
    if not all(isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape) for shape in found.values()):
        raise ValueError("a weight without a shape")
    return {name: tuple(shape) for name, shape in found.items()}
