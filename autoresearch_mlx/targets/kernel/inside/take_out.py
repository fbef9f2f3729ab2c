"""Observe a function in a running step, and find inputs and tolerances for testing candidates:

    python -P -m autoresearch_mlx.targets.kernel.inside.take_out REQUEST RESULT

REQUEST is the JSON of a TakeOut.  RESULT gets either the reason why no task can be made, or the parts of a task.  The
parts are the arrays with their spread, the sizes that may change, odd sizes (see ``_odd``), tolerances, and the
versions of the reference that work.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from autoresearch_mlx.targets.kernel import inputs as made
from autoresearch_mlx.targets.kernel.inside import trace
from autoresearch_mlx.targets.kernel.inside.calls import call_of, watched_calls
from autoresearch_mlx.targets.kernel.inside.functions import OfArrays, arrays_of, of_arrays, whole
from autoresearch_mlx.targets.kernel.inside.script import ScriptFailed, Steps, load
from autoresearch_mlx.targets.kernel.operations import Spec
from autoresearch_mlx.targets.kernel.request import TakeOut
from autoresearch_mlx.targets.kernel.task import Array, Baseline, Task

_ODD = (1, 3, 17)
_FLOORS = {"float32": (2e-5, 2e-6), "float16": (4e-3, 1e-3), "bfloat16": (3e-2, 8e-3)}
"""Number type -> smallest tolerance for the error of one number, and smallest tolerance for the typical error."""
_ROUNDING = 6e-8
"""Rounding error of float32: half the distance between neighbouring numbers, as a share of the number."""


def main(request_path: str, result_path: str) -> None:
    wanted = TakeOut.from_json(Path(request_path).read_text(encoding="utf-8"))
    mx.set_default_device(mx.gpu if wanted.device == "gpu" else mx.cpu)
    mx.random.seed(wanted.seed)
    trace.install()
    try:
        found = taken_out(wanted)
    except ScriptFailed as failed:
        found = {"failed": str(failed)}
    Path(result_path).write_text(json.dumps(found), encoding="utf-8")


def taken_out(wanted: TakeOut) -> dict[str, Any]:
    """Return the parts of the task as JSON values.  Raises ScriptFailed, which says why, if the function cannot be a
    task."""
    seen = _seen(wanted) if wanted.script else {}
    function = getattr(load(Path(wanted.reference), "reference_of_the_task"), wanted.function, None)
    if function is None:
        raise ScriptFailed(f"{Path(wanted.reference).name} has no function {wanted.function}")
    arrays, sizes, constants = _arrays(wanted.arguments, seen)
    task = Task(
        name=wanted.name,
        function=wanted.function,
        parameters=tuple(name for name, _ in wanted.arguments),
        arrays=arrays,
        constants=constants,
        outputs=wanted.outputs,
        differentiated=wanted.differentiated,
        sizes=sizes,
        free=(),
        odd=(),
        tolerance=1.0,
        typical=1.0,
        baselines=("eager",),
    )
    reference = of_arrays(task, function)
    free = _free(task, reference)
    tolerance, typical = _tolerances(task, reference)
    if (why := _filtered(task, reference, tolerance)) is not None:
        raise ScriptFailed(f"{wanted.function} cannot be a task: {why}")
    return {
        "arrays": [_plain(array) for array in arrays],
        "constants": constants,
        "sizes": sizes,
        "free": free,
        "odd": _odd(task, reference, free),
        "tolerance": tolerance,
        "typical": typical,
        "baselines": _baselines(task, reference, wanted),
    }


def _plain(array: Array) -> dict[str, Any]:
    return {name: getattr(array, name) for name in Array.__dataclass_fields__}


def _seen(wanted: TakeOut) -> dict[str, Any]:
    """Return the arrays that the step passes to the function, as numpy arrays."""
    module = load(Path(wanted.script))
    found: dict[str, Any] = {}

    def look(name: str, bound: inspect.BoundArguments, result: Any, differentiated: bool) -> None:
        if name != wanted.function or (call := call_of(name, bound, result, differentiated)) is None:
            return
        if [list(each) for each in map(_said, call.arguments)] == [[n, v] for n, v in wanted.arguments]:
            for each, value in bound.arguments.items():
                if isinstance(value, mx.array):
                    found[each] = np.array(value.astype(mx.float32))

    steps = Steps(wanted.vocab_size, wanted.seq_len, 2)
    model = module.build_model(wanted.vocab_size, wanted.seq_len)
    with watched_calls(module, look):
        module.train(model, steps)
    if not found:
        raise ScriptFailed(
            f"the step does not call {wanted.function} with these shapes any more: profile the script again"
        )
    return found


def _said(argument: tuple[str, Any]) -> tuple[str, Any]:
    name, value = argument
    return name, [list(value.shape), value.dtype] if isinstance(value, Spec) else {"constant": _listed(value)}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _arrays(
    arguments: list[list[Any]], seen: Mapping[str, Any]
) -> tuple[tuple[Array, ...], dict[str, int], dict[str, Any]]:
    """Return the arrays, the model's sizes, and the constants; equal sizes get the same name."""
    sizes: dict[str, int] = {}
    names: dict[int, str] = {}
    arrays, constants = [], {}
    for name, value in arguments:
        if isinstance(value, dict):
            constants[name] = tuple(value["constant"]) if isinstance(value["constant"], list) else value["constant"]
            continue
        shape, dtype = value
        axes: list[str | int] = []
        for size in shape:
            if size == 1:
                axes.append(1)
                continue
            axes.append(names.setdefault(size, f"N{len(names) + 1}"))
            sizes[names[size]] = size
        arrays.append(_array(name, dtype, tuple(axes), seen.get(name), sizes))
    if not seen:
        arrays = [_bounded(each, arrays) for each in arrays]
    return tuple(arrays), sizes, constants


