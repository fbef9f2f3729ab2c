"""Summarise in a few words how often a kind of change was kept on other machines: on an H100, and on Macs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from autoresearch_mlx.compare.effects import AxisEffect, by_axis, effects, from_reference
from autoresearch_mlx.compare.log import METRIC
from autoresearch_mlx.compare.reference import Reference, apple_logs, h100


def record_elsewhere(axis: str, metric: str) -> str:
    """Return how many of the experiments on an axis were kept, as text such as ``H100 2/6, Apple 9/41``.

    The text is empty if ``metric`` is not the metric of the tables.  Raises LabError when the installation lacks a
    table, and TableError when a table is malformed.
    """
    if metric != METRIC:
        return ""
    h100_log, *mac_logs = _records()
    told = [_kept("H100", axis, [h100_log]), _kept("Apple", axis, mac_logs)]
    return ", ".join(words for words in told if words)


@lru_cache(maxsize=1)  # cached, because the tables do not change and every menu asks for ten axes
def _records() -> tuple[Mapping[str, AxisEffect], ...]:
    """Return the effects by axis for each log: first the H100's log, then the logs of Macs."""
    return tuple(_by_axis(log) for log in (h100(), *apple_logs()))


def _by_axis(log: Reference) -> Mapping[str, AxisEffect]:
    return by_axis(effects([from_reference(run) for run in log.runs], "min"))


def _kept(where: str, axis: str, logs: Sequence[Mapping[str, AxisEffect]]) -> str:
    found = [log[axis] for log in logs if axis in log]
    tried = sum(each.tried for each in found)
    return f"{where} {sum(each.kept for each in found)}/{tried}" if tried else ""
