"""Evaluate the constants of a Python file: literals, and arithmetic on numbers such as ``64 * 1024``.

No code of the file is run.  Large results are refused, because computing them may take long.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

_LARGEST_POWER = 64
_LARGEST = 2**128
"""Largest number that is evaluated; powers of larger numbers take long to compute."""
_OPERATIONS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}


def literal_of(node: ast.expr) -> Any:
    """Return the value of a literal, or of a small power such as ``2**16``, as batch sizes are often written.

    Raises ValueError, TypeError, MemoryError or RecursionError for anything else.
    """
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        base, power = ast.literal_eval(node.left), ast.literal_eval(node.right)
        if isinstance(base, int) and isinstance(power, int) and 0 <= power <= _LARGEST_POWER and abs(base) <= 64:
            return base**power
        raise ValueError("not a small power")
    return ast.literal_eval(node)


def number_of(node: ast.expr) -> int | float:
    """Return the value of arithmetic on numbers: ``64 * 1024``, ``1 << 16``, ``3e-4 / 2``.

    Raises ValueError for other expressions, for results that are not finite, and for very large numbers.
    """
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return _bounded(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = number_of(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = number_of(node.left), number_of(node.right)
        if isinstance(node.op, ast.Pow | ast.LShift | ast.RShift) and abs(right) > _LARGEST_POWER:
            raise ValueError("the exponent is too large")
        try:
            return _bounded(_OPERATIONS[type(node.op)](left, right))
        except (ArithmeticError, TypeError) as error:
            raise ValueError(str(error)) from None
    raise ValueError("not arithmetic on numbers")


def _bounded(value: Any) -> int | float:
    if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > _LARGEST:
        raise ValueError("not a number of a usual size")
    return value


def fits_json(value: Any) -> bool:
    """Return whether JSON can store a value: finite numbers, strings, True, False, None; lists and dicts of these."""
    if isinstance(value, list | tuple):
        return all(map(fits_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and fits_json(key) and fits_json(held) for key, held in value.items())
    if isinstance(value, str):
        return not any("\ud800" <= c <= "\udfff" for c in value)
    return value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
