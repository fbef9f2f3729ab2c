"""Judge the dev cases before a night, and describe the failed cases to the agent that proposes the next edit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from autoresearch_mlx.experiment import Experiment, History, Measurement
from autoresearch_mlx.targets.contract import Finding

TRACES = "traces.jsonl"
_SECTION = "check"
LEAST_FIXED = 3
"""An edit that loses no case is kept only if it wins at least this many cases.

A gain of exactly this many cases is 1.53 standard errors (``judge/by_case.py``); the last stage of the judge requires
1.5.
"""
_GAIN = 0.1
"""Gain in score that a night should be able to detect."""
_KEPT, _SEEN = 1.5, 1.28
"""Two quantiles of the normal distribution: the bound of the judge's last stage, and the quantile for a power of
0.9."""
_SHOWN, _LONGEST = 8, 600
"""The findings show at most this many failed cases, and this many characters of each text."""


def appraised(runs: Sequence[Measurement]) -> list[Finding]:
    """Return findings on whether the dev cases are too easy, too hard or too few, judged by runs of one version."""
    tables = [m.extra["cases"] for m in runs if isinstance(m.extra.get("cases"), Mapping)]
    if not tables:
        return []
    means = {case: fmean(table[case] for table in tables) for case in tables[0] if all(case in t for t in tables)}
    n, lost = len(means), sum(1 - score for score in means.values())
    right = f"{n - lost:.3g} of {n} dev cases are right"
    if lost < 1e-9:
        hint = "write harder cases; a night could only make the agent cheaper or worse"
        return [Finding(_SECTION, "cases", f"saturated: all {n} dev cases are right, so none can be won", "fail", hint)]
    if lost > n - 1e-9:
        hint = "read the traces: most often the answers have the wrong form, or the model cannot solve the cases"
        return [Finding(_SECTION, "cases", f"hopeless: none of {n} dev cases is right", "fail", hint)]
    found = []
    if lost < LEAST_FIXED:
        needed = math.ceil(2 * LEAST_FIXED * n / lost)
        said = f"nearly saturated: {right}, and an edit must win {LEAST_FIXED} more to be kept"
        hint = f"about {needed} dev cases as hard as these would be enough"
        found.append(Finding(_SECTION, "cases", said, "note", hint))
    found += _spread(tables, means, n)
    if not found:
        said = f"{right}; an edit must win {LEAST_FIXED} more cases, or {LEAST_FIXED / n:.2g} of the score"
        found.append(Finding(_SECTION, "cases", said))
    return found


def _spread(tables: Sequence[Mapping[str, float]], means: Mapping[str, float], n: int) -> list[Finding]:
    """Return a finding if there are too few cases to detect a gain of 0.1.  The list is empty if there are enough
    cases, or if scores do not vary from run to run."""
    if len(tables) < 2:
        return []
    within = fmean(
        sum((table[case] - mean) ** 2 for table in tables) / (len(tables) - 1) for case, mean in means.items()
    )
    if within == 0:
        return []
    # The difference of two versions varies with the answers of both, and with the cases that the edit changes.
    needed = math.ceil((_KEPT + _SEEN) ** 2 * (2 * within + _GAIN) / _GAIN**2)
    said = f"a case's score varies by {math.sqrt(within):.2g} from run to run"
    if needed <= n:
        return []
    hint = "write more cases, raise repeats, or set temperature = 0"
    words = f"{said}: to see a gain of {_GAIN:g} nine times in ten, about {needed} dev cases are needed; there are {n}"
    return [Finding(_SECTION, "spread", words, "note", hint)]


def findings(folder: Path, history: History) -> str:
    """Return the incumbent's failed dev cases with their traces, and the cases that later experiments won or lost."""
    best = history.incumbent
    if best is None:
        return ""
    parts = [_failed_cases(folder, best)]
    before = _scores(best)
    changes = [_changes(e, before) for e in history.experiments if e.number > best.number]
    return "\n\n".join(filter(None, [*parts, "\n".join(filter(None, changes))]))


def _failed_cases(folder: Path, best: Experiment) -> str:
    entries = _traces(folder, best)
    failed = [entry for entry in entries if entry["score"] < 1][:_SHOWN]
    if not failed:
        return ""
    count = sum(entry["score"] < 1 for entry in entries)
    head = f"Experiment {best.number}, the incumbent, loses {count} of {len(entries)} dev cases. {len(failed)} of them:"
    return "\n\n".join([head, *(_told(entry) for entry in failed)])


def _told(entry: Mapping[str, Any]) -> str:
    lines = [
        f"case {entry['id']} {entry['tags']}: score {entry['score']:.2g}: {entry['error'] or entry['why']}",
        f"  question: {_short(entry['input'])}",
        f"  wanted: {_short(entry['wanted'])}",
        f"  answer: {_short(entry['answer'])}",
    ]
    for step in entry["steps"]:
        if "tool" in step:
            lines.append(f"  tool {step['tool']}({_short(step['arguments'])}) -> {_short(step['result'])}")
        else:
            lines.append(f"  model said: {_short(step['said'])}")
    return "\n".join(lines)


def _changes(e: Experiment, before: Mapping[str, float]) -> str:
    now = _scores(e)
    better = [case for case in now if now[case] > before.get(case, now[case])]
    worse = [case for case in now if now[case] < before.get(case, now[case])]
    if not better and not worse:
        return ""
    won = f"won {', '.join(better[:_SHOWN]) or 'none'}"
    return f"Experiment {e.number} ({e.status}): {won}; lost {', '.join(worse[:_SHOWN]) or 'none'}"


def _scores(e: Experiment) -> Mapping[str, float]:
    tables = (m.extra.get("cases") for m in e.measurements)
    found: Mapping[str, Any] = next((table for table in tables if isinstance(table, Mapping)), {})
    return {str(case): float(score) for case, score in found.items()}


def _traces(folder: Path, e: Experiment) -> list[Mapping[str, Any]]:
    for m in reversed(e.measurements):
        path = (folder / m.log).with_name(TRACES) if m.log else None
        if path is None or not path.resolve().is_relative_to(folder.resolve()):
            continue
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError):
            continue
    return []


def _short(value: Any) -> str:
    text = " ".join((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
