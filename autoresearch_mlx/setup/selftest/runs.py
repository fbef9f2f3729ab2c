"""Check trainings and evaluations: compare a compiled step with a plain step, and make many evaluations in a row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from autoresearch_mlx.setup.selftest.check import Doing, Ground, Result
from autoresearch_mlx.setup.selftest.scene import Broken, Scene, Scored, Trained, scene_of, score, train
from autoresearch_mlx.trial.spec import WEIGHTS

_EVALUATED_ROWS, _COMPARED_ROWS = 8, 64
_ANSWER_SECONDS = 20.0
"""Seconds without a message after which an evaluation is ended as hung (a minute in a run)."""
_FIRST_STEPS = 4
_LEAST_STEPS, _MOST_STEPS = 4, 4000
_WEIGHTS_OFF = 0.002
"""Largest allowed result of :func:`weights_off` for four compiled and four plain steps, on a CPU.  On a GPU only the
losses are compared, because Muon amplifies the rounding errors of bfloat16 until they are as large as the change that
the steps make."""
_LOSSES_OFF = {"cpu": 0.0005, "gpu": 0.02}
"""Largest allowed relative difference between the losses of the fourth step."""
_VALUES_OFF = 0.02
"""Largest allowed relative difference between the val_bpb of two trainings on the same rows.  Rounding errors grow from
step to step.  With different seeds, the standard deviation of five trainings was 0.55 percent (README)."""
_SAME_OFF = {"cpu": 0.0005, "gpu": 0.01}
"""Largest allowed relative difference between evaluations of the same weights; rounding errors differ."""
_PLAIN = {"MLX_DISABLE_COMPILE": "1"}
"""Environment variable with which MLX compiles nothing (mlx/compile.cpp)."""


def check_evaluations(ground: Ground, doing: Doing) -> Result:
    """Check that many evaluations of the same weights, each in new processes, end and give the same score."""
    scene = scene_of(ground, doing)
    doing("training for two steps")
    try:
        trained = train(replace(scene.conditions, steps=2), scene.text, ground.folder / "trained")
    except Broken as broken:
        return Result("fail", f"training for two steps: {broken}")
    watched = replace(scene.conditions, answer_seconds=_ANSWER_SECONDS)
    found: list[Scored] = []
    for number in range(1, ground.evaluations + 1):
        doing(f"evaluation {number} of {ground.evaluations}")
        try:
            found.append(score(watched, trained, _EVALUATED_ROWS))
        except Broken as broken:
            return Result("fail", f"evaluation {number} of {ground.evaluations}: {broken}")
    return judge_evaluations(found, scene.conditions.device)


def judge_evaluations(found: list[Scored], device: str) -> Result:
    seconds, values = [each.seconds for each in found], [each.value for each in found]
    said = f"{len(found)} in a row, {median(seconds):.1f} s each (the slowest {max(seconds):.1f} s)"
    if max(values) - min(values) > _SAME_OFF[device] * max(values):
        return Result("fail", f"{said}; the same weights scored between {min(values):.6f} and {max(values):.6f}")
    return Result("ok", f"{said}, all with the same score")


def check_training(ground: Ground, doing: Doing) -> Result:
    """Check that training with a compiled step and with a plain step, on the same rows, gives the same model.

    On a GPU the shipped script compiles the whole step.  On a CPU only single functions such as nn.relu are compiled,
    because a compiled step would not be faster.
    """
    scene = scene_of(ground, doing)
    try:
        return _compared(scene, ground, doing)
    except Broken as broken:
        return Result("fail", str(broken))


def _compared(scene: Scene, ground: Ground, doing: Doing) -> Result:
    conditions, folder = scene.conditions, ground.folder
    plain = replace(conditions, environment={**conditions.environment, **_PLAIN})
    doing("four steps with a compiled step")
    quick = train(replace(conditions, steps=_FIRST_STEPS), scene.text, folder / "quick")
    doing("four steps with a plain step")
    slow = train(replace(plain, steps=_FIRST_STEPS), scene.text, folder / "slow")
    first = train(replace(plain, steps=1), scene.text, folder / "first")
    off = weights_off(*(each.assignment.folder / WEIGHTS for each in (quick, slow, first)))
    if (wrong := judge_steps(quick.loss, slow.loss, off, conditions.device)) is not None:
        return wrong
    budget = _tokens_for(ground.seconds, quick)
    long = replace(conditions, budget_tokens=budget, budget_seconds=4 * ground.seconds + 30)
    doing(f"{ground.seconds:g} s with a compiled step")
    fast = train(long, scene.text, folder / "fast")
    doing("the same tokens with a plain step")
    other = train(replace(long, environment=plain.environment), scene.text, folder / "other")
    doing("scoring both")
    values = [score(conditions, each, _COMPARED_ROWS).value for each in (fast, other)]
    return judge_training(fast, other, (values[0], values[1]), off)


def judge_steps(quick: float, slow: float, off: float, device: str) -> Result | None:
    """Compare four compiled steps with four plain steps; return a failed result, or None if they agree.

    ``quick`` and ``slow`` are the losses of the fourth step.  ``off`` is the difference of the weights, as
    :func:`weights_off` returns it.
    """
    after = f"after {_FIRST_STEPS} steps"
    if not abs(quick - slow) <= _LOSSES_OFF[device] * abs(slow):
        said = f"{after} the losses of a compiled step ({quick:.4f}) and a plain step ({slow:.4f}) differ too much"
        return Result("fail", said)
    if device == "cpu" and not off <= _WEIGHTS_OFF:
        said = f"{after} the weights of a compiled and a plain step differ by {off:.2g}; {_WEIGHTS_OFF:g} is allowed"
        return Result("fail", said)
    return None


def judge_training(fast: Trained, other: Trained, values: tuple[float, float], off: float) -> Result:
    took = [each.seconds["train"] or 0.0 for each in (fast, other)]
    said = (
        f"{fast.steps} steps: compiled {took[0]:.1f} s, val_bpb {values[0]:.4f}; plain {took[1]:.1f} s, {values[1]:.4f}"
    )
    if abs(values[0] - values[1]) > _VALUES_OFF * values[1]:
        return Result("fail", f"{said}: the values differ by more than {_VALUES_OFF:.0%}")
    if fast.steps != other.steps:
        return Result("fail", f"{said}, but the plain run made {other.steps} steps of the same tokens")
    return Result("ok", f"{said}; weights after {_FIRST_STEPS} steps differ by {off:.1g}")


def _tokens_for(seconds: float, quick: Trained) -> int:
    """Return how many tokens, in whole steps, fit into ``seconds`` at the speed of the short training ``quick``."""
    spent = quick.seconds["train"] or 0.0
    each = quick.tokens // quick.steps
    pace = max(spent, 1e-3) / max(1, quick.steps - 1)
    return each * min(max(int(seconds / pace), _LEAST_STEPS), _MOST_STEPS)


def weights_off(one: Path, two: Path, start: Path) -> float:
    """Return how much the weights in two files differ, divided by how much file ``two`` differs from file ``start``.

    This ratio is computed for each matrix, and the largest ratio is returned.
    """
    left, right, begun = read_weights(one), read_weights(two), read_weights(start)
    worst = 0.0
    for name, wanted in right.items():
        way = float(np.linalg.norm(wanted - begun[name]))
        apart = float(np.linalg.norm(left[name] - wanted))
        if not np.isfinite(apart):
            return float("inf")
        if wanted.ndim >= 2 and way > 0:
            worst = max(worst, apart / way)
    return worst


def read_weights(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    """Return the arrays in a safetensors file (github.com/huggingface/safetensors#format), by name.

    Raises ValueError for an array that is not of float32.
    """
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    found = {}
    for name, each in header.items():
        if name == "__metadata__":
            continue
        if each["dtype"] != "F32":
            raise ValueError(f"{name} is {each['dtype']}, not F32")
        begin, end = each["data_offsets"]
        flat = np.frombuffer(data[8 + length + begin : 8 + length + end], "<f4")
        found[name] = flat.reshape(each["shape"]).astype(np.float64)
    return found
