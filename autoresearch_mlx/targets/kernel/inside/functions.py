"""Make the functions to check and time: each version of the reference, and the candidate."""

from __future__ import annotations
import __future__

import builtins
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx

from autoresearch_mlx.targets.kernel import allowed
from autoresearch_mlx.targets.kernel.candidate import Candidate, Form, kernel_name
from autoresearch_mlx.targets.kernel.gpu_source import geometry_refused, template_of
from autoresearch_mlx.targets.kernel.inside.replay import number_type
from autoresearch_mlx.targets.kernel.inside.script import load
from autoresearch_mlx.targets.kernel.task import Task

OfArrays = Callable[..., list[mx.array]]
"""A function that takes the task's arrays and returns a list of output arrays."""


class Broken(Exception):
    """Raised when the result of a candidate does not fit the task; the message says why."""


def back_end() -> str | None:
    """Return the back end that runs kernels here: metal, cuda, or None."""
    if mx.metal.is_available():
        return "metal"
    return "cuda" if mx.cuda.is_available() else None


def reference_of(task: Task, path: str, name: str | None = None) -> OfArrays:
    """Return the reference, or the function ``name`` of the same file, as a function of the task's arrays."""
    module = load(Path(path), "reference_of_the_task")
    return of_arrays(task, getattr(module, name or task.function))


def of_arrays(task: Task, function: Callable[..., Any]) -> OfArrays:
    names = {array.name: at for at, array in enumerate(task.arrays)}

    def called(*arrays: mx.array) -> list[mx.array]:
        given = [arrays[names[name]] if name in names else task.constants[name] for name in task.parameters]
        found = function(*given)
        outputs = list(found) if isinstance(found, tuple | list) else [found]
        if len(outputs) != task.outputs or any(type(each) is not mx.array for each in outputs):
            kinds = ", ".join(type(each).__name__ for each in outputs)
            raise Broken(f"it returned ({kinds}), and has to return {task.outputs} of type mx.array")
        return outputs

    return called


def candidate_function(task: Task, candidate: Candidate, form: Form, reference: OfArrays, poison: bool) -> OfArrays:
    """Return the candidate as a function of the task's arrays.

    With ``poison``, the outputs of a kernel are filled with NaN before the kernel runs, so that unwritten numbers are
    noticed.
    """
    space = _space(candidate)
    if form == "mlx":
        return of_arrays(task, space["kernel"])
    return launched(task, candidate.constants, form, space["launch"], reference, poison)


def _space(candidate: Candidate) -> dict[str, Any]:
    """Run the candidate's file, which has passed the static gates, with only the listed names available."""

    def only(name: str, *more: Any) -> Any:
        return {"mlx.core": __import__("mlx"), "math": math}[name]

    names = {name: getattr(builtins, name) for name in allowed.BUILT_IN}
    space: dict[str, Any] = {"__builtins__": {**names, "__import__": only}, "mx": mx, "math": math}
    # This compiler flag keeps annotations as texts; otherwise Python would run the code in annotations.
    exec(compile(candidate.source, "kernel.py", "exec", __future__.annotations.compiler_flag), space)
    space["mx"] = mx
    return space


def launched(
    task: Task,
    constants: Mapping[str, Any],
    form: Form,
    launch: Callable[..., Any],
    reference: OfArrays,
    poison: bool,
) -> OfArrays:
    """Return the Metal or CUDA kernel of a candidate with these constants, as a function of the task's arrays."""
    source, header = constants[form.upper()], constants.get("HEADER", "")
    inputs = [name for name in task.parameters if name in {a.name for a in task.arrays} or _number(task, name)]
    template = template_of(constants)
    first = next((a.dtype for a in task.arrays if "float" in a.dtype), "float32")
    typed: list[tuple[str, Any]] = [("T", number_type(first))] if re.search(r"\bT\b", source) else []
    name = kernel_name(task.name, source, header, str(template))
    make: Any = mx.fast.metal_kernel if form == "metal" else mx.fast.cuda_kernel
    kernel = make(name=name, input_names=inputs, output_names=list(task.output_names), source=source, header=header)
    known: dict[tuple[Any, ...], tuple[list[tuple[int, ...]], list[mx.Dtype], Any]] = {}

    def forward(*arrays: mx.array) -> list[mx.array]:
        key = tuple((each.shape, each.dtype) for each in arrays)
        if key not in known:
            like = reference(*arrays)  # the graph is never computed; only its shapes and types are read
            known[key] = _geometry(task, launch, arrays, [tuple(each.shape) for each in like], [e.dtype for e in like])
        shapes, dtypes, (grid, threadgroup) = known[key]
        named = dict(zip((a.name for a in task.arrays), arrays, strict=True))
        given = [named[each] if each in named else task.constants[each] for each in inputs]
        options = {"init_value": float("nan")} if poison else {}
        found: list[mx.array] = kernel(
            inputs=given,
            template=[*typed, *template],
            grid=grid,
            threadgroup=threadgroup,
            output_shapes=shapes,
            output_dtypes=dtypes,
            **options,
        )
        return found

    return with_reference_gradient(forward, reference) if task.differentiated else forward


