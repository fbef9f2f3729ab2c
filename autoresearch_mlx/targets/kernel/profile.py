"""Turn a child process's measurements into the profile of a step: rows, shares, and possible gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from autoresearch_mlx.targets.kernel.operations import Operation, Shape, operation_from


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the profile: all calls of one operation in a step that have the same shapes and number type."""

    number: int
    op: str
    shapes: tuple[Shape, ...]
    dtype: str
    calls: int
    seconds: float | None
    """Total time of the row's calls in one step, or None if the operation could not be replayed."""
    share: float | None
    """Percentage of the total time of all replays."""
    cumulative: float | None
    """Sum of the shares of this row and all rows above it."""
    limit: float | None
    """Largest possible speed-up of this row, 1 or more; it follows from the fastest copy and matrix product measured
    here."""
    gain: float | None
    """Largest part of the step that can still be saved, in percent, by Amdahl's law: share x (1 - 1 / limit)."""
    why: str = ""
    """Why the operation could not be replayed, or an empty string if it could."""
    operation: Mapping[str, Any] | None = None
    """One of the row's operations with all details, from which `kernel extract` makes a task."""


@dataclass(frozen=True, slots=True)
class FunctionRow:
    """One row for a function of the script: all calls whose arguments have the same shapes, number types and constants.

    A function may call functions that have rows of their own, so the times of rows may overlap.
    """

    name: str
    """The row's name for `kernel extract`: ``f1``, ``f2`` and so on."""
    function: str
    arguments: tuple[tuple[str, Any], ...]
    """The arguments, each as (parameter, [shape, number type]) or, for a constant, (parameter, {"constant": value})."""
    dtype: str
    outputs: int
    differentiated: bool
    calls: int
    seconds: float | None
    share: float | None
    """Percentage of the measured step."""
    limit: float | None
    gain: float | None
    why: str = ""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return tuple(tuple(value[0]) for _, value in self.arguments if isinstance(value, list | tuple))


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile of one step, or of one forward pass."""

    script: str
    mode: str
    step_seconds: float
    """Median seconds of the measured steps."""
    replayed_seconds: float
    """Seconds of all replays together."""
    building_seconds: float
    """Time that the script and MLX take to build the step's graph; the replays leave this time out."""
    rows: tuple[Row, ...]
    functions: tuple[FunctionRow, ...]
    copy_bytes_per_second: float
    flops_per_second: float
    clock: str
    """Clock that gives the seconds: ``processor`` time or ``wall`` time."""
    chip: str
    mlx: str
    notes: tuple[str, ...] = ()
    sizes: str = ""
    """Sizes of the model and the batch at which the script was profiled, as text."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"remainder_seconds": self.remainder}

    @property
    def remainder(self) -> float:
        """Seconds of the measured step minus the seconds of the replays; negative if the replays take longer."""
        return self.step_seconds - self.replayed_seconds


def profile_from(found: Mapping[str, Any], script: str, mode: str, device: str, chip: str) -> Profile:
    """Return the profile that the JSON of the child process describes."""
    step = median(found["step_seconds"])
    limits = found["limits"]
    copy, flops = limits["copy_bytes_per_second"], limits["flops_per_second"]
    rows = _rows(found["operations"], copy, flops)
    return Profile(
        script,
        mode,
        step,
        sum(row.seconds or 0.0 for row in rows),
        found["building_seconds"],
        rows,
        _functions(found["functions"], step, copy),
        copy,
        flops,
        "processor" if device == "cpu" else "wall",
        chip,
        found["mlx"],
        tuple(found["notes"]),
    )


@dataclass(frozen=True, slots=True)
class _Sum:
    calls: int
    seconds: float | None
    least: float
    """Seconds that the calls would take at the highest speeds measured on this machine."""
    why: str


def _rows(operations: Sequence[Mapping[str, Any]], copy: float, flops: float) -> tuple[Row, ...]:
    whole_ones: dict[Any, Mapping[str, Any]] = {}
    sums: dict[tuple[str, tuple[Shape, ...], str], _Sum] = {}
    for each in operations:
        op: Operation = operation_from(each["operation"])
        calls, seconds = int(each["calls"]), each["seconds"]
        least = calls * max(op.bytes / copy, op.flops / flops)
        whole_ones.setdefault(op.row, each["operation"])
        was = sums.get(op.row, _Sum(0, 0.0, 0.0, ""))
        total = None if seconds is None or was.seconds is None else was.seconds + calls * seconds
        sums[op.row] = _Sum(was.calls + calls, total, was.least + least, was.why or each["why"])
    whole = sum(each.seconds or 0.0 for each in sums.values())
    rows, cumulative = [], 0.0
    ordered = sorted(sums.items(), key=lambda item: (item[1].seconds is None, -(item[1].seconds or 0.0)))
    for number, ((op_name, shapes, dtype), found) in enumerate(ordered, start=1):
        share = None if found.seconds is None or not whole else 100 * found.seconds / whole
        cumulative += share or 0.0
        limit = _limit(found.seconds, found.least)
        gain = None if share is None or limit is None else share * (1 - 1 / limit)
        running = None if share is None else cumulative
        said = whole_ones[op_name, shapes, dtype]
        rows.append(
            Row(
                *(number, op_name, shapes, dtype, found.calls, found.seconds),
                *(share, running, limit, gain, found.why, said),
            )
        )
    return tuple(rows)


def _functions(functions: Sequence[Mapping[str, Any]], step: float, copy: float) -> tuple[FunctionRow, ...]:
    ordered = sorted(functions, key=lambda f: (f["seconds"] is None, -(f["seconds"] or 0.0) * f["calls"]))
    rows = []
    for number, each in enumerate(ordered, start=1):
        seconds = None if each["seconds"] is None else each["seconds"] * each["calls"]
        # Run alone, a function shares no work with the rest of the step, so it may take longer than in the step.
        share = None if seconds is None else min(100.0, 100 * seconds / step)
        # With its gradient, a function reads and writes its arrays about three times instead of once.
        least = each["calls"] * each["bytes"] * (3 if each["differentiated"] else 1) / copy
        limit = _limit(seconds, least)
        rows.append(
            FunctionRow(
                f"f{number}",
                each["name"],
                tuple((name, value) for name, value in each["arguments"]),
                each["outputs"][0][1] if each["outputs"] else "",
                len(each["outputs"]),
                each["differentiated"],
                each["calls"],
                seconds,
                share,
                limit,
                None if share is None or limit is None else share * (1 - 1 / limit),
                each["why"],
            )
        )
    return tuple(rows)


def _limit(seconds: float | None, least: float) -> float | None:
    if seconds is None:
        return None
    return max(1.0, seconds / least) if least > 0 else None


def profile_of(found: Mapping[str, Any]) -> Profile:
    """Return a profile from :meth:`Profile.to_json`, for `kernel extract`.  Raises KeyError or TypeError."""
    rows = tuple(Row(**each | {"shapes": tuple(map(tuple, each["shapes"]))}) for each in found["rows"])
    functions = tuple(
        FunctionRow(**each | {"arguments": tuple(map(tuple, each["arguments"]))}) for each in found["functions"]
    )
    known = {name: found[name] for name in Profile.__dataclass_fields__ if name in found}
    return Profile(**known | {"rows": rows, "functions": functions, "notes": tuple(found["notes"])})
