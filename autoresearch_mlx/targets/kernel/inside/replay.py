"""Replay each operation alone, to measure its time.

An operation is repeated many times, on inputs with the same shapes, number types and memory order as in the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from autoresearch_mlx.targets.kernel.inside.script import now
from autoresearch_mlx.targets.kernel.inside.trace import HOST, HOST_GRADIENT
from autoresearch_mlx.targets.kernel.operations import Operand, Operation, Spec

_SAME: Mapping[str, Callable[..., mx.array]] = {
    "Abs": mx.abs,
    "Add": mx.add,
    "Subtract": mx.subtract,
    "Multiply": mx.multiply,
    "Divide": mx.divide,
    "Maximum": mx.maximum,
    "Minimum": mx.minimum,
    "Power": mx.power,
    "Remainder": mx.remainder,
    "Matmul": mx.matmul,
    "AddMM": lambda a, b, c: mx.addmm(c, a, b),
    "Select": mx.where,
    "Negative": mx.negative,
    "Square": mx.square,
    "Exp": mx.exp,
    "Expm1": mx.expm1,
    "Log1p": mx.log1p,
    "Sin": mx.sin,
    "Cos": mx.cos,
    "Tanh": mx.tanh,
    "Cosh": mx.cosh,
    "Sinh": mx.sinh,
    "Sigmoid": mx.sigmoid,
    "Erf": mx.erf,
    "Floor": mx.floor,
    "Ceil": mx.ceil,
    "Round": mx.round,
    "Sign": mx.sign,
    "Greater": mx.greater,
    "GreaterEqual": mx.greater_equal,
    "Less": mx.less,
    "LessEqual": mx.less_equal,
    "Equal": mx.equal,
    "NotEqual": mx.not_equal,
    "LogicalAnd": mx.logical_and,
    "LogicalOr": mx.logical_or,
    "LogicalNot": mx.logical_not,
    "LogAddExp": mx.logaddexp,
    "StopGradient": mx.stop_gradient,
    "Copy": lambda x: mx.contiguous(x),
    "Contiguous": lambda x: mx.contiguous(x),
}
"""Operations for which MLX has a function that takes the same inputs and no other arguments."""
_REDUCE = ("all", "any", "sum", "prod", "min", "max")
_LOG = {0: mx.log2, 1: mx.log10, 2: mx.log}
_SECONDS, _ROUNDS = 0.006, 3
_TOGETHER_BYTES = 2 * 2**20
"""Largest size, in bytes, of the results of one evaluation.  Larger results would need new memory for each evaluation,
but a step uses its memory again."""


class NotReplayed(Exception):
    """Raised for an operation that this module cannot replay; the message says why."""


def replayed(op: Operation, host: Mapping[str, Callable[..., Any]], empty: float) -> float:
    """Return the seconds of one call of an operation alone: the median of several rounds minus the time of an empty
    evaluation.

    Raises NotReplayed.
    """
    function, inputs = prepared(op, host)
    return max(0.0, seconds_of(function, inputs, sum(spec.bytes for spec in op.outputs)) - empty)


def prepared(op: Operation, host: Mapping[str, Callable[..., Any]]) -> tuple[Callable[..., Any], list[mx.array]]:
    """Return a function and inputs that replay one operation.  Raises NotReplayed."""
    limit = _index_limit(op)
    views = [_viewed(operand, limit) for operand in op.inputs]
    function = _function(op, host)
    arrays = [base for base, _ in views]

    def run(*bases: mx.array) -> Any:
        return function(*(view(base) for base, (_, view) in zip(bases, views, strict=True)))

    mx.eval(arrays)
    try:
        found = run(*arrays)
        found = list(found) if isinstance(found, list | tuple) else [found]
        mx.eval(found)
    except Exception as error:
        raise NotReplayed(f"{type(error).__name__}: {error}".splitlines()[0]) from error
    shapes = [tuple(each.shape) for each in found]
    if shapes != [spec.shape for spec in op.outputs]:
        raise NotReplayed(f"the replay gives outputs with the wrong shapes {shapes}")
    return run, arrays


def seconds_of(function: Callable[..., Any], inputs: Sequence[mx.array], result_bytes: int) -> float:
    """Return the seconds of one call: the median of several rounds with equal numbers of calls.

    Calls whose results (``result_bytes`` each) are small are evaluated several at a time.
    """
    together = max(1, min(64, _TOGETHER_BYTES // max(1, result_bytes)))
    once = _timed(function, inputs, 1, together)
    rounds = max(1, min(200, int(_SECONDS / max(once, 1e-7))))
    return float(np.median([_timed(function, inputs, rounds, together) for _ in range(_ROUNDS)])) / together


def _timed(function: Callable[..., Any], inputs: Sequence[mx.array], rounds: int, together: int) -> float:
    began = now()
    for _ in range(rounds):
        mx.eval([function(*inputs) for _ in range(together)])
    return (now() - began) / rounds


def empty_seconds() -> float:
    """Return the seconds of a call that computes almost nothing: building a small graph, starting it and waiting."""
    small = mx.zeros(())
    mx.eval(small)
    return seconds_of(lambda x: mx.negative(x), [small], 4)


def number_type(name: str) -> mx.Dtype:
    """Return MLX's number type of this name.  MLX's name for ``bool`` is ``bool_``; all other names are the same."""
    found: mx.Dtype = getattr(mx, "bool_" if name == "bool" else name)
    return found


def sample(spec: Spec, seed: int, limit: int = 2) -> mx.array:
    """Return a random array for this spec: floats between 0.5 and 1.5, integers below ``limit``, booleans."""
    random = np.random.default_rng(seed)
    kind = number_type(spec.dtype)
    if spec.dtype == "bool":
        return mx.array(random.random(spec.shape) < 0.5)
    if "int" in spec.dtype:
        return mx.array(random.integers(0, max(1, limit), spec.shape).astype(np.int32)).astype(kind)
    return mx.array(random.uniform(0.5, 1.5, spec.shape).astype(np.float32)).astype(kind)


def _index_limit(op: Operation) -> int:
    """Return a bound for the indices of an operation; each index must be below the bound."""
    if op.name in ("Gather", "Scatter", "GatherAxis", "ScatterAxis") and op.inputs and op.inputs[0].seen.shape:
        return min(op.inputs[0].seen.shape[axis] for axis in _axes(op))
    return 2


def _axes(op: Operation) -> tuple[int, ...]:
    last = op.arguments[-1] if op.name != "Gather" else op.arguments[0]
    return last if isinstance(last, tuple) else (last,)


def _viewed(operand: Operand, limit: int) -> tuple[mx.array, Callable[[mx.array], mx.array]]:
    base = sample(operand.base, 1, limit)
    if operand.value is not None:
        base = mx.array(operand.value, dtype=number_type(operand.base.dtype))
    steps = [_view(name, arguments) for name, arguments in operand.views]

    def view(array: mx.array) -> mx.array:
        for step in steps:
            array = step(array)
        return array

    return base, view


def _view(name: str, arguments: Any) -> Callable[[mx.array], mx.array]:
    match name, arguments:
        case "Broadcast", (shape,):
            return lambda x: mx.broadcast_to(x, shape)
        case "Transpose", (axes,):
            return lambda x: mx.transpose(x, axes)
        case "Squeeze", (axes,):
            return lambda x: mx.squeeze(x, axes)
        case "ExpandDims", (axes,):
            return lambda x: mx.expand_dims(x, axes)
        case "Flatten", (first, last):
            return lambda x: mx.flatten(x, first, last)
        case "Unflatten", (axis, shape):
            return lambda x: mx.unflatten(x, axis, shape)
        case "Reshape", (shape,):
            return lambda x: mx.reshape(x, shape)
        case "Slice", (starts, ends, strides):
            cut = tuple(slice(a, b, c) for a, b, c in zip(starts, ends, strides, strict=True))
            return lambda x: x[cut]
        case "AsStrided", (shape, strides, offset):
            return lambda x: mx.as_strided(x, shape, strides, offset)
    raise NotReplayed(f"this version cannot replay {name}{list(arguments)}")


def _function(op: Operation, host: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Return the MLX function that performs one operation.  Raises NotReplayed."""
    if op.name.startswith(HOST):
        return host[op.name]
    if op.name.startswith(HOST_GRADIENT):
        if op.name not in host:
            raise NotReplayed("its gradient is not defined")
        gradient = host[op.name]
        return lambda cotangent: gradient(cotangent, cotangent, cotangent)
    if op.name in _SAME:
        return _SAME[op.name]
    match op.name, op.arguments:
        case "Sqrt", (reciprocal,):
            return mx.rsqrt if reciprocal else mx.sqrt
        case "Log", (base,):
            return _LOG[base]
        case "Reduce", (kind, axes):
            reduce = getattr(mx, _REDUCE[kind])
            return lambda x: reduce(x, axis=axes, keepdims=len(op.outputs[0].shape) == x.ndim)
        case "ArgReduce", (kind, axis):
            arg = mx.argmin if kind == 0 else mx.argmax
            return lambda x: arg(x, axis=axis, keepdims=len(op.outputs[0].shape) == x.ndim)
        case "Softmax", (precise,):
            return lambda x: mx.softmax(x, axis=-1, precise=precise)
        case "LogSumExp", _:
            return lambda x: mx.logsumexp(x, axis=-1, keepdims=True)
        case "AsType", _:
            return lambda x: x.astype(number_type(op.outputs[0].dtype))
        case "Concatenate", (axis,):
            return lambda *parts: mx.concatenate(list(parts), axis=axis)
        case "Split", (where, axis):
            return lambda x: mx.split(x, list(where), axis=axis)
        case "Arange", (start, stop, step):
            return lambda: mx.arange(start, stop, step, dtype=number_type(op.outputs[0].dtype))
        case "GatherAxis", (axis,):
            return lambda x, at: mx.take_along_axis(x, at, axis=axis)
        case "ScatterAxis", (_, axis):
            return lambda x, at, new: mx.put_along_axis(x, at, new, axis=axis)
        case "Gather", ((axis,), _) if len(op.inputs) == 2:
            shape = op.outputs[0].shape
            return lambda x, at: mx.take(x, at, axis=axis).reshape(shape)
        case "Scatter", (2, (0,)) if len(op.inputs) == 3:
            rows = (*op.inputs[1].seen.shape, *op.inputs[0].seen.shape[1:])
            return lambda x, at, new: x.at[at].add(new.reshape(rows))
        case "SliceUpdate", (_, starts, *_):
            return lambda x, new: mx.slice_update(x, new, mx.array(starts), list(range(x.ndim)))
    raise NotReplayed(f"this version of the tool cannot replay {op.name}")
