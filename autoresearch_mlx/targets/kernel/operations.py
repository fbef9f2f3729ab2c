"""Define the operations of a traced step, and the JSON form in which a child process sends operations to its parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

Shape = tuple[int, ...]
BYTES = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2, "int32": 4}
"""Number type -> bytes of one number.  Other types count as eight bytes if their names end in 64, else as four."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The shape and number type of one array."""

    shape: Shape
    dtype: str

    @property
    def bytes(self) -> int:
        return prod(self.shape) * BYTES.get(self.dtype, 8 if self.dtype.endswith("64") else 4)

    def words(self) -> str:
        return "x".join(map(str, self.shape)) or "scalar"


@dataclass(frozen=True, slots=True)
class Operand:
    """One input of an operation: an array in memory, and the views through which the operation reads it.

    A view, such as a transpose, takes no time by itself.  But it determines the order in which memory is read, so a
    replay must repeat the view.
    """

    base: Spec
    views: tuple[tuple[str, Any], ...] = ()
    """Names and arguments of the views; the first applies to the array in memory, the last gives the operation's
    input."""
    read: Spec | None = None
    """The array after the views, as the operation reads it, or None if there are no views."""
    value: float | None = None
    """Value of the input if it is a scalar constant, else None."""

    @property
    def seen(self) -> Spec:
        return self.read or self.base


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the graph, with everything on which its time depends."""

    name: str
    arguments: Any
    inputs: tuple[Operand, ...]
    outputs: tuple[Spec, ...]

    @property
    def row(self) -> tuple[str, tuple[Shape, ...], str]:
        """Return the key of the operation's row in the profile: name, shapes of inputs, number type of the output."""
        shapes = tuple(operand.seen.shape for operand in self.inputs) or tuple(spec.shape for spec in self.outputs)
        return self.name, shapes, self.outputs[0].dtype if self.outputs else ""

    @property
    def bytes(self) -> int:
        """Return the smallest number of bytes that the operation must read and write."""
        read = sum(min(operand.base.bytes, operand.seen.bytes) for operand in self.inputs)
        return read + sum(spec.bytes for spec in self.outputs)

    @property
    def flops(self) -> int:
        """Return the number of floating-point operations of a matrix product, or 0 for other operations."""
        if self.name not in ("Matmul", "AddMM") or not self.inputs[0].seen.shape:
            return 0
        return 2 * prod(self.outputs[0].shape) * self.inputs[0].seen.shape[-1]


def frozen(value: Any) -> Any:
    """Return nested lists as tuples, so that the value can be compared and hashed."""
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def spec_from(found: Sequence[Any]) -> Spec:
    return Spec(tuple(found[0]), found[1])


def spec_to(spec: Spec) -> list[Any]:
    return [list(spec.shape), spec.dtype]


def operation_to(op: Operation) -> dict[str, Any]:
    """Return an operation as plain JSON values, which :func:`operation_from` reads back."""
    inputs = [
        {
            "base": spec_to(each.base),
            "views": each.views,
            "read": spec_to(each.read) if each.read else None,
            "value": each.value,
        }
        for each in op.inputs
    ]
    return {"name": op.name, "arguments": op.arguments, "inputs": inputs, "outputs": list(map(spec_to, op.outputs))}


def operation_from(found: Mapping[str, Any]) -> Operation:
    inputs = tuple(
        Operand(
            spec_from(each["base"]),
            frozen(each["views"]),
            spec_from(each["read"]) if each["read"] else None,
            each["value"],
        )
        for each in found["inputs"]
    )
    return Operation(found["name"], frozen(found["arguments"]), inputs, tuple(map(spec_from, found["outputs"])))
