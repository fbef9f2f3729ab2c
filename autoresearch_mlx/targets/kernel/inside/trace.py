"""Trace one training step, or one forward pass, into its MLX operations.

``mx.export_function`` traces a function and passes the operations to a callback.  This module traces the script's own
``train`` twice, once for one step and once for two steps.  The difference between the two traces is one step in the
middle of a run.  This step is free of work that a run does only once, such as making the optimiser's state.

A trace is a graph and computes nothing.  So ``mx.eval`` does nothing during a trace, and functions are not compiled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten

from autoresearch_mlx.targets.kernel.inside.calls import Call, recorded_calls
from autoresearch_mlx.targets.kernel.inside.script import ScriptFailed, Steps, now
from autoresearch_mlx.targets.kernel.operations import Operand, Operation, Spec, frozen

VIEWS = {"Broadcast", "Transpose", "Squeeze", "ExpandDims", "Flatten", "Unflatten", "Reshape", "Slice", "AsStrided"}
"""Operations that only change how memory is read (views).

Each view counts as part of the operation that reads the view's result.
"""
_IN_A_TRACE = "during function transformations"
"""Part of MLX's error message if a function reads an array's value during a trace."""
_MARK = -7.25e30
"""A factor that no script uses.

In a trace, a product with this factor marks a function that computes outside MLX.
"""
HOST, HOST_GRADIENT = "host:", "host gradient:"
"""Prefixes in names of operations.  The first marks a function that computes outside MLX, the second the gradient of
such a function."""


@dataclass
class Trace:
    """The result of one trace."""

    operations: Counter[Operation] = field(default_factory=Counter)
    calls: Counter[Call] = field(default_factory=Counter)
    """Calls of the script's own functions."""
    host: dict[str, Callable[..., Any]] = field(default_factory=dict)
    """Name of an operation -> function that computes it outside MLX."""
    notes: list[str] = field(default_factory=list)
    building_seconds: float = 0.0
    """Time that the script and MLX took to build the graph."""

    def minus(self, other: Trace) -> Trace:
        return Trace(
            self.operations - other.operations,
            self.calls - other.calls,
            self.host,
            self.notes,
            max(0.0, self.building_seconds - other.building_seconds),
        )


class CustomFunction:
    """Replaces ``mx.custom_function``, because MLX cannot export the operation of the original.

    Outside a trace this class behaves like ``mx.custom_function``.  In a trace, a function that MLX can trace is traced
    unchanged, with MLX's own gradient.  A function that reads values (with numpy, say) becomes a product with a marked
    constant, and so does its gradient.
    """

    active: ClassVar[Trace | None] = None
    marked: ClassVar[dict[int, str]] = {}
    real: ClassVar[Any] = mx.custom_function

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._vjp: Callable[..., Any] | None = None
        self._real = CustomFunction.real(function)

    def __call__(self, *arguments: Any) -> Any:
        trace = CustomFunction.active
        if trace is None:
            return self._real(*arguments)
        name = getattr(self.function, "__name__", "function")
        try:
            done = self.function(*arguments)
        except ValueError as error:
            if _IN_A_TRACE not in str(error):
                raise
            if len(arguments) != 1:
                raise ScriptFailed(
                    f"{name}() computes outside of MLX and has several arguments, so it cannot be traced"
                ) from None
            trace.host[HOST + name] = self.function
            if self._vjp is not None:
                trace.host[HOST_GRADIENT + name] = self._vjp
            number = len(CustomFunction.marked) + 1
            CustomFunction.marked[number] = name
            return arguments[0] * mx.array(_MARK * number, dtype=arguments[0].dtype)
        if self._vjp is not None:
            said = f"{name}() is counted with MLX's own gradient, not with the custom gradient"
            trace.notes.extend([] if said in trace.notes else [said])
        return done

    def vjp(self, function: Any) -> Any:
        self._vjp = function
        self._real.vjp(function)
        return function

    def jvp(self, function: Any) -> Any:
        self._real.jvp(function)
        return function

    def vmap(self, function: Any) -> Any:
        self._real.vmap(function)
        return function


def trace_step(module: ModuleType, vocab: int, seq_len: int, batches: Sequence[tuple[int, int]]) -> Trace:
    """Return the operations of one step of ``train`` in the middle of a run.

    ``batches`` holds the shapes of the batches of one step.  Raises ScriptFailed if the step cannot be traced.
    """
    return _steps(module, vocab, seq_len, batches, 2).minus(_steps(module, vocab, seq_len, batches, 1))


def trace_forward(module: ModuleType, vocab: int, seq_len: int, rows: int) -> Trace:
    """Return the operations of one forward pass of the model that ``build_model`` returns."""
    model = module.build_model(vocab, seq_len)
    named = tree_flatten(model.parameters())

    def forward(inputs: mx.array, *weights: mx.array) -> list[mx.array]:
        model.update(tree_unflatten([(name, w) for (name, _), w in zip(named, weights, strict=True)]))
        return [model(inputs)]

    return _trace(module, forward, [mx.zeros((rows, seq_len), mx.int32), *(w for _, w in named)])


