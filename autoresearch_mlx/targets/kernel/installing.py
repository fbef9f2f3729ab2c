"""Put a kernel with an on/off switch into the text of a training script, and restore the exact earlier text.

A kernel is a block of lines between two markers, directly after the function that it replaces.  The block defines the
switch ``KERNEL_NAME``, a function with the candidate's text, and one statement that replaces the function.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.source import UNPARSABLE, lines_of, parse, why_unparsable
from autoresearch_mlx.targets.kernel.task import REFERENCE, Array, Task

_OPEN = " (the file ended without a line end)"
_BEGIN = re.compile(
    rf"^# >>> kernel (?P<name>\w+) (?P<digest>[0-9a-f]{{12}})(?P<open>{re.escape(_OPEN)})?:", re.MULTILINE
)
_END = "# <<< kernel {name}"
_FACTS = (
    *("name", "parameters", "arrays", "constants", "outputs", "differentiated", "sizes", "free"),
    *("tolerance", "typical"),
)
"""The parts of a task from which the installed code decides whether to call the kernel, and checks its first call."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A kernel that is installed in a script."""

    function: str
    digest: str
    """First digits of the SHA-256 of the candidate's text."""
    on: bool
    """Whether the switch is on."""
    edited: bool
    """Whether a line of the installed block, other than the switch, has been changed."""
    start: int
    end: int
    """Position in the text at which the kernel's block of lines ends.

    The block begins at ``start``, which is before the blank lines above the first marker.
    """


def digest_of(source: str) -> str:
    """Return the first 12 digits of the SHA-256 of a candidate's text, to identify an installed kernel."""
    return hashlib.sha256(source.encode()).hexdigest()[:12]


def switch_of(function: str) -> str:
    return f"KERNEL_{function.strip('_').upper()}"


def with_kernel(text: str, task: Task, source: str, script: str, on: bool = True) -> str:
    """Return the script's text with a kernel added after the function that it replaces.

    ``source`` is the text of kernel.py, which has passed the static gates.  ``on`` says whether the switch is on.
    Raises LabError if the script no longer has the function, or already has a kernel for the function.
    """
    if any(each.function == task.function for each in installed_in(text)):
        said = f"{script} has a kernel for {task.function} already"
        raise LabError(said, f"`autoresearch-mlx kernel remove {task.function}` takes that kernel out")
    if re.search(rf"\b{switch_of(task.function)}\b", text):
        raise LabError(f"{script} uses the name {switch_of(task.function)} already", "use another name in the script")
    if re.search(r"\r(?!\n)", text):
        said = f"{script} has lines that end with a carriage return alone"
        raise LabError(said, "save the script with ordinary line ends")
    ends = _end_of(text, task, script)
    lines = lines_of(text)
    before = "".join(lines[:ends])
    newline = "\r\n" if "\r\n" in before else "\n"
    whole = before.endswith("\n")
    block = _block(task, source, "" if whole else _OPEN, on)
    block = block if whole else "\n" + block.removesuffix("\n")
    return before + block.replace("\n", newline) + "".join(lines[ends:])


def without_kernel(text: str, function: str, script: str) -> str:
    """Return the script's text without the kernel of a function, exactly as the text was before the installation.

    Raises LabError if there is no such kernel.  Also raises LabError if the kernel's lines were edited, because the
    edit would be lost.
    """
    found = next((each for each in installed_in(text) if each.function == function), None)
    if found is None:
        known = ", ".join(each.function for each in installed_in(text)) or "none"
        raise LabError(f"{script} has no installed kernel for {function}", f"kernels in the script: {known}")
    if found.edited:
        said = f"the lines of the kernel for {function} in {script} were edited since they were installed"
        switch = f"{switch_of(function)} = False"
        hint = f"nothing was changed: delete the lines by hand, or set {switch} to use the plain function"
        raise LabError(said, hint)
    return text[: found.start] + text[found.end :]


def installed_in(text: str) -> tuple[Installed, ...]:
    """Return the kernels in a script, in the order of the text.  Raises LabError for a block that has no end."""
    found = []
    for begin in _BEGIN.finditer(text):
        name = begin["name"]
        end = re.compile(rf"^{re.escape(_END.format(name=name))}(\r\n|\r|\n|\Z)", re.MULTILINE)
        last = end.search(text, begin.end())
        if last is None:
            said = f"the lines of the kernel for {name} have no end: `{_END.format(name=name)}` is missing"
            raise LabError(said, "put the missing line back, or delete the kernel's lines by hand")
        start = begin.start()
        gap = re.search(r"(\r\n|\n){2}\Z", text[:start])
        start = gap.start() if gap is not None else start
        if begin["open"] and start >= 1:
            start -= 2 if text[:start].endswith("\r\n") else 1
        body = text[begin.start() : last.start()].replace("\r\n", "\n")
        on, sealed = _switched(body, name)
        found.append(Installed(name, begin["digest"], on, sealed != _seal_of(body), start, last.end()))
    return tuple(found)


