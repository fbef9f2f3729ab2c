"""Time the training step of a script without kernels and with them, in alternation:

    python -P -m autoresearch_mlx.targets.kernel.inside.steps REQUEST RESULT

REQUEST is the JSON of a Steps.  RESULT gets either the reason why nothing could be measured, or the measurements.
The measurements are the seconds of a step in each block, the losses, and how often each kernel was used.  Seconds and
losses are given twice: for the script without kernels, and for the script with kernels.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from autoresearch_mlx.targets.kernel.inside.script import Clock, ScriptFailed, Steps, load, needs
from autoresearch_mlx.targets.kernel.pairs import order
from autoresearch_mlx.targets.kernel.request import Steps as Request

_WARM, _LEAST, _MOST = 2, 2, 400
"""Number of untimed steps at the start of a block, and the smallest and largest number of timed steps."""
_GHOST_STEPS = 3


def main(request_path: str, result_path: str) -> None:
    request = Request.from_json(Path(request_path).read_text(encoding="utf-8"))
    mx.set_default_device(mx.gpu if request.device == "gpu" else mx.cpu)
    try:
        found = timed(request)
    except ScriptFailed as failed:
        found = {"failed": str(failed)}
    except Exception as error:  # an exception of the script
        found = {"failed": f"{type(error).__name__}: {error}"}
    Path(result_path).write_text(json.dumps(found), encoding="utf-8")


def timed(request: Request) -> dict[str, Any]:
    """Return the timed blocks without and with kernels, or only a reason if the step does not use a kernel.  Raises
    ScriptFailed if the script cannot be run."""
    sides = {True: load(Path(request.plain), "plain_script"), False: load(Path(request.changed), "changed_script")}
    for module in sides.values():
        needs(module, "build_model", "train")
    first = {plain: _run(module, request, _GHOST_STEPS) for plain, module in sides.items()}
    uses = _uses(sides[False], request)
    if (why := _unused(uses)) is not None:
        return {"unused": why, "uses": uses}
    if (why := _ghost(sides[True], request, first[True])) is not None:
        return {"unused": why, "uses": uses}
    steps = {plain: _fitting(run, request) for plain, run in first.items()}
    again = min(steps.values())
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for plain in order(request.pairs):
        seconds[plain].append(median(_run(sides[plain], request, _WARM + again).seconds[_WARM:]))
    return {
        "plain": seconds[True],
        "changed": seconds[False],
        "steps": again,
        "apart": _apart(first[True], first[False]),
        "uses": _uses(sides[False], request),
    }


class _Run:
    """The results of one call of ``train``: seconds of the steps, losses, and sums of the weights at the end."""

    def __init__(self, seconds: list[float], losses: list[float], weights: list[float]) -> None:
        self.seconds, self.losses, self.weights = seconds, losses, weights


def _run(module: ModuleType, request: Request, steps: int) -> _Run:
    """Train a new model for some steps; every run has the same seed and the same batches."""
    mx.random.seed(request.seed)
    model = module.build_model(request.vocab_size, request.seq_len)
    clock = Clock(model)
    trial = Steps(request.vocab_size, request.seq_len, steps, between=clock, seed=request.seed)
    module.train(model, trial)
    if len(clock.seconds) < steps:
        raise ScriptFailed(f"train() ended after {len(clock.seconds)} of {steps} steps")
    losses = [float(np.array(mx.array(loss).astype(mx.float32)).mean()) for loss in trial.losses]
    weights = [float(mx.sum(mx.abs(w.astype(mx.float32)))) for _, w in tree_flatten(model.parameters())]
    return _Run(clock.seconds, losses, weights)


def _fitting(run: _Run, request: Request) -> int:
    """Return the number of steps of a block."""
    return int(min(_MOST, max(_LEAST, math.ceil(request.block_seconds / max(run.seconds[-1], 1e-6)))))


def _uses(module: ModuleType, request: Request) -> dict[str, dict[str, Any]]:
    return {name: vars(vars(getattr(module, name))["uses"]) for name in request.functions}


def _unused(uses: dict[str, dict[str, Any]]) -> str | None:
    for name, each in uses.items():
        if not each["kernel"]:
            why = each["why"] or "the step does not call it"
            return f"the kernel for {name} is not used in the step: {why}"
    return None


def _ghost(module: ModuleType, request: Request, right: _Run) -> str | None:
    """Return why a kernel cannot be measured, or None if every kernel can be.

    For each function, a few steps run with wrong results of the function.  If losses and weights stay the same, the
    step ignores these results, and the time of the kernel would mean nothing.
    """
    for name in request.functions:
        plain = getattr(module, name)

        def nothing(*arguments: Any, _plain: Any = plain, **named: Any) -> Any:
            found = _plain(*arguments, **named)
            return tuple(map(_spoilt, found)) if isinstance(found, tuple) else _spoilt(found)

        setattr(module, name, nothing)
        try:
            ghost = _run(module, request, _GHOST_STEPS)
        finally:
            setattr(module, name, plain)
        if ghost.losses == right.losses and ghost.weights == right.weights:
            return f"wrong results of {name} give the same losses and weights, so the step does not use the results"
    return None


def _spoilt(array: mx.array) -> mx.array:
    """Return an array with wrong values in place of those of ``array``.

    No wrong value is NaN, because a NaN would show even in a step that multiplies it by 0 and so ignores it.
    """
    return (1 - array).astype(array.dtype) if mx.issubdtype(array.dtype, mx.floating) else array


def _apart(plain: _Run, changed: _Run) -> float | None:
    """Return the largest difference between two losses, as a share of the loss, or None if a loss is not finite."""
    pairs = list(zip(plain.losses, changed.losses, strict=True))
    if not all(math.isfinite(each) for pair in pairs for each in pair):
        return None
    return max(abs(a - b) / max(abs(a), 1e-12) for a, b in pairs)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
