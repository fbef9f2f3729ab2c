"""Find the kept experiments from the baseline to the head, their total changes, and all tries by axis."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.lab.source import literal
from autoresearch_mlx.report.page.attached import head
from autoresearch_mlx.report.page.content import AxisRow, Changed, Step

NO_AXIS = "no axis"


def by_axis(experiments: Sequence[Experiment]) -> tuple[AxisRow, ...]:
    """Group all tries by axis, best gain first; axes without a gain come last, in the order of their first try."""
    groups: dict[str, list[Experiment]] = {}
    for e in experiments:
        if e.number > 0 and e.status not in ("duplicate", "interrupted"):
            groups.setdefault(terms.cut(terms.one_line(e.axis or NO_AXIS), 60), []).append(e)
    rows = [_row(axis, tried) for axis, tried in groups.items()]
    return tuple(sorted(rows, key=lambda row: (row.gain is None, -(row.gain or 0.0))))


def _row(axis: str, tried: Sequence[Experiment]) -> AxisRow:
    tries = tuple((e.number, e.gain, e.status) for e in tried if e.gain is not None)
    best = max((e for e in tried if e.gain is not None), key=lambda e: e.gain or 0.0, default=None)
    return AxisRow(
        axis=axis,
        tried=len(tried),
        kept=sum(e.status == "keep" for e in tried),
        failed=sum(e.failed for e in tried),
        best=best.number if best else None,
        gain=best.gain if best else None,
        low=best.effect.get("low") if best else None,
        high=best.effect.get("high") if best else None,
        tries=tries,
    )


_DIFF_BYTES = 60_000


def lineage(history: History) -> tuple[Experiment, ...]:
    """Return the head and its ancestors, oldest first; the result is empty before there is a baseline."""
    kept = {e.commit: e for e in history.experiments if e.status == "keep" and e.commit}
    way: list[Experiment] = []
    e = history.incumbent
    while e is not None and e not in way:
        way.append(e)
        e = kept.get(e.base or "") if e.number > 0 else None
    return tuple(reversed(way))


def changed(way: Sequence[Experiment], diff: str | None) -> Changed:
    shown = head(diff, _DIFF_BYTES)
    return Changed(_net(way), tuple(_step(e) for e in way if e.number > 0), shown.text, shown.cut)


def _net(way: Sequence[Experiment]) -> tuple[tuple[str, str, str], ...]:
    """Return the knobs whose values at the head differ from those at the baseline."""
    first: dict[str, object] = {}
    last: dict[str, object] = {}
    for e in way:
        if e.number == 0:
            continue  # the baseline's own changes come from the machine's preset
        for name, (was, now) in e.knobs.items():
            first.setdefault(name, was)
            last[name] = now
    differing = (name for name in first if first[name] != last[name])
    return tuple((terms.one_line(n), _word(first[n]), _word(last[n])) for n in differing)


def _word(value: object) -> str:
    held = tuple(value) if isinstance(value, list) else value  # JSON has no tuples
    return "(none)" if held is None else terms.one_line(literal(held))


def _step(e: Experiment) -> Step:
    title = terms.cut(terms.one_line(e.title), 300)
    axis = terms.cut(terms.one_line(e.axis), 60) if e.axis else None
    return Step(e.number, title, axis, e.value, e.gain, e.effect.get("low"), e.effect.get("high"))
