"""Write one operation of a trace as a Python function, so that the operation can be a task."""

from __future__ import annotations

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.targets.kernel.operations import Operation

_INFIX = {"Add": "+", "Subtract": "-", "Multiply": "*", "Divide": "/", "Matmul": "@", "Power": "**"}
_CALLED = {
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Select": "where",
    "Negative": "negative",
    "Square": "square",
    "Exp": "exp",
    "Sin": "sin",
    "Cos": "cos",
    "Tanh": "tanh",
    "Cosh": "cosh",
    "Sigmoid": "sigmoid",
    "Erf": "erf",
    "Abs": "abs",
}
_REDUCED = {2: "sum", 4: "min", 5: "max"}
POSITIVE = frozenset({"Log", "Sqrt", "Power", "Divide"})
"""Operations whose inputs must be above 0."""


def operation_source(op: Operation) -> str:
    """Return the text of a Python file with ``operation(a, b, ...)``.

    Raises LabError for an operation that no kernel can replace alone, such as a look-up or a view.
    """
    names = [chr(ord("a") + at) for at in range(len(op.inputs))]
    expression = _expression(op, names)
    if expression is None:
        said = f"{op.name} cannot be taken out alone: it only moves numbers, or has inputs that are not arrays"
        raise LabError(
            said, "take out a function that contains this operation; `kernel profile` lists functions as f1, f2, ..."
        )
    return (
        '"""One operation of the step, as MLX computes it."""\n\nimport mlx.core as mx\n\n\n'
        f"def operation({', '.join(f'{name}: mx.array' for name in names)}) -> mx.array:\n    return {expression}\n"
    )


def _expression(op: Operation, names: list[str]) -> str | None:
    if not names or any(operand.seen.dtype.startswith(("int", "uint")) for operand in op.inputs):
        return None
    if op.name in _INFIX and len(names) == 2:
        return f" {_INFIX[op.name]} ".join(names)
    if op.name in _CALLED:
        return f"mx.{_CALLED[op.name]}({', '.join(names)})"
    match op.name, op.arguments:
        case "AddMM", _:
            return "mx.addmm(c, a, b)"
        case "Sqrt", (reciprocal,):
            return f"mx.{'rsqrt' if reciprocal else 'sqrt'}(a)"
        case "Log", (2,):
            return "mx.log(a)"
        case "Softmax", _:
            return "mx.softmax(a, axis=-1)"
        case "Reduce", (kind, axes) if kind in _REDUCED:
            keep = len(op.outputs[0].shape) == len(op.inputs[0].seen.shape)
            return f"mx.{_REDUCED[kind]}(a, axis={list(axes)}, keepdims={keep})"
    return None
