"""Show one experiment in full: reason, numbers, times, diff and log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, Measurement
from autoresearch_mlx.judge.across import NAME, name_of
from autoresearch_mlx.judge.faults import fault_of
from autoresearch_mlx.lab.source import describe

_NONE = "(none)"
_LABEL = 11
_PHASES = ("start", "compile", "train", "evaluate")
_SPEED, _MACHINE = "speed", "machine"

_CASES = ("cases", "guard")
"""Figures that are shown as tables, such as the score of each case."""
_TOLD_ABOVE = ("tainted", "fault", "next_step", "checks", *_CASES)
"""Figures that other lines already show: figures about disturbed runs, checks and cases."""


def render_show(experiment: Experiment, diff: str | None, log_tail: str | None, metric: str, width: int) -> str:
    """Format one experiment as text, whatever its status.  Lines of diff and log are not wrapped."""
    e = experiment
    title = terms.one_line(e.title)
    header = f"experiment {e.number}: {e.status}" + (f", {title}" if title else "")
    log = next((m.log for m in reversed(e.measurements) if m.log), None)
    parts = [
        [*terms.wrap(header, width), *terms.wrap(e.reason or "no reason is known", width)],
        [line for name, text in _facts(e, metric) for line in terms.field(name, text, width, _LABEL)],
        _measured(e, metric, width),
        ["rationale", *terms.wrap(e.rationale.strip() or _NONE, width)],
        [f"diff against {(e.base or terms.UNKNOWN)[:7]}", _block(diff)],
        [f"log tail ({terms.one_line(log or terms.UNKNOWN)})", _log(log_tail)],
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def _facts(e: Experiment, metric: str) -> list[tuple[str, str]]:
    return [
        (metric if len(metric) < _LABEL else "value", terms.value(e.value)),
        ("gain", terms.gain(e.gain) + _interval(e)),
        ("commit", e.commit or terms.UNKNOWN),
        ("base", e.base or terms.UNKNOWN),
        ("ref", e.ref or terms.UNKNOWN),
        ("axis", e.axis or terms.UNKNOWN),
        ("knobs", describe(e.knobs)),
        ("agent", e.agent),
        ("started", e.started),
        ("finished", e.finished),
        ("overhead", _overhead_words(e)),
    ]


def _interval(e: Experiment) -> str:
    """Return text with the interval of the gain and with the measured difference."""
    low, high, raw = (e.effect.get(name) for name in ("low", "high", "raw"))
    if low is None or high is None or raw is None:
        return ""
    allowed, error = e.effect.get("speed_gain", 0.0), e.effect.get("error", 0.0)
    if abs(allowed) < error / 1000 or terms.gain(raw - allowed) == terms.gain(raw):
        return f"  (90 %: {terms.gain(low)} to {terms.gain(high)}; measured {terms.gain(raw)})"
    part = f"{'less' if allowed < 0 else 'plus'} {terms.amount(abs(allowed))} for the machine's speed"
    return f"  (90 %: {terms.gain(low)} to {terms.gain(high)}; measured {terms.gain(raw - allowed)}, {part})"


def overhead(experiment: Experiment) -> dict[str, float]:
    """Return the wall-clock seconds of all phases except training, in the order in which they happen.

    ``audit`` is the time of audits, ``incumbent`` is the time of new runs of the incumbent, and ``other`` is the rest
    of the loop's time.  ``other`` is computed from the readings of the loop's own clock, if the ledger has them, or
    else from ``started`` and ``finished``, which are whole seconds.
    """
    e = experiment
    measured = sum(m.seconds.total() for m in e.measurements)
    phases = {name: e.seconds.get(name) for name in ("propose", "commit")}
    phases |= {name: _sum(getattr(m.seconds, name) for m in e.measurements) for name in _PHASES if name != "train"}
    phases["settle"] = e.seconds.get("settle")
    if e.seconds:
        known = (*phases, "measure")
        phases |= {name: spent for name, spent in e.seconds.items() if name not in known}
        phases["audit"] = _sum(m.extra.get("audit_seconds") for m in e.measurements)
        beside = (phases["audit"] or 0.0) + e.seconds.get("incumbent", 0.0)
        rest = e.seconds.get("measure", measured) - measured - beside
    else:
        rest = (_wall_seconds(e) or 0.0) - measured
    phases["other"] = rest if rest > 0 else None
    return {name: spent for name, spent in phases.items() if spent is not None}


def _sum(seconds: Iterable[float | None]) -> float | None:
    known = [s for s in seconds if s is not None]
    return sum(known) if known else None


def _wall_seconds(e: Experiment) -> float | None:
    try:
        return (datetime.fromisoformat(e.finished) - datetime.fromisoformat(e.started)).total_seconds()
    except (ValueError, TypeError):
        return None


def _overhead_words(e: Experiment) -> str:
    phases = overhead(e)
    if not phases:
        return terms.UNKNOWN
    training = _sum(m.seconds.train for m in e.measurements)
    spent = sum(phases.values())
    whole = spent + (training or 0.0)
    share = f" ({100 * spent / whole:.0f} %)" if whole > 0 else ""
    return f"{spent:.1f} s of {whole:.1f} s{share}: " + ", ".join(f"{name} {s:.1f}" for name, s in phases.items())


def _measured(e: Experiment, metric: str, width: int) -> list[str]:
    """Write the table of measurements and the remarks below it.

    On a narrow terminal, rows and columns of the table are swapped.
    """
    if not e.measurements:
        return ["measurements", _NONE]
    head = ("seed", _MACHINE, metric, _SPEED, *_PHASES, "total", "steps", "tokens", "tokens/s", "peak MB")
    rows = [head, *(_row(m) for m in e.measurements)]
    rows = _used_columns(rows, optional=(_SPEED, _MACHINE) if e.failed else head)
    lines = terms.table(rows)
    if max(map(len, lines)) > width:
        lines = terms.table(list(zip(*rows, strict=True)), left=(0,))
    return ["measurements (times in seconds)", *lines, *_remarks(e, width)]


def _used_columns(rows: Sequence[tuple[str, ...]], optional: Sequence[str]) -> list[tuple[str, ...]]:
    """Leave out the optional columns in which no run has a value.

    A program, for example, reports no steps and no tokens.
    """
    needed = [name not in optional for name in rows[0]]
    shown = [i for i in range(len(rows[0])) if needed[i] or any(row[i] != terms.UNKNOWN for row in rows[1:])]
    return [tuple(row[i] for i in shown) for row in rows]


def _row(m: Measurement) -> tuple[str, ...]:
    phases = (getattr(m.seconds, name) for name in _PHASES)
    total = m.seconds.total()
    return (
        str(m.seed),
        name_of(m) or terms.UNKNOWN,
        terms.value(m.value),
        terms.speed(m.speed),
        *(terms.tenths(s) for s in phases),
        terms.tenths(total if total > 0 else None),
        terms.count(m.steps),
        terms.count(m.tokens),
        terms.count(m.tokens_per_second),
        terms.count(m.peak_memory_mb),
    )


def _which(m: Measurement) -> str:
    """Name a run by its seed, and in a fleet by its machine: ``seed 42 on desk``."""
    name = name_of(m)
    return f"seed {m.seed} on {name}" if name else f"seed {m.seed}"


def _remarks(e: Experiment, width: int) -> list[str]:
    """List disturbed and slow runs, failures that the verdict's reason leaves out, further figures, and the machine."""
    failures = [
        (f"seed {m.seed}", f"{m.failure}: {m.reason}") for m in e.measurements if m.failure and fault_of(m) is None
    ]
    told = [(name, words) for name, words in failures if not words.endswith(f": {e.reason}")]
    disturbed = [
        ("disturbed", f"{_which(m)}: {_why_tainted(m)}; this run does not count") for m in e.measurements if m.tainted
    ]
    extras = ((m, {name: fact for name, fact in m.extra.items() if name not in _TOLD_ABOVE}) for m in e.measurements)
    figures = [("figures", f"{_which(m)}: {words}") for m, extra in extras if (words := _pairs(extra))]
    checks = [("checks", f"{_which(m)}: {words}") for m in e.measurements if (words := _checks(m))]
    slowed = [("slowed", f"{_which(m)}: {words}") for m in e.measurements if (words := _why_slow(m))]
    facts = [*disturbed, *slowed, *told, *_by_the_script(e.measurements), *checks, *figures, *_machine(e.measurements)]
    tables = [line for name in _CASES for line in _cases(e.measurements, name)]
    return [*(line for name, words in facts for line in terms.field(name, words, width, _LABEL)), *tables]


