"""Replay edits from a file (``scripted:PATH``), for demonstrations, for tests, and to run an old log again.

The file is JSONL with one step per line, or JSON: a list of steps or ``{"steps": [...]}``.  A step is one of

    {"title": "halve the batch", "axis": "batch", "knobs": {"TOTAL_BATCH_SIZE": 32768}}
    {"title": "new file", "files": {"train_mlx.py": "..."}}
    {"title": "SiLU", "search": "nn.relu(x)", "replace": "nn.silu(x)", "path": "train_mlx.py"}

``path`` may be left out when the text or the knob occurs in only one file.  Step k belongs to experiment k, so a
resumed session continues with the right step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import AgentError, AgentWaits
from autoresearch_mlx.experiment import Context, Proposal
from autoresearch_mlx.lab.source import axis_of, read_knobs, set_knobs

_TEXTS = ("title", "axis", "rationale", "search", "replace", "path")
_FIELDS = (*_TEXTS, "knobs", "files")
_HINT = 'a step is {"title": ..., "knobs": {...}}, or has "files", or "search" and "replace"'


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the file; ``where`` names its position for messages."""

    where: str
    fields: Mapping[str, Any]


class Scripted:
    """An agent that takes its proposals from a file; the file is read and checked once, at the start."""

    name = "scripted"

    def __init__(self, path: Path) -> None:
        """Read and check the script.  Raises AgentError, which names the wrong line and field."""
        self._steps = read_script(path)

    def propose(self, context: Context) -> Proposal:
        """Return the step with this experiment's number; after a refusal, return the same step again.

        Raises AgentError after the last step, and for a step that does not fit the files.  While other experiments are
        running, a step that does not fit raises AgentWaits instead, because it may need the edit of such an experiment.
        """
        if not 1 <= context.number <= len(self._steps):
            raise AgentError(
                f"the script ended after {len(self._steps)} steps", "add steps to the script, or end the session here"
            )
        step = self._steps[context.number - 1]
        fields = step.fields
        try:
            files = _edited(step, context.files)
        except AgentError as error:
            if context.running:
                raise AgentWaits(str(error), error.hint) from error
            raise
        return Proposal(
            title=fields["title"],
            files=files,
            axis=fields.get("axis") or _axis(fields),
            rationale=fields.get("rationale", ""),
            agent=self.name,
        )


class Fixed:
    """An agent that proposes the same edit whenever it is asked."""

    def __init__(self, name: str, proposal: Proposal) -> None:
        self.name = name
        self._proposal = proposal

    def propose(self, context: Context) -> Proposal:
        return self._proposal


def _axis(fields: Mapping[str, Any]) -> str | None:
    first = next(iter(fields.get("knobs", ())), None)
    return axis_of(first) if first is not None else None


def _edited(step: Step, files: Mapping[str, str]) -> dict[str, str]:
    if "files" in step.fields:
        return dict(step.fields["files"])
    if "knobs" in step.fields:
        return _with_knobs(step, files)
    search = step.fields["search"]
    path = _path(step, [p for p, text in files.items() if search in text], f"text {search!r}", files)
    if files[path].count(search) != 1:
        raise AgentError(f"{step.where}: 'search' occurs {files[path].count(search)} times in {path}", _HINT)
    return {path: files[path].replace(search, step.fields["replace"])}


def _with_knobs(step: Step, files: Mapping[str, str]) -> dict[str, str]:
    edited = dict(files)
    for name, value in step.fields["knobs"].items():
        path = _path(step, [p for p in files if name in read_knobs(files[p])], f"knob {name}", files)
        if name not in read_knobs(edited[path]):
            raise AgentError(f"{step.where}: {path} has no knob {name}", _HINT)
        edited[path] = set_knobs(edited[path], {name: tuple(value) if isinstance(value, list) else value})
    return {path: text for path, text in edited.items() if text != files[path]}


def _path(step: Step, having: list[str], what: str, files: Mapping[str, str]) -> str:
    """Return the file that a step changes: the file that the step names, or the only file with the text or knob."""
    named = step.fields.get("path")
    if named is not None and named in files:
        return str(named)
    if named is not None:
        raise AgentError(
            f"{step.where}: 'path' {named!r} is not an editable file", f"editable files: {', '.join(files)}"
        )
    if len(having) != 1:
        found = f"{len(having)} files have" if having else "no editable file has"
        raise AgentError(f"{step.where}: {found} the {what}", f"editable files: {', '.join(files)}")
    return having[0]


def read_script(path: Path) -> tuple[Step, ...]:
    """Return all steps of a file.  Raises AgentError for an unreadable file or a step that cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentError(
            f"cannot read the script {path}: {error}", "name a JSON or JSONL file that can be read, as scripted:PATH"
        ) from error
    return tuple(_checked(Step(where, fields)) for where, fields in _raw_steps(path, text))


def _raw_steps(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    whole = _whole(text)
    if whole is not None:
        for k, fields in enumerate(whole, start=1):
            yield f"{path.name}, step {k}", fields
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield f"{path.name}, line {number}", json.loads(line)
            except ValueError as error:
                raise AgentError(f"{path.name}, line {number}: not JSON: {error}", _HINT) from error


def _whole(text: str) -> list[Any] | None:
    """Return the steps of a JSON file; ``None`` when the file is JSONL, to be read line by line."""
    try:
        data = json.loads(text)
    except ValueError:
        return None
    if isinstance(data, dict) and isinstance(data.get("steps"), list):
        data = data["steps"]
    return data if isinstance(data, list) else None


def _checked(step: Step) -> Step:
    """Check a step and return it.  Raises AgentError, naming the first field that is wrong."""
    fields = step.fields
    if not isinstance(fields, dict):
        raise AgentError(f"{step.where}: not an object but {type(fields).__name__}", _HINT)
    wrong = next((f"unknown field {key!r}" for key in fields if key not in _FIELDS), None) or _wrong(fields)
    if wrong:
        raise AgentError(f"{step.where}: {wrong}", _HINT)
    return step


def _wrong(fields: Mapping[str, Any]) -> str | None:
    if not fields.get("title"):
        return "field 'title' is missing"
    for name in _TEXTS:
        if not isinstance(fields.get(name, ""), str):
            return f"field {name!r} must be text"
    for name in ("knobs", "files"):
        if name in fields and (not isinstance(fields[name], dict) or not fields[name]):
            return f"field {name!r} must be an object with at least one entry"
    if not all(isinstance(text, str) for text in fields.get("files", {}).values()):
        return "field 'files' must map paths to texts"
    kinds = [name for name in ("knobs", "files", "search") if name in fields]
    if len(kinds) != 1:
        return f"one of 'knobs', 'files', 'search' is needed, found {', '.join(kinds) or 'none'}"
    return "field 'replace' is missing" if kinds == ["search"] and "replace" not in fields else None