def _steps(module: ModuleType, vocab: int, seq_len: int, batches: Sequence[tuple[int, int]], steps: int) -> Trace:
    model = module.build_model(vocab, seq_len)
    named = tree_flatten(model.parameters())
    served = [mx.zeros(shape, mx.int32) for _ in range(steps) for shape in batches for _ in range(2)]

    def run(*arrays: mx.array) -> list[mx.array]:
        rows, weights = arrays[: len(served)], arrays[len(served) :]
        model.update(tree_unflatten([(name, w) for (name, _), w in zip(named, weights, strict=True)]))
        pairs = zip(rows[::2], rows[1::2], strict=True)
        trial = Steps(vocab, seq_len, steps, served=pairs)
        module.train(model, trial)
        return [*trial.losses, *(w for _, w in tree_flatten(model.parameters()))]

    return _trace(module, run, [*served, *(w for _, w in named)])


def _trace(module: ModuleType, function: Callable[..., Any], inputs: Sequence[mx.array]) -> Trace:
    events: list[Mapping[str, Any]] = []
    trace = Trace()
    CustomFunction.marked.clear()

    def timed(*arrays: mx.array) -> Any:
        began = now()
        try:
            return function(*arrays)
        finally:
            trace.building_seconds = now() - began

    with _tracing(trace), recorded_calls(module, trace.calls):
        try:
            mx.export_function(events.append, timed, *inputs)
        except ValueError as error:
            where = "reads the value of an array in the middle of a step" if _IN_A_TRACE in str(error) else str(error)
            raise ScriptFailed(f"the step cannot be traced: it {where}") from error
        _read(events, trace)
    return trace


@contextmanager
def _tracing(trace: Trace) -> Iterator[None]:
    """During a trace, make ``mx.eval`` and similar functions do nothing, and turn compilation off."""
    waits = {name: getattr(mx, name) for name in ("eval", "async_eval", "synchronize")}
    CustomFunction.active = trace
    mx.disable_compile()
    try:
        for name in waits:
            setattr(mx, name, lambda *arrays, **options: None)
        yield
    finally:
        CustomFunction.active = None
        for name, real in waits.items():
            setattr(mx, name, real)


def _read(events: Sequence[Mapping[str, Any]], trace: Trace) -> None:
    """Count the operations of a trace.  Each operation includes the views through which it reads its inputs."""
    constants: dict[str, Any] = {}
    made: dict[str, Mapping[str, Any]] = {}
    for event in events:
        if event["type"] == "constants":
            constants.update(dict(event["constants"]))
        if event["type"] != "primitive":
            continue
        for name, _, _ in event["outputs"]:
            made[name] = event
        if event["name"] in VIEWS and len(event["inputs"]) == 1:
            continue  # a view is part of the operation that reads it
        operands = tuple(_operand(each, made, constants) for each in event["inputs"])
        outputs = tuple(Spec(tuple(shape), _dtype(dtype)) for _, shape, dtype in event["outputs"])
        arguments = frozen(_plain(event.get("arguments", [])))
        trace.operations[_unmarked(Operation(event["name"], arguments, operands, outputs), trace)] += 1


def _unmarked(op: Operation, trace: Trace) -> Operation:
    """Return the operation that a marked product stands for; other operations are returned unchanged."""
    if op.name != "Multiply":
        return op
    for at, operand in enumerate(op.inputs):
        if operand.value is not None and operand.value <= _MARK / 2:
            # To differentiate a product, MLX multiplies by a factor, in this order: (factor, gradient).
            kind = HOST if at == 1 else HOST_GRADIENT
            name = kind + CustomFunction.marked[round(operand.value / _MARK)]
            return Operation(name, (), (op.inputs[1 - at],), op.outputs)
    return op


def _operand(found: tuple[str, Any, Any], made: Mapping[str, Any], constants: Mapping[str, Any]) -> Operand:
    name, shape, dtype = found
    read = Spec(tuple(shape), _dtype(dtype))
    views: list[tuple[str, Any]] = []
    base = read
    while (event := made.get(name)) is not None and event["name"] in VIEWS and len(event["inputs"]) == 1:
        views.append((event["name"], frozen(_plain(event.get("arguments", [])))))
        name, shape, dtype = event["inputs"][0]
        base = Spec(tuple(shape), _dtype(dtype))
    value = None
    if name in constants and not base.shape and not base.dtype.startswith(("bool", "uint", "int", "complex")):
        value = float(constants[name].item())
    return Operand(base, tuple(reversed(views)), read if views else None, value)


def _dtype(found: Any) -> str:
    return str(found).removeprefix("mlx.core.")


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, bool | int | float | str) or value is None else _dtype(value)


def install() -> None:
    """Replace ``mx.custom_function`` in MLX with our class, before the script is imported."""
    vars(mx)["custom_function"] = CustomFunction