def _cases(runs: Sequence[Measurement], name: str) -> list[str]:
    """Write a table of the cases that did not pass in every run, with the score in each run.

    Without cases there are no lines.
    """
    scored = [(_which(m), found) for m in runs if isinstance(found := m.extra.get(name), Mapping) and found]
    if not scored:
        return []
    every = dict.fromkeys(case for _, found in scored for case in found)
    open_ = [case for case in every if any(found.get(case, 0.0) < 1.0 for _, found in scored)]
    said = f"{name:<{_LABEL}}{len(every) - len(open_)} of {len(every)} have the full score in every run"
    if not open_:
        return [said]
    head = ("", *(run for run, _ in scored))
    rows = [head, *((terms.one_line(case), *(_score(found.get(case)) for _, found in scored)) for case in open_)]
    return [f"{said}; the other cases:", *(f"{'':<{_LABEL}}{line}" for line in terms.table(rows, left=(0,)))]


def _score(score: Any) -> str:
    return f"{score:.2f}" if isinstance(score, int | float) else terms.UNKNOWN


def _checks(m: Measurement) -> str:
    """Write words such as ``tests passed in 0.4 s, honest failed in 0.1 s, page not run``."""
    found = [each for each in m.extra.get("checks", ()) if isinstance(each, Mapping)]
    spent = ("" if each.get("seconds") is None else f" in {terms.tenths(each['seconds'])} s" for each in found)
    return ", ".join(f"{each.get('name')} {each.get('status')}{time}" for each, time in zip(found, spent, strict=True))


