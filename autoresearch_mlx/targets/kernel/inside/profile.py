"""Profile a script in a child process, and write the result to a file as JSON:

    python -P -m autoresearch_mlx.targets.kernel.inside.profile REQUEST RESULT

REQUEST is the JSON of a Request.  The process measures whole steps, traces one step, and replays each distinct
operation of the trace.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from autoresearch_mlx.targets.kernel.inside import trace
from autoresearch_mlx.targets.kernel.inside.calls import Call
from autoresearch_mlx.targets.kernel.inside.replay import (
    NotReplayed,
    empty_seconds,
    number_type,
    replayed,
    sample,
    seconds_of,
)
from autoresearch_mlx.targets.kernel.inside.script import Clock, ScriptFailed, Steps, load, needs, now, tokens
from autoresearch_mlx.targets.kernel.operations import Operation, Spec, operation_to, spec_to
from autoresearch_mlx.targets.kernel.request import Request

_WARM_STEPS, _LEAST_STEPS, _MOST_STEPS = 2, 4, 40
_STEP_SECONDS = 2.0
"""Total seconds that the measured steps should take."""
_ALONE = 2**30
"""Size in bytes that is assumed for the results of a function.  With such a large size, the replay evaluates one call
at a time.  A single call may have hundreds of operations."""
_PEAK_SIDES = (256, 1024)
_COPY_BYTES = (2**17, 2**20, 2**24, 2**26)


def main(request_path: str, result_path: str) -> None:
    request = Request.from_json(Path(request_path).read_text(encoding="utf-8"))
    mx.set_default_device(mx.gpu if request.device == "gpu" else mx.cpu)
    mx.random.seed(request.seed)
    trace.install()
    try:
        found = profiled(request)
    except ScriptFailed as failed:
        found = {"failed": str(failed)}
    except Exception as error:  # an exception of the script
        found = {"failed": f"{type(error).__name__}: {error}"}
    Path(result_path).write_text(json.dumps(found), encoding="utf-8")


def profiled(request: Request) -> dict[str, Any]:
    """Return the time of the step, the operations and functions with their times, and the machine's limits.

    Raises ScriptFailed if the script has no step that can be run or traced.
    """
    module = load(Path(request.script))
    needs(module, "build_model", *(["train"] if request.mode == "step" else []))
    measure = _step if request.mode == "step" else _forward
    seconds, batches = measure(module, request)
    if request.mode == "step":
        found = trace.trace_step(module, request.vocab_size, request.seq_len, batches)
    else:
        found = trace.trace_forward(module, request.vocab_size, request.seq_len, request.rows)
    mx.disable_compile() if request.device == "cpu" else mx.enable_compile()
    if not found.operations:
        raise ScriptFailed("the trace of the step is empty: do the logged losses and the weights depend on the batch?")
    empty = empty_seconds()
    operations = [_timed(op, calls, found.host, empty) for op, calls in found.operations.items()]
    again, _ = measure(module, request)  # steps are measured before and after the replays
    return {
        "step_seconds": [*seconds, *again],
        "operations": operations,
        "functions": [_function(module, call, count, empty) for call, count in found.calls.items()],
        "limits": {"copy_bytes_per_second": _copy_speed(), "flops_per_second": _product_speed()},
        "building_seconds": found.building_seconds,
        "notes": found.notes,
        "mlx": version("mlx"),
    }


def _step(module: Any, request: Request) -> tuple[list[float], list[tuple[int, int]]]:
    """Run a few steps; return the seconds of each step, and the shapes of the batches of one step."""
    model = module.build_model(request.vocab_size, request.seq_len)
    clock = Clock(model)
    first = Steps(request.vocab_size, request.seq_len, _WARM_STEPS, between=clock)
    module.train(model, first)
    if not clock.seconds:
        raise ScriptFailed("train() logged no step")
    shapes = first.shapes[: max(1, len(first.shapes) // _WARM_STEPS)]
    steps = int(min(_MOST_STEPS, max(_LEAST_STEPS, _STEP_SECONDS / 2 / max(clock.seconds[-1], 1e-6))))
    model = module.build_model(request.vocab_size, request.seq_len)
    clock = Clock(model)
    module.train(model, Steps(request.vocab_size, request.seq_len, _WARM_STEPS + steps, between=clock))
    return clock.seconds[_WARM_STEPS:], shapes


def _forward(module: Any, request: Request) -> tuple[list[float], list[tuple[int, int]]]:
    model = module.build_model(request.vocab_size, request.seq_len)
    inputs, _ = tokens(request.rows, request.seq_len, request.vocab_size, request.seed)
    seconds: list[float] = []
    began = now()
    while len(seconds) < _WARM_STEPS + _LEAST_STEPS or now() - began < _STEP_SECONDS / 2:
        at = now()
        mx.eval(model(inputs))
        seconds.append(now() - at)
    return seconds[_WARM_STEPS:], [(request.rows, request.seq_len)]


def _timed(op: Operation, calls: int, host: dict[str, Callable[..., Any]], empty: float) -> dict[str, Any]:
    known = {"operation": operation_to(op), "calls": calls}
    try:
        return known | {"seconds": replayed(op, host, empty), "why": ""}
    except NotReplayed as why:
        return known | {"seconds": None, "why": str(why)}


def _function(module: Any, call: Call, calls: int, empty: float) -> dict[str, Any]:
    """Time one function of the script alone, with the function's gradient if the step takes the gradient."""
    function = getattr(module, call.name)
    specs = call.arrays
    known = {
        "name": call.name,
        "arguments": [[name, spec_to(v) if isinstance(v, Spec) else {"constant": v}] for name, v in call.arguments],
        "outputs": [spec_to(spec) for spec in call.outputs],
        "differentiated": call.differentiated,
        "calls": calls,
        "bytes": sum(spec.bytes for spec in (*specs, *call.outputs)),
    }
    limit = _index_limit(specs)
    inputs = [sample(spec, number, limit) for number, spec in enumerate(specs)]

    def run(*arrays: mx.array) -> Any:
        given = iter(arrays)
        return function(**{name: next(given) if isinstance(v, Spec) else v for name, v in call.arguments})

    wrt = [at for at, spec in enumerate(specs) if "float" in spec.dtype]
    try:
        mx.eval(run(*inputs))
        timed = run if not (call.differentiated and wrt) else _with_gradient(run, call.outputs)
        mx.eval(timed(*inputs))
        seconds = seconds_of(timed, inputs, _ALONE)
    except Exception as error:
        return known | {"seconds": None, "why": f"{type(error).__name__}: {error}".splitlines()[0]}
    return known | {"seconds": max(0.0, seconds - empty), "why": ""}