def _end_of(text: str, task: Task, script: str) -> int:
    """Return the number of the line on which the function ends.  Raises LabError if the script lacks the function."""
    try:
        tree = parse(text)
    except UNPARSABLE as error:
        raise LabError(f"{script} does not parse: {why_unparsable(error)}", "correct the script first") from None
    named = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == task.function]
    if not named:
        defines = "no longer defines" if task.script else "does not define"
        said = f"{script} {defines} {task.function}() at the top level, so the kernel cannot be installed there"
        lists = "`autoresearch-mlx kernel profile` lists the functions that the step calls now"
        raise LabError(said, lists if task.script else f"in the step, call a function like the one in {REFERENCE}")
    if len(named) > 1:
        raise LabError(f"{script} defines {task.function}() more than once", "leave one definition")
    taken = named[0].args
    parameters = tuple(each.arg for each in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs))
    if parameters != task.parameters or taken.vararg or taken.kwarg:
        said = f"{task.function}({', '.join(parameters)}) in {script} has other parameters than the kernel's task"
        raise LabError(said, f"`autoresearch-mlx kernel extract {task.function} --to DIR` makes a new task")
    after = [node.lineno for node in tree.body if node.lineno == named[0].end_lineno and node is not named[0]]
    if after or named[0].end_lineno is None:
        raise LabError(
            f"the last line of {task.function}() in {script} has another statement too", "move that statement down"
        )
    return named[0].end_lineno


def _block(task: Task, source: str, mark: str, on: bool) -> str:
    """Return the lines of the block that installs a kernel."""
    name, switch = task.function, switch_of(task.function)
    inner = f"_kernel_of_{name.strip('_')}"
    facts = {each: value for each, value in json.loads(task.to_json()).items() if each in _FACTS}
    body = f"""\
{switch} = {on}  # False: the plain function above is used


def {inner}():
{_indented(source)}

    return locals()


if {switch}:
    try:
        from autoresearch_mlx.targets.kernel.inside.installed import installed as _installed
    except ImportError as _missing:
        print(f"kernel {name}: the plain function is used: {{_missing}}", flush=True)
    else:
        {name} = _installed(
            {name},
            {inner},
            {_written(facts)},
        )
"""
    out = f"`autoresearch-mlx kernel remove {name}` takes these lines out"
    first = f"# >>> kernel {name} {digest_of(source)}{mark}: {out}"
    return f"\n\n{first}\n# sealed {_seal(body)}\n{body}{_END.format(name=name)}\n"


def _written(facts: Mapping[str, Any]) -> str:
    """Return the facts of a task as Python source, one line for each fact and for each array."""
    lines = []
    for name, value in facts.items():
        if name == "arrays":
            lines += ['"arrays": [', *(f"    {_literal(_told(array))}," for array in value), "],"]
        else:
            lines.append(f'"{name}": {_literal(value)},')
    return "{\n" + "".join(f"                {line}\n" for line in lines) + "            }"


def _told(array: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an array that differ from their defaults."""
    usual = {each.name: each.default for each in fields(Array)}
    return {name: value for name, value in array.items() if value != usual[name]}


def _literal(value: Any) -> str:
    """Return a JSON value as Python source, with strings in double quotes."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_literal(name)}: {_literal(each)}" for name, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_literal, value)) + "]"
        case str():
            return json.dumps(value)
        case _:
            return repr(value)


def _indented(source: str) -> str:
    """Return a file's text, indented as the body of a function; lines inside a string constant stay unchanged."""
    source = source.replace("\r\n", "\n").rstrip("\n")
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = [node.value for node in nodes if isinstance(node, ast.Expr)]
    inside: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            inside.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return "\n".join(
        line if at in inside or not line.strip() else f"    {line}"
        for at, line in enumerate(source.split("\n"), start=1)
    )


def _seal(body: str) -> str:
    """Return a hash of a block's lines without the switch, so that an edit of the block is noticed."""
    lines = [line for line in body.splitlines() if not re.match(r"KERNEL_\w+ = ", line)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _seal_of(block: str) -> str:
    """Return the present hash of a block's lines, without the marker and the seal, which are the first two lines."""
    return _seal("".join(block.splitlines(keepends=True)[2:]))


def _switched(block: str, name: str) -> tuple[bool, str]:
    """Return whether a block's switch is on, and the seal that was written when the block was installed."""
    switch = re.search(rf"^{switch_of(name)} = (\w+)", block, re.MULTILINE)
    sealed = re.search(r"^# sealed (\w+)$", block, re.MULTILINE)
    return switch is not None and switch[1] == "True", sealed[1] if sealed else ""
