"""Make a kernel lab: a function as the reference, inputs for testing candidates, and a first candidate."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.targets.kernel.candidate import Refused, read_candidate
from autoresearch_mlx.targets.kernel.children import Surroundings, asked
from autoresearch_mlx.targets.kernel.lab_texts import LAB_TOML, first_candidate, no_candidate, program
from autoresearch_mlx.targets.kernel.operation_source import POSITIVE, operation_source
from autoresearch_mlx.targets.kernel.operations import operation_from
from autoresearch_mlx.targets.kernel.profile import FunctionRow, Profile, Row
from autoresearch_mlx.targets.kernel.request import TakeOut
from autoresearch_mlx.targets.kernel.sliced import sliced
from autoresearch_mlx.targets.kernel.task import KERNEL, REFERENCE, TASK, Array, Task

FOLDER = "kernels"
"""Folder of kernel labs beside the script; git ignores it, because each lab is a separate repository."""
_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A function from which to make a kernel lab: the function's text, and the arguments with which the step calls
    it."""

    name: str
    function: str
    reference: str
    """Text of reference.py."""
    arguments: list[list[Any]]
    outputs: int
    differentiated: bool
    row: Mapping[str, Any] | None
    script: Path | None
    first: str | None = None
    """Text of the first candidate, if the function comes with one."""
    positive: bool = False


def row_named(profile: Profile, name: str) -> Row | FunctionRow:
    """Return the row of the profile with this name.

    The name of an operation is its number.  The name of a function is ``f1``, ``f2`` and so on, or the function's name
    in the script.

    Raises LabError if no row has this name.
    """
    for row in profile.rows:
        if name == str(row.number):
            return row
    for function in profile.functions:
        if name in (function.name, function.function):
            return function
    some = [*(f"{f.name} ({f.function})" for f in profile.functions[:6])]
    said = f"the profile has no row {name!r}; its operations have the numbers 1 to {len(profile.rows)}"
    raise LabError(
        said, f"its functions are {', '.join(some)}" if some else "the script has no function that takes arrays only"
    )


def wanted_of(row: Row | FunctionRow, script: Path) -> Wanted:
    """Return the function or operation that a row of the profile names.

    Raises LabError if no task can be made from it.
    """
    if isinstance(row, FunctionRow):
        text = sliced(script.read_text(encoding="utf-8"), row.function, script.name)
        shown = {"row": row.name, "calls": row.calls, "seconds": row.seconds, "share": row.share, "gain": row.gain}
        arguments = [[name, value] for name, value in row.arguments]
        return Wanted(row.function, row.function, text, arguments, row.outputs, row.differentiated, shown, script)
    if row.operation is None:
        raise LabError(
            "this profile was made by an earlier version", "`autoresearch-mlx kernel profile` makes a new profile"
        )
    op = operation_from(row.operation)
    shown = {"row": row.number, "calls": row.calls, "seconds": row.seconds, "share": row.share, "gain": row.gain}
    arguments = [[chr(ord("a") + at), [list(each.seen.shape), each.seen.dtype]] for at, each in enumerate(op.inputs)]
    name = f"{re.sub('[^a-z0-9]', '', op.name.lower())}_{row.number}"
    return Wanted(
        name, "operation", operation_source(op), arguments, 1, False, shown, None, positive=op.name in POSITIVE
    )


def extract(
    wanted: Wanted, folder: Path, around: Surroundings, chip: str, mlx: str, vocab: int, seq_len: int, first: str | None
) -> Task:
    """Write a kernel lab into ``folder``, which must be new or empty; return the lab's task.

    ``first`` is the text of the first candidate.  None means the reference's own text; if that text is refused, the
    first candidate defines no kernel.  Raises LabError if the function cannot be a task, or if ``first`` is refused.
    """
    if folder.exists() and any(folder.iterdir()):
        raise LabError(f"{folder} is not empty", "choose another folder: kernel extract ROW --to DIR")
    with tempfile.TemporaryDirectory(prefix="autoresearch-kernel-") as made:
        reference = Path(made).resolve() / REFERENCE
        reference.write_text(wanted.reference, encoding="utf-8")
        script = "" if wanted.script is None else str(wanted.script)
        request = TakeOut(
            *(wanted.name, wanted.function, str(reference), script, around.device, vocab, seq_len),
            *(wanted.arguments, wanted.outputs, wanted.differentiated),
        )
        read = [reference, *([wanted.script.parent] if wanted.script is not None else [])]
        task = _task(wanted, asked(around, "take_out", request.to_json(), read, _SECONDS), chip, mlx)
    text = first if first is not None else wanted.first
    if text is None:
        text = _own_text(wanted, task)
    try:
        read_candidate(text, task)
    except Refused as refused:
        raise LabError(f"the first candidate is refused: {refused}", "correct the file that --first names") from None
    _write(folder, wanted, task, text)
    return task


def _own_text(wanted: Wanted, task: Task) -> str:
    """Return the reference's text as a candidate; if that text is refused, return a candidate that defines no
    kernel."""
    text = first_candidate(wanted.reference, wanted.function, task)
    try:
        read_candidate(text, task)
    except Refused as refused:
        return no_candidate(task, str(refused))
    return text


def _task(wanted: Wanted, found: Mapping[str, Any], chip: str, mlx: str) -> Task:
    arrays = tuple(Array(**each | {"axes": tuple(each["axes"])}) for each in found["arrays"])
    if wanted.positive:
        arrays = tuple(replace(each, mean=1.5, std=0.2) for each in arrays)
    return Task(
        name=wanted.name,
        function=wanted.function,
        parameters=tuple(name for name, _ in wanted.arguments),
        arrays=arrays,
        constants=found["constants"],
        outputs=wanted.outputs,
        differentiated=wanted.differentiated,
        sizes=found["sizes"],
        free=tuple(found["free"]),
        odd=tuple(found["odd"]),
        tolerance=found["tolerance"],
        typical=found["typical"],
        baselines=tuple(found["baselines"]),
        script=wanted.script.name if wanted.script is not None else "",
        row=wanted.row,
        made_on={"chip": chip, "mlx": mlx},
    )


def _write(folder: Path, wanted: Wanted, task: Task, first: str) -> None:
    fresh = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REFERENCE).write_text(wanted.reference, encoding="utf-8")
        (folder / TASK).write_text(task.to_json(), encoding="utf-8")
        (folder / KERNEL).write_text(first, encoding="utf-8")
        (folder / "lab.toml").write_text(LAB_TOML, encoding="utf-8")
        (folder / "program.md").write_text(program(task, wanted.reference), encoding="utf-8")
    except OSError as error:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        raise LabError(f"{folder} cannot be written: {error.strerror}", "choose another folder: --to DIR") from None


def remembered(state: Path, script: Path, text: str) -> Mapping[str, Any] | None:
    """Return the script's last profile if that profile was made from this ``text``, else None."""
    try:
        found: Mapping[str, Any] = json.loads((state / _NOTE).read_text(encoding="utf-8"))
        same = found["text"] == text and found["path"] == str(script)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if same else None


def remember(state: Path, script: Path, text: str, profile: Profile, sizes: Mapping[str, int]) -> None:
    """Save the profile of a script whose text is ``text``, so that `kernel extract` need not profile the script
    again."""
    said = {"path": str(script), "text": text, "sizes": dict(sizes)}
    (state / _NOTE).write_text(json.dumps({**said, "profile": profile.to_json()}), encoding="utf-8")


_NOTE = "kernel-profile.json"