def _with_gradient(run: Callable[..., Any], outputs: tuple[Spec, ...]) -> Callable[..., Any]:
    def both(*inputs: mx.array) -> Any:
        floats = [at for at, each in enumerate(inputs) if mx.issubdtype(each.dtype, mx.floating)]

        def of_floats(*some: mx.array) -> Any:
            given = dict(zip(floats, some, strict=True))
            found = run(*(given.get(at, each) for at, each in enumerate(inputs)))
            return list(found) if isinstance(found, tuple) else [found]

        cotangents = [mx.ones(spec.shape, number_type(spec.dtype)) for spec in outputs]
        return mx.vjp(of_floats, [inputs[at] for at in floats], cotangents)

    return both


def _index_limit(specs: tuple[Spec, ...]) -> int:
    """Return an upper bound for random integer inputs: the last axis of the first array of floats, or 2 without such
    an array."""
    return next((spec.shape[-1] for spec in specs if "float" in spec.dtype and spec.shape), 2)


def _copy_speed() -> float:
    """Return the speed of the fastest copy measured here, in bytes read and written per second."""
    best = 0.0
    for size in _COPY_BYTES:
        array = mx.ones((size // 4,))
        mx.eval(array)
        best = max(best, 2 * size / max(1e-9, seconds_of(lambda x: mx.negative(x), [array], size)))
    return best


def _product_speed() -> float:
    """Return the speed of the fastest float32 matrix product measured here, in FLOPs per second."""
    best = 0.0
    for side in _PEAK_SIDES:
        square = mx.array(np.random.default_rng(0).standard_normal((side, side)).astype(np.float32))
        mx.eval(square)
        best = max(best, 2 * side**3 / seconds_of(mx.matmul, [square, square], 4 * side * side))
    return best


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
