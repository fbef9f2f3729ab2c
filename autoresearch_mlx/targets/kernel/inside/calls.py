"""Record the calls of the script's functions, with their arguments, while a step is traced."""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import mlx.core as mx

from autoresearch_mlx.targets.kernel.operations import Spec

Argument: TypeAlias = Spec | bool | int | float | str | tuple[Any, ...] | None
_CONTRACT = ("build_model", "train")


@dataclass(frozen=True)
class Call:
    """A recorded call of one of the script's functions: its name, its arguments (arrays and constants), and its
    outputs."""

    name: str
    arguments: tuple[tuple[str, Argument], ...]
    """(parameter, argument) pairs; an argument is the spec of an array, or a constant."""
    outputs: tuple[Spec, ...]
    differentiated: bool
    """Whether the call was made inside a function whose gradient is taken."""

    @property
    def arrays(self) -> tuple[Spec, ...]:
        return tuple(value for _, value in self.arguments if isinstance(value, Spec))


def functions_of(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Return the plain functions at the top level of the script, except those that the harness calls."""
    own = inspect.getmembers(module, inspect.isfunction)
    return {name: f for name, f in own if f.__module__ == module.__name__ and name not in _CONTRACT}


@contextmanager
def watched_calls(module: ModuleType, seen: Callable[[str, inspect.BoundArguments, Any, bool], None]) -> Iterator[None]:
    """Call ``seen(name, arguments, result, differentiated)`` after each call of one of the script's functions."""
    depth = [0]
    functions = functions_of(module)
    gradients = {name: getattr(mx, name) for name in ("grad", "value_and_grad", "vjp")}

    def within(transform: Callable[..., Any]) -> Callable[..., Any]:
        def made(function: Callable[..., Any], *more: Any, **options: Any) -> Any:
            @functools.wraps(function)
            def counted(*arguments: Any, **named: Any) -> Any:
                depth[0] += 1
                try:
                    return function(*arguments, **named)
                finally:
                    depth[0] -= 1

            return transform(counted, *more, **options)

        return made

    def spied(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def called(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            bound = signature.bind(*arguments, **named)
            bound.apply_defaults()
            seen(name, bound, result, depth[0] > 0)
            return result

        return called

    try:
        for name, function in functions.items():
            setattr(module, name, spied(name, function))
        for name, transform in gradients.items():
            setattr(mx, name, within(transform))
        yield
    finally:
        for name, function in functions.items():
            setattr(module, name, function)
        for name, transform in gradients.items():
            setattr(mx, name, transform)


@contextmanager
def recorded_calls(module: ModuleType, calls: Counter[Call]) -> Iterator[None]:
    """Count the calls of the script's functions that take arrays and constants and return arrays."""

    def seen(name: str, bound: inspect.BoundArguments, result: Any, differentiated: bool) -> None:
        call = call_of(name, bound, result, differentiated)
        if call is not None:
            calls[call] += 1

    with watched_calls(module, seen):
        yield


def call_of(name: str, bound: inspect.BoundArguments, result: Any, differentiated: bool) -> Call | None:
    """Return the call, or None if an argument is neither an array nor a constant, or if no argument is an array."""
    results = result if isinstance(result, tuple) else (result,)
    if not all(isinstance(each, mx.array) for each in results):
        return None
    kinds = [p.kind for p in bound.signature.parameters.values()]
    if any(kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY) for kind in kinds):
        return None
    arguments = tuple((each, _argument(value)) for each, value in bound.arguments.items())
    if any(value is _OTHER for _, value in arguments) or not any(isinstance(value, Spec) for _, value in arguments):
        return None
    return Call(name, arguments, tuple(spec_of(each) for each in results), differentiated)


_OTHER: Any = object()


def _argument(value: Any) -> Any:
    if isinstance(value, mx.array):
        return spec_of(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple) and all(isinstance(each, bool | int | float | str) for each in value):
        return value
    return _OTHER


def spec_of(array: mx.array) -> Spec:
    return Spec(tuple(array.shape), str(array.dtype).removeprefix("mlx.core."))
