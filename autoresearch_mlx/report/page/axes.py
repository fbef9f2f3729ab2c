"""Effects by axis: every try with a gain, and the best one with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.report.page.values import AxisRow

NO_AXIS = "no axis"


def by_axis(experiments: Sequence[Experiment]) -> tuple[AxisRow, ...]:
    """Best gain first; axes where nothing was measured last, in the order of their first try."""
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
