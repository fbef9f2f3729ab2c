"""Save arrays with their number types to files, which the bench writes and the referee reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np


def save(path: Path, arrays: Sequence[mx.array]) -> None:
    """Write arrays without changing a bit.  Numpy has no bfloat16, so these numbers are written as 16-bit integers."""
    named: dict[str, Any] = {}
    for at, array in enumerate(arrays):
        kind = str(array.dtype).removeprefix("mlx.core.")
        named[f"{at}:{kind}"] = np.array(array.view(mx.uint16) if kind == "bfloat16" else array)
    with path.open("wb") as file:
        np.savez(file, **named)


def read(path: Path) -> list[tuple[str, Any]]:
    """Return a pair for each array: number type and numpy array.  A bfloat16 array is returned as float32, with equal
    values.

    Raises OSError or ValueError for a file that is missing or malformed.
    """
    found = []
    with np.load(path, allow_pickle=False) as file:
        for name in sorted(file.files, key=lambda each: int(each.partition(":")[0])):
            kind, bits = name.partition(":")[2], file[name]
            if kind == "bfloat16":
                bits = np.array(mx.array(bits).view(mx.bfloat16).astype(mx.float32))
            found.append((kind, bits))
    return found
