"""Turn the finished experiments of a session into results that can be published."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.lab.comparability import Key
from autoresearch_mlx.share.personal import Personal, personal_here
from autoresearch_mlx.share.place import Place
from autoresearch_mlx.share.question import knobs_alone, question_here, tried_by_code, tried_by_knobs
from autoresearch_mlx.share.result import STATUSES, Effect, Result, result_from, result_to
from autoresearch_mlx.store.ledger import FILE, Journal, read
from autoresearch_mlx.store.workspace import Workspace

_PATCH, _WHOLE, _FILES = 16_000, 512 * 1024, 16
"""Limits of one result: the patch in characters, each file in bytes, and the number of files."""
_NOTE = 500
_MACHINE = ("chip", "gpu", "gpu_cores", "memory_gb", "system", "mlx")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One result, with the files that are published with it."""

    result: Result
    before: Mapping[str, str] = field(default_factory=dict)
    """The files of a winning edit as they were before the edit, as {path in the lab: text}; empty for other results."""
    after: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """A session whose experiments are published."""

    root: Path
    """The lab's folder."""
    folder: Path
    """The session's folder."""
    place: Place
    workspace: Workspace
    personal: Personal

    def outgoing(self, skip: frozenset[str] = frozenset()) -> Iterator[Outgoing]:
        """Yield the results of the session, oldest first, without the results whose names are in ``skip``.

        Raises LedgerError.  The baseline and experiments without a measurement are not published, because they show
        no effect of an edit.
        """
        journal = read(self.folder / FILE)
        for e in journal.history.experiments:
            if e.number > 0 and e.status in STATUSES and e.measurements and not e.held:
                identity = self._identity(e, journal)
                if "/".join((identity["lab"], identity["machine"], f"{identity['session']}-{e.number}")) not in skip:
                    yield self._outgoing(e, journal, identity)

    def _identity(self, e: Experiment, journal: Journal) -> dict[str, str]:
        machine = self._machine(e, journal)
        place = self.place
        return {"lab": place.lab, "machine": place.machine_id(machine), "session": place.session_id(self.folder.name)}

    def _parts(self, e: Experiment, journal: Journal) -> Mapping[str, Any]:
        regime = journal.regimes.get(e.measurements[-1].regime)
        return (regime.parts if regime is not None else None) or {}

    def _machine(self, e: Experiment, journal: Journal) -> dict[str, Any]:
        """Return the published facts about the machine: its hardware, system and MLX version."""
        facts = e.measurements[-1].machine
        known = {name: facts[name] for name in _MACHINE if facts.get(name) is not None}
        named = self._parts(e, journal).get("machine")
        return known if "chip" in known or named is None else {"chip": named, **known}

    def _outgoing(self, e: Experiment, journal: Journal, identity: Mapping[str, str]) -> Outgoing:
        parts, clean = self._parts(e, journal), self.personal.cleaned
        whole, after = self._change(e)
        before = {path: whole[path] for path in after if path in whole}
        by_knobs = knobs_alone(whole, after)
        withheld = self._withheld(before, after)
        shown = {} if withheld else after
        asked = question_here(parts, journal, self.root)
        result = Result(
            **identity,
            experiment=e.number,
            question=asked,
            key=e.measurements[-1].key or Key(parts).mark,
            target=str(journal.session["target"]),
            metric=journal.history.metric,
            direction=journal.history.direction,
            status=e.status,  # type: ignore[arg-type]
            axis=e.axis,
            title=clean(e.title),
            note=clean(" ".join(filter(None, (e.rationale, e.reason if e.failed else ""))))[:_NOTE],
            hypothesis=tried_by_knobs(asked, by_knobs) if by_knobs else tried_by_code(asked, e.fingerprint or ""),
            finished=_utc(e.finished),
            facts={name: clean(str(fact)) for name, fact in self._machine(e, journal).items()},
            conditions={
                name: clean(str(part)) for name, part in parts.items() if part is not None and name != "machine"
            },
            knobs={name: (_clean(was, clean), _clean(now, clean)) for name, (was, now) in by_knobs.items()},
            effect=_effect(e),
            patch="" if by_knobs else _patch(before, shown),
            files=tuple(sorted(shown)) if e.status == "keep" else (),
            withheld="" if by_knobs and e.status != "keep" else withheld,
        )
        checked = _as_read(result)
        won = bool(checked.files)
        return Outgoing(checked, before if won else {}, after if won else {})

    def _change(self, e: Experiment) -> tuple[dict[str, str], dict[str, str]]:
        """Return two tables {path: text}: all editable files before an experiment, and the changed files after the
        experiment."""
        if e.commit is None or e.base is None:
            return {}, {}
        before = self.workspace.read(e.base)
        return before, {path: t for path, t in self.workspace.read(e.commit).items() if t != before.get(path)}

    def _withheld(self, before: Mapping[str, str], after: Mapping[str, str]) -> str:
        """Return the reason why the files of an edit must not be published, or an empty string if they may be
        published."""
        for path, text in [*before.items(), *after.items()]:
            if found := self.personal.named_in(text):
                return f"{path} contains {found}"
        if len(after) > _FILES or any(len(text.encode()) > _WHOLE for text in [*before.values(), *after.values()]):
            return "its files are too large to publish"
        return ""


def source_of(root: Path, folder: Path, place: Place) -> Source:
    """Return a session as a source of results.  Raises LedgerError, WorkspaceError."""
    record = read(folder / FILE).session
    workspace = Workspace(root, folder, folder.name, record.get("editable") or ())
    return Source(root, folder, place, workspace, personal_here(root))


def _effect(e: Experiment) -> Effect | None:
    low, high = e.effect.get("low"), e.effect.get("high")
    if e.gain is None:
        return None
    inside = low is not None and high is not None and low <= e.gain <= high
    return Effect(e.gain, low, high) if inside else Effect(e.gain)


def _clean(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    return [_clean(item, clean) for item in value] if isinstance(value, list | tuple) else value


def _as_read(result: Result) -> Result:
    """Return the result as other labs will read it.  If other labs would refuse the result because of the edit, the
    edit is left out."""
    read_back = result_from(result_to(result))
    if isinstance(read_back, Result):
        return read_back
    without = replace(
        result, knobs={}, patch="", files=(), withheld=f"other labs could not read the change: {read_back}"
    )
    read_back = result_from(result_to(without))
    assert isinstance(read_back, Result), read_back  # this program wrote all other fields, so they are valid
    return read_back


def _patch(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the change as a unified diff, or an empty string if the diff is too long."""
    lines: list[str] = []
    for path, text in sorted(after.items()):
        was, now = before.get(path, "").splitlines(keepends=True), text.splitlines(keepends=True)
        for line in difflib.unified_diff(was, now, f"a/{path}", f"b/{path}"):
            lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    patch = "".join(lines)
    return patch if len(patch) <= _PATCH else ""


def _utc(time: str) -> str:
    """Return a local time in UTC, because a time zone would reveal where the author lives."""
    try:
        return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return "1970-01-01T00:00:00Z"
