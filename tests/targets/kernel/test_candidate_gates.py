"""A gallery of kernel cheats that never run, and the static gates of Metal and CUDA sources."""

from __future__ import annotations

import pytest

from autoresearch_mlx.targets.kernel.candidate import Refused, kernel_name, read_candidate
from autoresearch_mlx.targets.kernel.gpu_source import geometry_refused, old_mlx, template_of
from autoresearch_mlx.targets.kernel.task import Array, Task

TASK = Task(
    name="double",
    function="double",
    parameters=("x",),
    arrays=(Array("x", "float32", ("N1", "N2")),),
    constants={},
    outputs=1,
    differentiated=False,
    sizes={"N1": 8, "N2": 16},
    free=("N1", "N2"),
    odd=({"N1": 7, "N2": 16},),
    tolerance=2e-5,
    typical=2e-6,
    baselines=("eager",),
)
HEAD = "import mlx.core as mx\n\n\n"


def refusal(text: str) -> str:
    with pytest.raises(Refused) as refused:
        read_candidate(text, TASK)
    return str(refused.value)


@pytest.mark.parametrize(
    ("cheat", "said"),
    [
        ("from reference import double\n\n\ndef kernel(x):\n    return double(x)\n", "may be imported"),
        ("def kernel(x):\n    return reference(x)\n", "reference is not on the list"),
        ("MEMORY = {}\n\n\ndef kernel(x):\n    return x\n", "a constant at the top level"),
        ("def kernel(x, seen=[]):\n    return x\n", "without defaults"),
        ("def kernel(x):\n    return [x][id(x)]\n", "id is not on the list"),
        ("def kernel(x):\n    mx.eval = abs\n    return x\n", "mx.eval is assigned to"),
        ("import time\n\n\ndef kernel(x):\n    return x\n", "may be imported"),
        ("import threading\n\n\ndef kernel(x):\n    return x\n", "may be imported"),
        ("def kernel(x):\n    return mx.add(x, x, stream=mx.cpu)\n", "stream on which it is timed"),
        ("def kernel(x):\n    return mx.new_stream(x)\n", "mx.new_stream is not on the list"),
        ("def kernel(x):\n    x[0] = 0\n    return x + x\n", "change an array in place"),
        ("def kernel(x):\n    x += x\n    return x\n", "changes x in place"),
        ("def kernel(x):\n    mx.eval(x)\n    return x + x\n", "the harness does that"),
        ("def kernel(x):\n    try:\n        return x + x\n    except ValueError:\n        return x\n", "try:"),
        ("def kernel(x):\n    return lambda: x + x\n", "a function inside a function"),
        ("def kernel(x):\n    global kept\n    kept = x\n    return x\n", "global"),
        ("def kernel(x):\n    return x.__class__(x)\n", "x.__class__ is not on the list"),
        ("@mx.compile\ndef kernel(x):\n    return x + x\n", "must have no decorator"),
        ("def kernel(x):\n    while True:\n        x = x + x\n", "while"),
        ("def kernel(y):\n    return y + y\n", "must take (x)"),
        ("def kernel(x):\n    return mx.fast.metal_kernel(x)\n", "write METAL or CUDA"),
        ("def kernel(x: print(1)):\n    return x\n", "an annotation must be a type"),
        ("def kernel(x: ().__class__.mro()):\n    return x\n", "an annotation must be a type"),
        ("def kernel(x: mx.array[print(1)]):\n    return x\n", "an annotation must be a type"),
        ("def kernel(x):\n    return x.tolist()\n", "x.tolist is not on the list"),
    ],
)
def test_a_cheat_is_refused_with_its_reason_before_anything_runs(cheat: str, said: str) -> None:
    assert said in refusal(HEAD + cheat)


def test_an_honest_composition_passes_with_its_knob() -> None:
    found = read_candidate(HEAD + "COMPILE = True\n\n\ndef kernel(x):\n    return 2 * x\n", TASK)
    assert (found.forms, found.compiled) == (("mlx",), True)


# --- Metal and CUDA

LAUNCH = (
    "\n\ndef launch(shapes):\n    rows, columns = shapes['x']\n    return (rows * columns, 1, 1), (THREADS, 1, 1)\n"
)
BODY = "uint i = thread_position_in_grid.x; if (i < x_shape[0] * x_shape[1]) { out[i] = 2 * x[i]; }"


def gpu_file(name: str, body: str, launch: str = LAUNCH, more: str = "") -> str:
    return f'{HEAD}THREADS = 256\nTEMPLATE = ("THREADS",)\n{more}{name} = """{body}"""\n{launch}'


@pytest.mark.parametrize("name", ["METAL", "CUDA"])
def test_a_kernel_source_passes_and_hands_its_constants_over(name: str) -> None:
    found = read_candidate(gpu_file(name, BODY), TASK)
    assert found.forms == (name.lower(),)
    assert template_of(found.constants) == [("THREADS", 256)]
    assert found.form_for(name.lower()) == name.lower()
    assert found.form_for(None) is None


@pytest.mark.parametrize("name", ["METAL", "CUDA"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("uint i = 0;", "never writes out[...]"),
        ("out[0] = x[0]; // } \n }", "closes nothing"),
        ("out[0] = x[0]; if (true) {", "never closed"),
        ("#include <x>\nout[0] = x[0];", "a directive of the preprocessor"),
        ("static float kept; out[0] = kept;", "keeps its content between calls"),
        ("out[0] = clock64();", "a clock"),
        ("/* out[0] = 1; */ uint i = 0;", "never writes out[...]"),
        ("other<<<1, 1>>>(); out[0] = 1;", "a separate launch or stream"),
    ],
)
def test_a_kernel_source_that_does_more_or_less_is_refused(name: str, body: str, said: str) -> None:
    assert said in refusal(gpu_file(name, body))


def test_a_kernel_source_needs_a_geometry() -> None:
    assert "needs launch(shapes)" in refusal(gpu_file("METAL", BODY, launch=""))


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        (((64, 1, 1), (32, 1, 1)), None),
        (((64, 1), (32, 1, 1)), "the grid is (64, 1)"),
        (((64, 1, 1), (0, 1, 1)), "the threadgroup is (0, 1, 1)"),
        (((64, 1, 1), (64, 32, 1)), "a threadgroup of 2,048 threads"),
        (((2**31, 1, 1), (32, 1, 1)), "along one axis"),
        (((64.0, 1, 1), (32, 1, 1)), "not three whole numbers"),
        (64, "not (grid, threadgroup)"),
    ],
)
def test_a_geometry_is_two_triples_that_fit_a_device(geometry: object, said: str | None) -> None:
    found = geometry_refused(geometry)
    assert found is None if said is None else said in (found or "")


def test_the_name_of_a_kernel_changes_with_all_that_it_consists_of() -> None:
    names = {kernel_name("t", "a", "", "[]"), kernel_name("t", "b", "", "[]"), kernel_name("t", "a", "h", "[]")}
    assert len(names | {kernel_name("t", "a", "", "[1]")}) == 4


def test_versions_of_mlx_that_mix_up_kernels_are_refused() -> None:
    assert "older than 0.32.2" in (old_mlx("0.32.1") or "")
    assert old_mlx("0.32.2") is None and old_mlx("0.33.0") is None
