"""Run a candidate and the versions of its reference in one process, one block of calls for each command of the parent:

    python -P -m autoresearch_mlx.targets.kernel.inside.bench ORDER

ORDER is the path of an Order.  The parent writes one command in each line to standard input.  The parent also times
each block, by its own clock or by the processor time that the operating system counts for this process.  This process
never reports a time or a verdict: it only computes, and saves outputs for the referee.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from autoresearch_mlx.targets.kernel import inputs as made
from autoresearch_mlx.targets.kernel.candidate import Form
from autoresearch_mlx.targets.kernel.gpu_source import geometry_refused, old_mlx
from autoresearch_mlx.targets.kernel.inside.functions import (
    Broken,
    OfArrays,
    _space,
    arrays_of,
    back_end,
    candidate_function,
    forward_and_gradients,
    reference_of,
    whole,
)
from autoresearch_mlx.targets.kernel.inside.saved import save
from autoresearch_mlx.targets.kernel.order import Order, Trial, order_from
from autoresearch_mlx.trial.spec import Events

_SETS = 4
"""Number of sets of inputs; timed calls use the sets in turn."""
Timed = Callable[[list[mx.array], list[mx.array]], list[mx.array]]


class Bench:
    """The candidate and the baselines of one order, and the inputs on which these functions are timed."""

    def __init__(self, order: Order) -> None:
        self.order = order
        task = order.task
        self.reference = reference_of(task, order.reference)
        self.form: Form | None = None
        self.checked: OfArrays | None = None
        self.sides: dict[str, Timed] = {}
        self.sets: list[tuple[list[mx.array], list[mx.array]]] = []
        self.last: tuple[int, list[mx.array]] | None = None

    def prepare(self) -> dict[str, Any]:
        """Make the candidate's function.  Raises Broken if the candidate cannot run on this machine."""
        from importlib.metadata import version

        order, candidate = self.order, self.order.candidate
        assert candidate is not None
        if not candidate.forms:
            self.checked = self.reference
            self.sides["candidate"] = whole(self.reference, order.task.differentiated)
            return {"form": "reference"}
        here = back_end() if order.device == "gpu" else None
        self.form = candidate.form_for(here)
        if self.form != "mlx" and (why := old_mlx(version("mlx"))) is not None:
            raise Broken(why)
        if self.form is None:
            self._dry_launch()
            names = " and ".join(form.upper() for form in candidate.forms)
            raise Broken(
                f"{names} cannot run here: MLX has no such back end on this machine, and the candidate has no kernel()"
            )
        reference = self.reference
        self.checked = candidate_function(order.task, candidate, self.form, reference, poison=True)
        timed = candidate_function(order.task, candidate, self.form, reference, poison=False)
        side = whole(timed, order.task.differentiated)
        self.sides["candidate"] = mx.compile(side) if candidate.compiled and self.form == "mlx" else side
        return {"form": self.form}

    def _dry_launch(self) -> None:
        """Compute the launch geometry for the model's sizes, so that a wrong geometry is found even without a GPU."""
        task, candidate = self.order.task, self.order.candidate
        assert candidate is not None
        arrays = arrays_of(task, made.values(task, task.sizes, self.order.seed))
        shapes = {array.name: tuple(each.shape) for array, each in zip(task.arrays, arrays, strict=True)}
        outputs = [tuple(each.shape) for each in self.reference(*arrays)]
        found = _space(candidate)["launch"](shapes | dict(zip(task.output_names, outputs, strict=True)))
        if (why := geometry_refused(found)) is not None:
            raise Broken(why)

    def try_out(self, trial: Trial, function: OfArrays, name: str) -> dict[str, Any]:
        """Compute the outputs for one trial, save them, and return the names of inputs that the function changed."""
        task = self.order.task
        values = made.values(task, trial.sizes, trial.seed, trial.scale)
        arrays = arrays_of(task, values)
        before = [np.array(each.astype(mx.float32)) for each in arrays]
        found = function(*arrays)
        mx.eval(found)
        if task.differentiated:
            wanted = [tuple(each.shape) for each in self.reference(*arrays)]
            cotangents = [
                mx.array(each).astype(like.dtype)
                for each, like in zip(made.cotangents(wanted, trial.seed), self.reference(*arrays), strict=True)
            ]
            if [tuple(each.shape) for each in found] == wanted:
                found = [*found, *forward_and_gradients(function, arrays, cotangents)[1]]
                mx.eval(found)
        save(Path(self.order.folder) / f"{name}.npz", found)
        changed = [
            array.name
            for array, was, each in zip(task.arrays, before, arrays, strict=True)
            if was.shape != tuple(each.shape) or not np.array_equal(was, np.array(each.astype(mx.float32)))
        ]
        return {"changed": changed}

    def ghost(self, trial: Trial) -> dict[str, Any]:
        """Save the outputs of a function that computes nothing; the referee must refuse these outputs."""

        def nothing(*arrays: mx.array) -> list[mx.array]:
            # The product makes the no-op depend on its inputs, so that the no-op has a gradient.
            like = self.reference(*arrays)
            touched = sum(mx.sum(each.astype(mx.float32)) * 0 for each in arrays)
            return [(mx.full(each.shape, float("nan")) + touched).astype(each.dtype) for each in like]

        return self.try_out(trial, nothing, "ghost")

    def lay_out(self) -> dict[str, Any]:
        """Make the inputs for the timed calls."""
        order, task = self.order, self.order.task
        for number in range(_SETS):
            arrays = arrays_of(task, made.values(task, order.timed, order.seed + number))
            like = self.reference(*arrays)
            shapes = [tuple(each.shape) for each in like]
            drawn = zip(made.cotangents(shapes, order.seed + number), like, strict=True)
            cotangents = [mx.array(each).astype(out.dtype) for each, out in drawn] if task.differentiated else []
            mx.eval(cotangents)
            self.sets.append((arrays, cotangents))
        outputs = self.reference(*self.sets[0][0])
        return {"bytes": sum(each.nbytes for each in (*self.sets[0][0], *outputs))}

    def baseline(self, name: str) -> dict[str, Any]:
        order = self.order
        function = reference_of(order.task, order.reference, "fast") if name == "fast" else self.reference
        side = whole(function, order.task.differentiated)
        self.sides[name] = mx.compile(side) if name == "compiled" else side
        return {}

    def copy(self) -> dict[str, Any]:
        """Add a function that only copies the inputs.

        A candidate must read the inputs too, so a candidate cannot be much faster.
        """

        def moved(arrays: list[mx.array], cotangents: list[mx.array]) -> list[mx.array]:
            return [mx.negative(each) if each.dtype != mx.bool_ else mx.logical_not(each) for each in arrays]

        self.sides["copy"] = moved
        return {}

    def block(self, side: str, calls: int) -> dict[str, Any]:
        """Call the candidate or a baseline a number of times, each time with the next set of inputs."""
        function, sets = self.sides[side], self.sets
        at, found = 0, []
        for call in range(calls):
            at = call % _SETS
            found = function(*sets[at])
            mx.eval(found)
        self.last = (at, found)
        return {}

    def last_outputs(self, name: str) -> dict[str, Any]:
        """Save the outputs of the last timed call, and return the number of the input set of this call."""
        assert self.last is not None
        at, found = self.last
        save(Path(self.order.folder) / f"{name}.npz", found)
        return {"set": at}


