"""A comparison as one JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from autoresearch_mlx.compare.effects import AxisEffect, Effect
from autoresearch_mlx.compare.summary import Comparison, Match
from autoresearch_mlx.compare.verdict import Judged


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Gains in the metric's unit, positive is better; intervals are of 90 %; null for unknown."""
    return {
        "metric": comparison.metric,
        "applies": comparison.there is not None,
        "reference": comparison.reference,
        "source": comparison.source,
        "there": asdict(comparison.there) if comparison.there else None,
        "here": asdict(comparison.here),
        "axes": [
            {
                "axis": row.axis,
                "there": _axis(row.there, row.best_there),
                "here": _axis(row.here, row.best_here),
                "verdict": row.verdict,
            }
            for row in comparison.axes
        ],
        "matches": [_match(found) for found in comparison.matches],
        "agreement": asdict(comparison.agreement),
        "disagreements": [_match(found) for found in comparison.disagreements],
        "untried": [_effect(effect) for effect in comparison.untried],
        "absolute": {"comparable": comparison.absolute, "reasons": list(comparison.reasons)},
        "remarks": list(comparison.remarks),
    }


def _axis(side: AxisEffect | None, best: Judged | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {"tried": side.tried, "kept": side.kept, "best": _judged(best) if best else None}


def _match(found: Match) -> dict[str, Any]:
    return {
        "axis": found.there.effect.run.axis,
        "there": _judged(found.there),
        "here": _judged(found.here),
        "verdict": found.verdict,
    }


def _judged(told: Judged) -> dict[str, Any]:
    return {**_effect(told.effect), "low": told.low, "high": told.high, "sigmas": told.sigmas}


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "order": effect.run.order,
        "commit": effect.run.commit,
        "status": effect.run.status,
        "axis": effect.run.axis,
        "value": effect.run.value,
        "incumbent": effect.incumbent,
        "gain": effect.gain,
        "gain_percent": effect.percent,
        "knobs": {name: list(change) for name, change in effect.run.changes.items()},
        "note": effect.run.note,
    }