def _by_the_script(runs: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """Yield a line with the names of figures that only the measured script reports; the loop never decides by these."""
    names = {
        "steps": any(m.steps is not None for m in runs),
        "loss": any("loss" in m.extra for m in runs),
        "peak MB": any(m.peak_memory_mb is not None and m.machine.get("device") == "gpu" for m in runs),
    }
    if found := [name for name, there in names.items() if there]:
        yield "told", f"by the script itself: {', '.join(found)}"


def _why_tainted(m: Measurement) -> str:
    step = m.extra.get("next_step")
    return str(m.extra.get("tainted") or "disturbed") + (f"; {step}" if step else "")


def _why_slow(m: Measurement) -> str:
    """Return what slowed a run down and by how much, or an empty string if nothing did or if another line already
    says so."""
    if m.speed is None or not m.disturbed_by or m.disturbed_by in _why_tainted(m):
        return ""
    stretch = f" and {m.stretch:.2f} times its budget" if m.stretch is not None else ""
    return f"this run had {terms.speed(m.speed)} speed{stretch}: {terms.one_line(m.disturbed_by)}"


def _machine(runs: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """List the facts about the machine that all runs share, then the other facts of each run."""
    known = [m for m in runs if m.machine]
    facts = [{name: fact for name, fact in m.machine.items() if name != NAME} for m in known]  # the table has NAME
    common = facts[0] if facts else {}
    common = {name: fact for name, fact in common.items() if all(each.get(name) == fact for each in facts)}
    if words := _pairs(common):
        yield "machine", words
    for m, own in zip(known, facts, strict=True):
        if words := _pairs({name: fact for name, fact in own.items() if name not in common}):
            yield "beside it", f"{_which(m)}: {words}"


def _pairs(facts: Mapping[str, Any]) -> str:
    """Write words such as ``chip AMD EPYC, memory_gb 24``, without unknown facts."""
    return ", ".join(f"{name} {_figure(fact)}" for name, fact in facts.items() if fact is not None)


def _figure(fact: Any) -> str:
    if isinstance(fact, Mapping):  # a figure with its limit, or several figures under one name
        return _figure(fact["value"]) if "value" in fact else f"({_pairs(fact)})"
    if isinstance(fact, bool) or not isinstance(fact, int | float):
        return terms.one_line(str(fact))
    return f"{fact:,}" if isinstance(fact, int) else f"{fact:.6g}"


def _log(text: str | None) -> str:
    """Return the log's end, or ``(no output)`` if the log has only the harness's own line."""
    shown = _block(text)
    return "(no output)" if shown.strip() == "--- evaluation ---" else shown


def _block(text: str | None) -> str:
    return terms.printable(text or "").strip("\n") or _NONE
