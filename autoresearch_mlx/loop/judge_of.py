"""Build the judge of a session from its settings and from the facts that its ledger fixes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoresearch_mlx.judge.judge import Judge
from autoresearch_mlx.judge.limits import Limit
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.metric_settings import MetricSettings


def judge_of(settings: Settings, record: Mapping[str, Any], budget_seconds: float | None) -> Judge:
    """Return the judge of the session whose first ledger line is ``record``."""
    wanted = settings.judge
    return Judge(
        margin=record["margin"] if wanted.margin == "auto" else wanted.margin,
        mode=wanted.mode,
        floor=None if wanted.margin == "auto" else wanted.margin,
        replicates=wanted.replicates,
        refresh_every=wanted.refresh_every,
        removal_every=wanted.removal_every,
        limits=[limit for limit in map(limit_of, settings.metric) if limit is not None],
        budget_seconds=budget_seconds if wanted.calibrated_steps else None,
    )


def limit_of(metric: MetricSettings) -> Limit | None:
    """Return the limit that the settings set on a metric, or None if they set none."""
    if metric.limit is None:
        return None
    bound = None if isinstance(metric.limit, str) else metric.limit
    return Limit(metric.name, metric.direction, bound, metric.worse_by or 0.0, metric.unit)
