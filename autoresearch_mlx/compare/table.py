"""Write a comparison as plain text, with all figures that the user needs to check it by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autoresearch_mlx.compare.agreement import Agreement
from autoresearch_mlx.compare.columns import (
    UNKNOWN,
    Column,
    cut,
    lines,
    number,
    percentage,
    sigmas,
    signed,
    span,
    wrap,
)
from autoresearch_mlx.compare.comparison import AxisRow, Comparison, Match, Side, compare_logs, to_json
from autoresearch_mlx.compare.effects import AxisEffect, Run
from autoresearch_mlx.compare.reference import Reference
from autoresearch_mlx.compare.verdict import Judged
from autoresearch_mlx.lab.source import describe
from autoresearch_mlx.terms import one_line

__all__ = ["Comparison", "compare_logs", "render", "render_list", "to_json"]

_LONGEST_AXIS = 32
_LONGEST_CHANGE = 48


def render(comparison: Comparison, width: int) -> str:
    """Return the comparison as text, in lines of at most ``width`` characters, or of about 60 if ``width`` is less.

    Narrow tables leave out intervals, percentages and counts; wide tables also name the reference's best change on each
    axis.
    """
    there, here = comparison.there, comparison.here
    sides = [here] if there is None else [there, here]
    labels = [f"here: {here.name}"] if there is None else [f"there: {there.name}", f"here: {here.name}"]
    parts = [
        wrap(f"{comparison.metric}: {' and '.join(side.name for side in sides)}", width),
        lines(_summary(labels, sides), width, grouped=False),
        *(wrap(_noise(label, side), width) for label, side in zip(labels, sides, strict=True) if side.measured),
    ]
    if there is not None:
        parts += _tables(comparison, labels, there, width)
        parts.append(wrap(f"{comparison.reference}: {comparison.source}", width))
    parts += [wrap(f"{side.name}: {text}.", width) for side in sides for text in side.caveats]
    if there is not None and not comparison.absolute:
        parts.append(wrap(f"Values cannot be compared: {'; '.join(comparison.reasons)}.", width))
    parts += [wrap(remark, width) for remark in comparison.remarks]
    return "\n\n".join(parts)


def _tables(comparison: Comparison, labels: Sequence[str], there: Side, width: int) -> list[str]:
    title = f"Best effect on each axis in {comparison.metric}, as measured; + is better. kept: runs kept / runs tried."
    parts = [wrap(title, width), lines(_axes(labels, comparison.axes, there.name), width)]
    if comparison.matches:
        title = "The same change on both sides. #: the run's number in its log."
        parts += [wrap(title, width), lines(_matches(labels, comparison.matches), width)]
    parts.append(wrap(in_words(comparison.agreement), width))
    if comparison.disagreements:
        title = "Largest disagreements, sorted by the smaller effect in percent."
        parts += [wrap(title, width), lines(_matches(labels, comparison.disagreements), width)]
    if comparison.untried:
        rows = [f"  {_change(e.run)} ({signed(e.gain)}, #{e.run.order})" for e in comparison.untried]
        title = f"Won on {there.name} and not yet tried here:"
        parts.append("\n".join([title, *(wrap(row, width, "    ") for row in rows)]))
    return parts


def in_words(found: Agreement) -> str:
    """Describe in a sentence or two how far the signs and ranks of the effects agree, with intervals."""
    if not found.pairs:
        return "No change was tried on both sides, so their agreement is unknown."
    text = f"Matching changes: {found.pairs}."
    if found.share is not None and found.share_interval is not None and found.chance is not None:
        low, high = found.share_interval
        text += (
            f" Signs agree in {found.same} of {found.signed}"
            f" ({100 * found.share:.0f} %; 90 % interval {100 * low:.0f} to {100 * high:.0f} %;"
            f" {100 * found.chance:.0f} % expected by chance, given how often each side gains)."
        )
    if found.rank is None:
        return text + " Too few for a rank correlation."
    text += f" Rank correlation of the gains in percent {found.rank:+.2f}"
    return text + (
        f" (90 % interval {found.rank_interval[0]:+.2f} to {found.rank_interval[1]:+.2f})."
        if found.rank_interval
        else ", without an interval."
    )


def _noise(label: str, side: Side) -> str:
    if side.noise.sigma is None:
        return f"{label}: {side.noise.source}."
    return f"{label}: sigma of one run {number(side.noise.sigma)}, {side.noise.source}."


def _summary(labels: Sequence[str], sides: Sequence[Side]) -> list[Column]:
    facts: dict[str, Callable[[Side], str]] = {
        "baseline": lambda side: number(side.baseline),
        "best": lambda side: number(side.best),
        "gain": lambda side: signed(side.gain),
        "gain in percent": lambda side: percentage(side.gain_percent),
        "runs, baseline included": lambda side: str(side.experiments),
        "kept, baseline included": lambda side: str(side.kept),
        "discarded": lambda side: str(side.discarded),
        "crashed or failed": lambda side: str(side.failed - side.interrupted),
    }
    if any(side.interrupted for side in sides):
        facts["interrupted"] = lambda side: str(side.interrupted)
    if any(side.left_out for side in sides):
        facts["not comparable, left out"] = lambda side: str(side.left_out)
    names = Column("", "", tuple(facts), left=True, lead=0)
    figures = [tuple(fact(side) for fact in facts.values()) for side in sides]
    return [names, *(Column("", label, cells, cut=True) for label, cells in zip(labels, figures, strict=True))]


def _axes(labels: Sequence[str], rows: Sequence[AxisRow], reference: str) -> list[Column]:
    return [
        Column("", "axis", tuple(cut(row.axis, _LONGEST_AXIS) for row in rows), left=True, lead=0, cut=True),
        *_axis_side(labels[0], [row.there for row in rows], [row.best_there for row in rows]),
        *_axis_side(labels[1], [row.here for row in rows], [row.best_here for row in rows]),
        Column("", "verdict", tuple(row.verdict for row in rows), left=True),
        Column("", f"best on {reference}", tuple(_best(row.there) for row in rows), left=True, drop=4),
    ]


def _axis_side(name: str, sides: Sequence[AxisEffect | None], best: Sequence[Judged | None]) -> list[Column]:
    kept = tuple(f"{side.kept}/{side.tried}" if side else UNKNOWN for side in sides)
    return [Column(name, "kept", kept, drop=1), *_judged(name, best)]


def _judged(name: str, best: Sequence[Judged | None]) -> list[Column]:
    effects = [told.effect if told else None for told in best]
    intervals = tuple(span(told.low, told.high) if told else UNKNOWN for told in best)
    return [
        Column(name, "effect", tuple(signed(e.gain if e else None) for e in effects), lead=1),
        Column(name, "90 % interval", intervals, drop=2),
        Column(name, "%", tuple(percentage(e.percent if e else None) for e in effects), drop=3, lead=1),
        Column(name, "sigmas", tuple(sigmas(told.sigmas if told else None) for told in best), drop=5, lead=1),
    ]


def _matches(labels: Sequence[str], rows: Sequence[Match]) -> list[Column]:
    there, here = [row.there for row in rows], [row.here for row in rows]
    return [
        *_match_side(labels[0], there, 0),
        *_match_side(labels[1], here, 2),
        Column("", "verdict", tuple(row.verdict for row in rows), left=True),
    ]


def _match_side(name: str, side: Sequence[Judged], lead: int) -> list[Column]:
    changes = tuple(cut(_change(told.effect.run), _LONGEST_CHANGE) for told in side)
    return [
        Column(name, "#", tuple(str(told.effect.run.order) for told in side), lead=lead),
        Column(name, "change", changes, left=True, drop=4 if lead else 0, lead=1, cut=True),
        *_judged(name, side),
    ]


def _best(side: AxisEffect | None) -> str:
    return UNKNOWN if side is None or side.best is None else _change(side.best.run)


def _change(run: Run) -> str:
    """Return a change on one line, even if an agent's title has several lines."""
    if not run.changes:
        return one_line(run.note) or run.axis
    if any(None in pair for pair in run.changes.values()):
        return one_line(run.note) or describe(run.changes).replace("None ->", "->")
    return describe(run.changes)


def render_list(references: Sequence[Reference], width: int) -> str:
    """Return the logs that come with the tool, one on each line."""
    runs = [sum(run.comparable for run in reference.runs) for reference in references]
    columns = [
        Column("", "name", tuple(r.name for r in references), left=True, lead=0),
        Column("", "runs", tuple(str(len(r.runs)) for r in references)),
        Column("", "comparable", tuple(map(str, runs))),
        Column("", "hardware", tuple(r.hardware for r in references), left=True, cut=True),
        Column("", "source", tuple(r.source for r in references), left=True, drop=1),
    ]
    return lines(columns, width, grouped=False)
