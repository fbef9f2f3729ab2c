"""Compare the session with the H100's log, as rows of the page.  The figures are the same as those of ``compare``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.compare.agreement import Agreement
from autoresearch_mlx.compare.comparison import AxisRow, Match, compare_logs
from autoresearch_mlx.compare.effects import AxisEffect, Effect
from autoresearch_mlx.compare.log import of_reference
from autoresearch_mlx.compare.own import own_log
from autoresearch_mlx.compare.reference import h100
from autoresearch_mlx.compare.verdict import Judged
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.source import describe
from autoresearch_mlx.report.page.content import Carried, Shown, Transfer
from autoresearch_mlx.store.ledger import Journal

_NOBODY = Shown("", None, None, None, None)


def transfer_of(journal: Journal, root: Path, machine: Mapping[str, Any]) -> Transfer:
    """Compare this session with the H100's session, both by axis and change by change.

    Without the H100's table, the result has only a sentence that says so.  ``root`` is the lab's folder, whose git
    repository has the diffs.
    """
    try:
        there = of_reference(h100())
    except LabError as error:
        return Transfer(None, (), (), None, (), (f"Nothing to compare this session with: {error}",))
    here, trouble = own_log(journal, root, str(machine.get("chip") or "this machine"))
    found = compare_logs(here, there)
    return Transfer(
        reference=found.reference,
        axes=tuple(map(_axis, found.axes)),
        matches=tuple(map(_match, found.matches)),
        agreement=_agreed(found.agreement) if found.agreement.pairs else None,
        untried=tuple(terms.one_line(_words(effect)) for effect in found.untried),
        remarks=(
            *(f"{words}." for words in here.caveats),
            *found.remarks,
            *([f"{trouble[:1].upper()}{trouble[1:]}."] if trouble else []),
        ),
    )


def _sentence(words: str) -> list[str]:
    return [f"{words[:1].upper()}{words[1:]}."] if words else []


def _axis(row: AxisRow) -> Carried:
    there, here = _best(row.there, row.best_there), _best(row.here, row.best_here)
    return Carried(row.axis, there, here, row.verdict, row.there is not None and row.here is not None)


def _best(side: AxisEffect | None, best: Judged | None) -> Shown:
    if side is None:
        return _NOBODY
    return _shown(best) if best is not None else Shown("no try has a value", None, None, None, None)


def _match(found: Match) -> Carried:
    return Carried(found.there.effect.run.axis, _shown(found.there), _shown(found.here), found.verdict, True)


def _shown(judged: Judged) -> Shown:
    effect = judged.effect
    return Shown(terms.one_line(_words(effect)), effect.gain, judged.low, judged.high, effect.percent)


def _words(effect: Effect) -> str:
    """Describe a change by its knobs if both values are known, or else in the words of its log."""
    changes = effect.run.changes
    told = bool(changes) and all(None not in pair for pair in changes.values())
    return describe(changes) if told else effect.run.note


def _agreed(found: Agreement) -> str:
    """Return text such as ``signs agree in 5 of 7 (90 %: 42 to 90 %); rank correlation 0.36 (90 %: -0.41 to 0.83)``."""
    words = []
    if found.share is not None and found.share_interval is not None:
        low, high = found.share_interval
        words.append(f"signs agree in {found.same} of {found.signed} (90 %: {100 * low:.0f} to {100 * high:.0f} %)")
    if found.rank is not None:
        words.append(f"rank correlation {found.rank:.2f}{_range(found.rank_interval)}")
    head = f"{terms.plural(found.pairs, 'change')} tried on both sides"
    return ": ".join([head, "; ".join(words)]) if words else head


def _range(ends: tuple[float, float] | None) -> str:
    return f" (90 %: {ends[0]:.2f} to {ends[1]:.2f})" if ends is not None else ""