def main(path: str) -> None:
    order = order_from(Path(path).read_text(encoding="utf-8"))
    mx.set_default_device(mx.gpu if order.device == "gpu" else mx.cpu)
    events = Events()
    bench = Bench(order)
    events.send("ready", pid=os.getpid())
    for line in sys.stdin:
        command = json.loads(line)
        try:
            events.send("done", **done(bench, command))
        except Broken as broken:
            events.send("broken", reason=str(broken))
        except Exception as error:  # an exception of the candidate
            events.send("raised", reason=f"{type(error).__name__}: {error}".splitlines()[0][:500])


def done(bench: Bench, command: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out a command of the parent, and return the answer."""
    trials = {trial.name: trial for trial in bench.order.trials}
    match command:
        case {"do": "prepare"}:
            return bench.prepare()
        case {"do": "try", "trial": name, "save": save_as}:
            assert bench.checked is not None
            return bench.try_out(trials[name], bench.checked, save_as)
        case {"do": "ghost", "trial": name}:
            return bench.ghost(trials[name])
        case {"do": "lay out"}:
            return bench.lay_out()
        case {"do": "baseline", "name": name}:
            return bench.baseline(name)
        case {"do": "copy"}:
            return bench.copy()
        case {"do": "block", "side": side, "calls": calls}:
            return bench.block(side, calls)
        case {"do": "last", "save": save_as}:
            return bench.last_outputs(save_as)
    raise Broken(f"unknown command {command}")


if __name__ == "__main__":
    main(sys.argv[1])