def _bounded(array: Array, arrays: list[Array]) -> Array:
    """Return a starter's array of integers with an upper bound: the last axis of the first array of floats."""
    floats = [each for each in arrays if "float" in each.dtype and each.axes]
    return replace(array, below=floats[0].axes[-1]) if "int" in array.dtype and floats else array


def _array(name: str, dtype: str, axes: tuple[str | int, ...], seen: Any, sizes: Mapping[str, int]) -> Array:
    if seen is None:
        return Array(name, dtype, axes)
    if dtype.startswith("bool"):
        return Array(name, dtype, axes, lower=bool(np.array_equal(seen, np.tril(np.ones_like(seen)))))
    if "int" in dtype:
        most = int(seen.max(initial=0))
        fitting = sorted((size, each) for each, size in sizes.items() if size > most)
        return Array(name, dtype, axes, below=fitting[0][1] if fitting else most + 1)
    std = float(seen.std())
    return Array(name, dtype, axes, mean=round(float(seen.mean()), 6), std=round(std, 9) if std > 0 else 1.0)


def _works(task: Task, reference: OfArrays, sizes: Mapping[str, int]) -> bool:
    try:
        found = reference(*arrays_of(task, made.values(task, sizes, 1)))
        mx.eval(found)
    except Exception:  # the reference does not take these sizes
        return False
    return all(bool(np.isfinite(np.array(each.astype(mx.float32))).any()) for each in found)


def _free(task: Task, reference: OfArrays) -> list[str]:
    """Return the names of the sizes that may change: the reference works if one of them differs, and if all differ."""
    alone = [
        name
        for name, size in task.sizes.items()
        if all(_works(task, reference, {**task.sizes, name: other}) for other in (size - 1, size + 1) if other >= 1)
    ]
    while alone and not _works(task, reference, {**task.sizes, **{name: task.sizes[name] + 3 for name in alone}}):
        alone.pop()
    return alone


def _odd(task: Task, reference: OfArrays, free: list[str]) -> list[dict[str, int]]:
    """Return odd sizes that the reference accepts: the model's sizes less one, and some small sizes."""
    wanted = [{**task.sizes, name: task.sizes[name] - 1} for name in free]
    wanted += [{**task.sizes, **{name: small + at for at, name in enumerate(free)}} for small in _ODD if free]
    unlike = [sizes for at, sizes in enumerate(wanted) if sizes != task.sizes and sizes not in wanted[:at]]
    return [sizes for sizes in unlike if _works(task, reference, sizes)]


