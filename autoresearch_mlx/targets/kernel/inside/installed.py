"""Replace a function of a training script with its kernel, and use the plain function where the kernel does not fit.

A kernel is used only for arguments that its task covers.  At the first call with new shapes, the kernel must also pass
a check.  The check compares the kernel's outputs with the plain function's, and the gradients too if the step takes
them.  If the kernel is not used, the plain function runs instead, and a line in the run's log says why.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import mlx.core as mx
import numpy as np

from autoresearch_mlx.targets.kernel import inputs as made
from autoresearch_mlx.targets.kernel.gpu_source import old_mlx
from autoresearch_mlx.targets.kernel.inside.functions import (
    OfArrays,
    arrays_of,
    back_end,
    forward_and_gradients,
    launched,
    of_arrays,
)
from autoresearch_mlx.targets.kernel.inside.referee import compared
from autoresearch_mlx.targets.kernel.task import Sizes, Task, task_from

_SEEDS = (11, 12)
_MOST_KNOWN, _MOST_SAID = 500, 5
_FORMS = ("metal", "cuda")


@dataclass
class Uses:
    """How often a function was called with its kernel and without the kernel, and why the kernel was not used."""

    kernel: int = 0
    plain: int = 0
    why: str = ""
    """Why the plain function was used for the first time, or an empty string if the kernel was always used."""


@dataclass
class _Kernel:
    """The kernel of one function, with a record of the arguments for which the kernel works or fails."""

    task: Task
    plain: Callable[..., Any]
    make: Callable[[], Mapping[str, Any]]
    uses: Uses = field(default_factory=Uses)
    known: dict[Any, Callable[..., Any] | None] = field(default_factory=dict)
    said: int = 0
    """Number of lines about this function that are in the log so far."""
    built: tuple[Callable[..., Any], OfArrays] | None = None

    def chosen(self, given: Mapping[str, Any]) -> Callable[..., Any]:
        """Return the function to call with these arguments: the kernel, or the plain function."""
        key = tuple(
            (value.shape, value.dtype) if isinstance(value, mx.array) else (type(value), repr(value))
            for value in given.values()
        )
        if key not in self.known:
            if len(self.known) >= _MOST_KNOWN:  # for example, a constant changes in each step
                self.known.clear()
            self.known[key] = self._tried(given)
        found = self.known[key]
        if found is None:
            self.uses.plain += 1
            return self.plain
        self.uses.kernel += 1
        return found

    def _tried(self, given: Mapping[str, Any]) -> Callable[..., Any] | None:
        try:
            why, kernel = self._why_not(given)
        except Exception as error:  # no error of the kernel may end the training
            why, kernel = f"it cannot be built or run: {type(error).__name__}: {error}".splitlines()[0][:300], None
        if why:
            self.uses.why = self.uses.why or why
            self.said += 1
            if self.said <= _MOST_SAID:
                print(f"kernel {self.task.name}: the plain function is used: {why}", flush=True)
        return None if why else kernel

    def _why_not(self, given: Mapping[str, Any]) -> tuple[str, Callable[..., Any] | None]:
        task = self.task
        for name, constant in task.constants.items():
            if given[name] != (tuple(constant) if isinstance(constant, list) else constant):
                return f"{name} is {given[name]!r}, and the kernel was made for {constant!r}", None
        sizes: dict[str, int] = {}
        for array in task.arrays:
            value = given[array.name]
            if not isinstance(value, mx.array):
                return f"{array.name} is not an array", None
            if (why := _unlike(task, array.name, value, sizes)) is not None:
                return why, None
        if self.built is None:
            self.built = self._build()
        for seed in _SEEDS:
            if (why := self._fails(sizes, seed)) is not None:
                return f"it fails its check on {', '.join(f'{n} = {s}' for n, s in sizes.items())}: {why}", None
        return "", self.built[0]

    def _build(self) -> tuple[Callable[..., Any], OfArrays]:
        """Return the kernel twice: as a function of the script's arguments, and as a function of the task's arrays."""
        task, space = self.task, self.make()
        here = back_end() if mx.default_device() != mx.Device(mx.cpu) else None
        plain = of_arrays(task, self.plain)
        if here is not None and space.get(here.upper()):
            if (why := old_mlx(version("mlx"))) is not None:
                raise ValueError(why)
            launch = launched(task, space, "metal" if here == "metal" else "cuda", space["launch"], plain, poison=False)
            names = [array.name for array in task.arrays]

            def called(**given: Any) -> Any:
                found = launch(*(given[name] for name in names))
                return found[0] if task.outputs == 1 else tuple(found)

            return called, launch
        if "kernel" not in space:
            raise ValueError("it has no implementation for this machine")
        composed = mx.compile(space["kernel"]) if space.get("COMPILE") else space["kernel"]

        def in_order(**given: Any) -> Any:
            return composed(*(given[name] for name in task.parameters))

        return in_order, of_arrays(task, composed)

    def _fails(self, sizes: Sizes, seed: int) -> str | None:
        """Compare the kernel with the plain function on random inputs; return what is wrong, or None."""
        assert self.built is not None
        task, plain = self.task, of_arrays(self.task, self.plain)
        arrays = arrays_of(task, made.values(task, sizes, seed))
        found = self.built[1](*arrays)
        if task.differentiated:
            like = plain(*arrays)
            drawn = made.cotangents([tuple(each.shape) for each in like], seed)
            cotangents = [mx.array(each).astype(out.dtype) for each, out in zip(drawn, like, strict=True)]
            if [each.shape for each in found] == [each.shape for each in like]:
                found = [*found, *forward_and_gradients(self.built[1], arrays, cotangents)[1]]
        mx.eval(found)
        named = [(str(each.dtype).removeprefix("mlx.core."), np.array(each.astype(mx.float32))) for each in found]
        why: str | None = compared(task, plain, sizes, seed, 1.0, named)["why"]
        return why


def _unlike(task: Task, name: str, value: mx.array, sizes: dict[str, int]) -> str | None:
    """Return how an array differs from the arrays that the task covers, or None; add the array's sizes to ``sizes``."""
    array = next(each for each in task.arrays if each.name == name)
    kind = str(value.dtype).removeprefix("mlx.core.")
    if kind != array.dtype:
        return f"{name} is {kind}, and the kernel was made for {array.dtype}"
    if value.ndim != len(array.axes):
        return f"{name} has {value.ndim} axes, and the kernel was made for {len(array.axes)}"
    for axis, size in zip(array.axes, value.shape, strict=True):
        wanted = axis if isinstance(axis, int) else sizes.get(axis, size if axis in task.free else task.sizes[axis])
        if size != wanted:
            return f"{name} has shape {list(value.shape)}, which the kernel was not made for"
        if isinstance(axis, str):
            sizes[axis] = size
    return None


def installed(
    plain: Callable[..., Any], make: Callable[[], Mapping[str, Any]], facts: Mapping[str, Any]
) -> Callable[..., Any]:
    """Return the function that the script calls instead of ``plain``.

    ``make`` returns the names that the candidate defines.  ``facts`` are the parts of the task that the check needs.
    """
    task = task_from(json.dumps({**_UNUSED, **facts}))
    signature = _signature(plain, task)
    kernel = _Kernel(task, plain, make)

    @functools.wraps(plain)
    def called(*arguments: Any, **named: Any) -> Any:
        bound = signature.bind(*arguments, **named)
        bound.apply_defaults()
        chosen = kernel.chosen(bound.arguments)
        return chosen(*arguments, **named) if chosen is plain else chosen(**bound.arguments)

    vars(called)["uses"] = kernel.uses
    return called


def _signature(plain: Callable[..., Any], task: Task) -> inspect.Signature:
    try:
        return inspect.signature(plain)
    except (TypeError, ValueError):  # a compiled function of MLX has no signature
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature([inspect.Parameter(name, kind) for name in task.parameters])


_UNUSED: Mapping[str, Any] = {"function": "", "odd": (), "baselines": ("eager",)}
