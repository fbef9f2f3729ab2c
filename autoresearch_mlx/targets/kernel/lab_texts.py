"""Write the files of a kernel lab: settings, the brief for models, and the first candidate."""

from __future__ import annotations

import re

from autoresearch_mlx.targets.kernel import allowed
from autoresearch_mlx.targets.kernel.measuring import in_words
from autoresearch_mlx.targets.kernel.sliced import function_text
from autoresearch_mlx.targets.kernel.task import Task

LAB_TOML = """\
# A kernel lab: make the function of reference.py faster.  docs/kernels.md explains every part.

[target]
kind = "kernel"

# [target.options]
# believe = 10             # a larger measured speed-up over the baseline is refused as an error
# timeout_seconds = 180    # the longest time that one measurement may take
"""

_KNOB = "COMPILE = False  # run kernel() under mx.compile  # knob: choice True False\n"


def first_candidate(reference: str, function: str, task: Task) -> str:
    """Return the reference's text as a candidate, with the function renamed to ``kernel``."""
    text = re.sub(rf"\b{re.escape(function)}\b(?=\()", "kernel", reference)
    body = text.split('"""', 2)[2].lstrip() if text.startswith('"""') else text
    head = f'"""A candidate for {task.name}: what it computes is fixed, but how it computes that is free."""\n\n'
    imports = [line for line in body.splitlines() if re.fullmatch(r"import mlx\.core as mx|import math", line)]
    rest = "\n".join(line for line in body.splitlines() if line not in imports).strip("\n")
    gap = "\n\n" if rest.startswith(("def ", "@")) else "\n"
    return f"{head}{chr(10).join(imports)}\n\n{_KNOB}{gap}{rest}\n"


def no_candidate(task: Task, why: str) -> str:
    """Return a first candidate that defines no kernel, so that the reference itself runs."""
    return (
        f'"""A candidate for {task.name}.  This file replaces nothing yet, so the reference itself runs.\n\n'
        f"The reference's own text cannot be a candidate: {why}.\n"
        f"Define kernel({', '.join(task.parameters)}), which calls functions of mx.\n"
        "Or define METAL or CUDA, together with launch(shapes).\n"
        f'"""\n\nimport mlx.core as mx\n\n{_KNOB}'
    )


def program(task: Task, reference: str) -> str:
    """Return the research brief: the row of the profile, the reference, the gates, and facts about the chip."""
    parameters = ", ".join(task.parameters)
    shapes = ", ".join(
        f"{array.name} {array.dtype} [{', '.join(map(str, array.shape(task.sizes)))}]" for array in task.arrays
    )
    constants = ", ".join(f"{name} = {value!r}" for name, value in task.constants.items())
    made_on = task.made_on or {}
    names = " ".join(sorted(allowed.OPERATIONS))
    return f"""\
# Make `{task.name}` faster

{_row(task)}
The function is called with {shapes}{f"; constants: {constants}" if constants else ""}. Sizes: {in_words(task.sizes)}\
{f"; {', '.join(task.free)} may take any value" if task.free else ""}.
Chip: {made_on.get("chip", "unknown")}, MLX {made_on.get("mlx", "unknown")}. {_chip_facts(made_on.get("chip", ""))}

What it has to compute, in float32 on the CPU (reference.py, which cannot be edited):

```python
{function_text(reference, task.function).rstrip()}
```

## What a candidate may be (kernel.py)

- `kernel({parameters})`: functions of `mx`, run under mx.compile when `COMPILE = True`. It runs on every machine.
- `METAL = \"\"\"...\"\"\"`: the body of a Metal kernel, and `CUDA = \"\"\"...\"\"\"`: of a CUDA kernel. Inputs
  have their names above, outputs are {", ".join(task.output_names)}; shapes are there as `NAME_shape`.
  `launch(shapes)` returns (grid, threadgroup), three whole numbers each; the grid is counted in threads.
  `TEMPLATE = ("THREADS",)` passes whole-number constants, and `T` is the type of the first
  float input. The harness makes the call.
- Whole numbers at the top level with a range comment are knobs: `THREADS = 256  # knob: pow2 32 1024`.

## The gates, in this order

1. Static: only functions that compute ({names}; mx.fast.{", mx.fast.".join(sorted(allowed.FAST))}). No import, no try,
   no while, no assignment to an element or an attribute, no stream, no function inside a function.
2. Correct on seeds drawn after the edit is frozen: the model's shape with small, usual and large values, odd shapes
   ({"; ".join(map(in_words, task.odd)) or "none"}), and a shape drawn for this run. No number may be off by more than
   {task.tolerance:g} of its size, nor by {task.typical:g} on average{_gradient(task)}.
3. The same bits on a second call; inputs unchanged; every number written (outputs start as NaN).
4. The outputs of the last timed call are checked again.

The number is the logarithm of (time of the fastest of {", ".join(task.baselines)} / time of the candidate), from
pairs of blocks in alternation. `certify` times a secret shape at the end.

## What tends to help

Fewer operations and fewer passes over memory, fused chains of element-wise work, no copies and transposes, products of
fewer and larger matrices. Keep the number types.
"""


def _row(task: Task) -> str:
    row = task.row
    if row is None or row.get("share") is None:
        return "This task is a starter: no profile has shown how much of a step the function takes."
    gain = "" if row.get("gain") is None else f" At most {row['gain']:.1f} % of the step's time can still be saved."
    took = 1000 * float(row["seconds"])
    return (
        f"Row {row['row']} of the profile of {task.script or 'the step'}: {row['calls']} calls in a step take"
        f" {took:.3f} ms, which is {row['share']:.1f} % of the step's time.{gain}"
    )


def _chip_facts(chip: str) -> str:
    if chip.startswith("Apple"):
        return (
            "A SIMD group has 32 threads, a threadgroup at most 1,024 threads and 32 KB of memory; starting a kernel "
            "costs more than a small kernel itself, so fewer kernels are often faster."
        )
    return (
        "On a CPU each operation passes over memory once, and mx.compile fuses element-wise chains with a C++ compiler."
    )


def _gradient(task: Task) -> str:
    return "; the gradient is compared in the same way" if task.differentiated else ""