def _exact(reference: OfArrays, arrays: list[mx.array]) -> list[Any]:
    with mx.stream(mx.cpu):
        floats = [each.astype(mx.float32) if mx.issubdtype(each.dtype, mx.floating) else each for each in arrays]
        found = [each.astype(mx.float32) for each in reference(*floats)]
        mx.eval(found)
    return [np.array(each) for each in found]


def _tolerances(task: Task, reference: OfArrays) -> tuple[float, float]:
    """Return the largest and the typical error that rounding may cause, each with a margin."""
    arrays = arrays_of(task, made.values(task, task.sizes, 5))
    right = _exact(reference, arrays)
    kind = next((array.dtype for array in task.arrays if "float" in array.dtype), "float32")
    if kind == "float32":
        random = np.random.default_rng(3)
        nudged = [
            mx.array(np.array(each) * (1 + _ROUNDING * random.choice([-1.0, 1.0], each.shape)).astype(np.float32))
            if mx.issubdtype(each.dtype, mx.floating)
            else each
            for each in arrays
        ]
        other, room = _exact(reference, nudged), 20.0
    else:
        other, room = [np.array(each.astype(mx.float32)) for each in reference(*arrays)], 3.0
    worst = typical = 0.0
    for a, b in zip(right, other, strict=True):
        good = np.isfinite(a)
        size = max(1e-12, float(np.sqrt(np.mean(np.square(a[good])))) if good.any() else 1.0)
        off = np.abs(a[good] - b[good])
        worst = max(worst, float((off / (size + np.abs(a[good]))).max(initial=0.0)))
        typical = max(typical, float(np.sqrt(np.mean(np.square(off)))) / size if off.size else 0.0)
    least, least_typical = _FLOORS.get(kind, _FLOORS["float32"])
    return float(f"{max(least, room * worst):.2g}"), float(f"{max(least_typical, room * typical):.2g}")


def _filtered(task: Task, reference: OfArrays, tolerance: float) -> str | None:
    """Return how a candidate that computes nothing could pass this task, or None if no such candidate could pass."""
    first = _exact(reference, arrays_of(task, made.values(task, task.sizes, 21)))
    for at, output in enumerate(first):
        what = f"output {at + 1}" if task.outputs > 1 else "its output"
        finite = output[np.isfinite(output)]
        if not finite.size:
            return f"{what} has no finite number"
        size = max(float(np.sqrt(np.mean(np.square(finite)))), 1e-12)
        if float(np.abs(finite).max()) == 0.0 or float(np.abs(finite - finite.mean()).max()) <= 10 * tolerance * size:
            return f"{what} is nearly constant, so a constant would pass"
        for axis, length in enumerate(output.shape):
            if length > 1 and np.allclose(
                output, np.take(output, [0], axis=axis), rtol=tolerance, atol=tolerance * size
            ):
                return f"{what} does not change along axis {axis}, so a candidate could compute a single slice"
    values = made.values(task, task.sizes, 21)
    others = made.values(task, task.sizes, 22)
    for at, array in enumerate(task.arrays):
        if array.dtype.startswith("bool") and array.lower:
            continue
        changed = [others[at] if at == number else each for number, each in enumerate(values)]
        second = _exact(reference, arrays_of(task, changed))
        if all(
            np.allclose(a, b, rtol=tolerance, atol=1e-12, equal_nan=True) for a, b in zip(first, second, strict=True)
        ):
            return f"its outputs do not depend on {array.name}, so a candidate could ignore that input"
    return None


def _baselines(task: Task, reference: OfArrays, wanted: TakeOut) -> list[Baseline]:
    """Return the versions of the reference that work here."""
    found: list[Baseline] = ["eager"]
    arrays = arrays_of(task, made.values(task, task.sizes, 1))
    like = reference(*arrays)
    cotangents = [mx.ones(each.shape, each.dtype) for each in like]
    mx.enable_compile()
    try:
        mx.eval(mx.compile(whole(reference, task.differentiated))(arrays, cotangents))
        found.append("compiled")
    except Exception:  # a function that reads values cannot be compiled
        pass
    module = load(Path(wanted.reference), "reference_of_the_task")
    if hasattr(module, "fast"):
        found.append("fast")
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
