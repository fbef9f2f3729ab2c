"""Compare a candidate's outputs with the reference, in a process that never runs the candidate:

    python -P -m autoresearch_mlx.targets.kernel.inside.referee ORDER RESULT

The reference is computed in float32 on the CPU, from the same seeds.  The verdict on each file goes to RESULT as
JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from autoresearch_mlx.targets.kernel import inputs as made
from autoresearch_mlx.targets.kernel.inside.functions import OfArrays, arrays_of, forward_and_gradients, reference_of
from autoresearch_mlx.targets.kernel.inside.saved import read
from autoresearch_mlx.targets.kernel.order import Order, order_from
from autoresearch_mlx.targets.kernel.task import Sizes, Task

_FEW = 16
"""At sizes other than the model's, an output with fewer values than this is judged value by value, and not by its
average error.  With few values, the rounding of a single small value can exceed the bound on the average error."""


def main(path: str, result: str) -> None:
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    order = order_from(request["order"])
    mx.set_default_device(mx.cpu)
    mx.disable_compile()
    reference = reference_of(order.task, order.reference)
    found = [_verdict(order, reference, each) for each in request["files"]]
    Path(result).write_text(json.dumps(found), encoding="utf-8")


def _verdict(order: Order, reference: OfArrays, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdict on a file of outputs: ``why`` says what is wrong (or is None), and ``error`` is the largest
    error."""
    try:
        found = read(Path(order.folder) / f"{wanted['file']}.npz")
    except (OSError, ValueError) as error:
        return {"why": f"its outputs cannot be read: {error}", "error": None}
    if (twin := wanted.get("same_as")) is not None:
        return {"why": _repeat(found, read(Path(order.folder) / f"{twin}.npz")), "error": None}
    return compared(order.task, reference, wanted["sizes"], wanted["seed"], wanted.get("scale", 1.0), found)


def _repeat(first: list[tuple[str, Any]], second: list[tuple[str, Any]]) -> str | None:
    same = len(first) == len(second) and all(
        a.tobytes() == b.tobytes() for (_, a), (_, b) in zip(first, second, strict=False)
    )
    return None if same else "two calls on the same inputs gave different bits"


def compared(
    task: Task, reference: OfArrays, sizes: Sizes, seed: int, scale: float, found: list[tuple[str, Any]]
) -> dict[str, Any]:
    """Compare the outputs in ``found``, and any gradients after them, with the results of the reference."""
    values = made.values(task, sizes, seed, scale)
    exact = arrays_of(task, values, exact=False)
    types = [(tuple(each.shape), _name(each.dtype)) for each in reference(*exact)]
    floats = [np.array(each.astype(mx.float32)) if "float" in _name(each.dtype) else each for each in exact]
    inputs = [mx.array(each) for each in floats]
    if task.differentiated:
        # The bench rounds cotangents to the outputs' type, so they are rounded here too.
        drawn = made.cotangents([shape for shape, _ in types], seed)
        kinds = [like.dtype for like in reference(*exact)]
        rounded = [mx.array(each).astype(kind).astype(mx.float32) for each, kind in zip(drawn, kinds, strict=True)]
        outputs, gradients = forward_and_gradients(reference, inputs, rounded)
        wanted = [*outputs, *gradients]
        types += [(tuple(each.shape), _name(each.dtype)) for each in exact if "float" in _name(each.dtype)]
    else:
        wanted = reference(*inputs)
    mx.eval(wanted)
    few = 0 if sizes == task.sizes else _FEW
    return _errors(task, types, found, [np.array(each.astype(mx.float32)) for each in wanted], few)


def _errors(
    task: Task, types: list[tuple[tuple[int, ...], str]], found: list[tuple[str, Any]], wanted: list[Any], few: int
) -> dict[str, Any]:
    worst = typical = 0.0
    for at, ((shape, kind), right) in enumerate(zip(types, wanted, strict=True)):
        what = f"output {at + 1}" if at < task.outputs else f"the gradient of input {at + 1 - task.outputs}"
        if at >= len(found):
            return {"why": f"{what} is missing", "error": None}
        their_kind, theirs = found[at]
        if theirs.shape != shape:
            return {"why": f"{what} has shape {theirs.shape}, not {shape}", "error": None}
        if their_kind != kind:
            return {"why": f"{what} is {their_kind}, not {kind}", "error": None}
        theirs = theirs.astype(np.float32)
        if not np.isfinite(theirs[np.isfinite(right)]).all():
            bad = int((~np.isfinite(theirs) & np.isfinite(right)).sum())
            return {
                "why": f"{what}: {bad:,} of {theirs.size:,} numbers are NaN or infinite (or were never written)",
                "error": None,
            }
        if not np.array_equal(theirs[~np.isfinite(right)], right[~np.isfinite(right)], equal_nan=True):
            return {"why": f"{what} is finite where the reference is not", "error": None}
        off = np.abs(np.where(np.isfinite(right), theirs - right, 0.0))
        size = float(np.sqrt(np.mean(np.square(right[np.isfinite(right)]), dtype=np.float64))) if right.size else 0.0
        size = max(size, 1e-12)
        share = off / (size + np.abs(np.where(np.isfinite(right), right, 0.0)))
        worst = max(worst, float(share.max(initial=0.0)))
        if off.size >= few:
            typical = max(typical, float(np.sqrt(np.mean(np.square(off), dtype=np.float64))) / size)
        if share.max(initial=0.0) > task.tolerance:
            wrong = int((share > task.tolerance).sum())
            said = f"{what}: {wrong:,} of {off.size:,} numbers are off by more than {task.tolerance:.1g} of their size"
            return {"why": f"{said}, the worst by {share.max():.2g}", "error": worst}
        if typical > task.typical:
            said = f"{what} is off by {typical:.2g} on average, and {task.typical:.2g} is allowed: precision was lost"
            return {"why": said, "error": worst}
    return {"why": None, "error": worst, "typical": typical}


def _name(dtype: mx.Dtype) -> str:
    return str(dtype).removeprefix("mlx.core.")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
