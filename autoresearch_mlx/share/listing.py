"""Show results of other labs beside this lab's own, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.share.hints import changes_in_words, effect_in_words
from autoresearch_mlx.share.outgoing import Outgoing
from autoresearch_mlx.share.place import Pulled
from autoresearch_mlx.share.question import question_here, tried_by_code, tried_by_knobs
from autoresearch_mlx.share.result import result_to
from autoresearch_mlx.store.ledger import Journal

_LEAST, _CHIP = 20, 20


@dataclass(frozen=True, slots=True)
class Beside:
    """A result of another lab, with this session's experiment on the same edit if there is one."""

    pulled: Pulled
    same_question: bool | None
    """Whether the result was measured under this session's conditions, on any machine.  None without a session."""
    here: Experiment | None
    """The newest experiment of this session that tried the same edit."""


def beside(pulled: Sequence[Pulled], journal: Journal | None, root: Path) -> list[Beside]:
    """Pair each result with this session's experiment on the same edit, or with None if there is no such experiment."""
    if journal is None:
        return [Beside(each, None, None) for each in pulled]
    asked = question_here(journal.comparability or {}, journal, root)
    own: dict[str, Experiment] = {}
    for e in journal.history.experiments:
        if e.number > 0 and e.measurements:
            if e.knobs:
                own[tried_by_knobs(asked, e.knobs)] = e
            if e.fingerprint:
                own[tried_by_code(asked, e.fingerprint)] = e
    return [Beside(each, each.result.question == asked, own.get(each.result.hypothesis)) for each in pulled]


def render(rows: Sequence[Beside], width: int) -> str:
    """Return a table with a line for each result: the gain in the other lab, the gain here, and the edit."""
    if not rows:
        return (
            "no results of other labs so far; `autoresearch-mlx share REMOTE pull` fetches them (yours are not listed)"
        )
    head = ("N", "lab", "machine", "conditions", "status", "gain there", "gain here", "edit")
    cells = [head, *(_row(row) for row in rows)]
    lines = terms.table([[*cell[:7], "|"] for cell in cells], left=(1, 2, 3, 4))
    room = max(width - terms.columns(lines[0]) + 1, _LEAST)
    shown = [line[:-1] + terms.cut(cell[7], room) for line, cell in zip(lines, cells, strict=True)]
    note = (
        "The column `gain there` has what the other labs reported; `autoresearch-mlx share REMOTE adopt N` measures "
        "the edit of result N here."
    )
    return "\n".join([*shown, "", *terms.wrap(note, max(width, 40))])


def _row(row: Beside) -> tuple[str, ...]:
    result = row.pulled.result
    conditions = {None: terms.UNKNOWN, True: "as here", False: "other"}[row.same_question]
    here = f"#{row.here.number} {terms.gain(row.here.gain)}" if row.here is not None else terms.UNKNOWN
    edit = changes_in_words(result) or f'"{result.title}"'
    where = (str(row.pulled.number), result.lab, terms.cut(result.chip, _CHIP))
    return (*where, conditions, result.status, effect_in_words(result.effect), here, terms.one_line(edit))


def as_json(row: Beside) -> dict[str, Any]:
    """Return a row as a JSON object that contains the result as it was published."""
    return {
        "number": row.pulled.number,
        "ref": row.pulled.ref,
        "commit": row.pulled.commit,
        "pulled": row.pulled.time,
        "same_question": row.same_question,
        "here": None if row.here is None else {"experiment": row.here.number, "gain": row.here.gain},
        "result": result_to(row.pulled.result),
    }


def render_outgoing(each: Outgoing, ref: str) -> str:
    """Return everything that would be published for one result: the ref, the JSON text and the files."""
    lines = [ref, json.dumps(result_to(each.result), indent=1)]
    for when, files in (("before the edit", each.before), ("after the edit", each.after)):
        for path, text in files.items():
            lines += [f"--- {path}, {when}: {len(text.encode()):,} bytes, whole", text.rstrip("\n")]
    return "\n".join(lines)


def outgoing_json(each: Outgoing, ref: str) -> Mapping[str, Any]:
    return {"ref": ref, "result": result_to(each.result), "before": dict(each.before), "after": dict(each.after)}