def _number(task: Task, name: str) -> bool:
    value = task.constants.get(name)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _geometry(
    task: Task,
    launch: Callable[..., Any],
    arrays: Sequence[mx.array],
    shapes: list[tuple[int, ...]],
    dtypes: list[mx.Dtype],
) -> tuple[list[tuple[int, ...]], list[mx.Dtype], Any]:
    sizes = {array.name: tuple(each.shape) for array, each in zip(task.arrays, arrays, strict=True)}
    found = launch(sizes | dict(zip(task.output_names, shapes, strict=True)))
    if (why := geometry_refused(found)) is not None:
        raise Broken(why)
    return shapes, dtypes, found


def with_reference_gradient(forward: OfArrays, reference: OfArrays) -> OfArrays:
    """Return ``forward`` with the gradient of the reference, because a kernel has no gradient of its own."""
    function: Any = mx.custom_function(forward)

    @function.vjp  # type: ignore[untyped-decorator]
    def gradient(primals: Any, cotangents: Any, outputs: Any) -> Any:
        inputs = list(primals) if isinstance(primals, tuple | list) else [primals]
        wanted = list(cotangents) if isinstance(cotangents, tuple | list) else [cotangents]
        found = gradients(reference, inputs, wanted)
        floats = iter(found)
        return tuple(next(floats) if _is_float(each) else mx.zeros_like(each) for each in inputs)

    called: OfArrays = function
    return called


def gradients(function: OfArrays, inputs: Sequence[mx.array], cotangents: Sequence[mx.array]) -> list[mx.array]:
    """Return the gradients with respect to the inputs that are floats."""
    return forward_and_gradients(function, inputs, cotangents)[1]


def forward_and_gradients(
    function: OfArrays, inputs: Sequence[mx.array], cotangents: Sequence[mx.array]
) -> tuple[list[mx.array], list[mx.array]]:
    """Return the outputs, and the gradients with respect to the inputs that are floats."""
    floats = [at for at, each in enumerate(inputs) if _is_float(each)]

    def of_floats(*some: mx.array) -> list[mx.array]:
        given = dict(zip(floats, some, strict=True))
        return function(*(given.get(at, each) for at, each in enumerate(inputs)))

    outputs, found = mx.vjp(of_floats, [inputs[at] for at in floats], list(cotangents))
    return list(outputs), list(found)


def whole(function: OfArrays, differentiated: bool) -> Callable[[list[mx.array], list[mx.array]], list[mx.array]]:
    """Return the function to time.  It computes the outputs, and if ``differentiated`` also the gradients."""

    def timed(inputs: list[mx.array], cotangents: list[mx.array]) -> list[mx.array]:
        if not differentiated:
            return function(*inputs)
        outputs, found = forward_and_gradients(function, inputs, cotangents)
        return [*outputs, *found]

    return timed


def _is_float(array: mx.array) -> bool:
    return bool(mx.issubdtype(array.dtype, mx.floating))


def arrays_of(task: Task, values: Sequence[Any], exact: bool = False) -> list[mx.array]:
    """Return numpy values as MLX arrays in the task's number types; with ``exact``, floats stay float32."""
    made = []
    for array, value in zip(task.arrays, values, strict=True):
        kind = mx.float32 if exact and "float" in array.dtype else number_type(array.dtype)
        made.append(mx.array(value).astype(kind))
    mx.eval(made)
    return made
