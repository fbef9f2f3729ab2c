"""The page's tables, as markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.report.page.content import AxisRow, Carried, Page, Shown, Step, Transfer
from autoresearch_mlx.report.page.escape import change, escape

_BAR = 160
"""Pixels of the longest bar."""


def link(number: int) -> str:
    """To the row of an experiment."""
    return f'<a href="#experiments" data-number="{number}">#{number}</a>'


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Cells are markup already; ``numbers`` names the right-aligned columns."""
    kind = [' class="n"' if at in numbers else "" for at in range(len(heads))]
    head = "".join(f'<th scope="col"{k}>{h}</th>' for h, k in zip(heads, kind, strict=True))
    lines = ("".join(f"<td{k}>{cell}</td>" for cell, k in zip(row, kind, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    told = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="wide" tabindex="0"><table>{told}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def steps(found: Sequence[Step], metric: str) -> str:
    rows = [
        (link(s.number), change(s.title), escape(s.axis or ""), terms.value(s.value), terms.gain(s.gain), interval(s))
        for s in found
    ]
    heads = ("#", "kept", "axis", escape(metric), "gain", "90 %")
    return table("Every keep on the way to the head, oldest first.", heads, rows, (3, 4, 5))


def interval(held: Step | AxisRow | Shown) -> str:
    if held.low is None or held.high is None:
        return ""
    return f"{terms.gain(held.low)} … {terms.gain(held.high)}"


def knobs(found: Sequence[tuple[str, str, str]]) -> str:
    if not found:
        return "<p>No knob ends elsewhere than it began.</p>"
    rows = [tuple(f"<code>{escape(word)}</code>" for word in knob) for knob in found]
    return table("Knobs that end elsewhere than they began.", ("knob", "baseline", "head"), rows)


def axes(found: Sequence[AxisRow]) -> str:
    rows = [
        (
            escape(row.axis),
            f"{row.tried:,}",
            f"{row.kept:,}",
            f"{row.failed:,}",
            link(row.best) if row.best is not None else "",
            terms.gain(row.gain),
            interval(row),
        )
        for row in found
    ]
    heads = ("axis", "tried", "kept", "failed", "best", "gain", "90 %")
    return f"<details><summary>The figures</summary>{table('', heads, rows, (1, 2, 3, 4, 5, 6))}</details>"


def carried_short(rows: Sequence[Carried]) -> str:
    cells = [(escape(r.axis), percent(r.there.percent), percent(r.here.percent), escape(r.verdict)) for r in rows]
    return table("", ("best of axis, %", "there", "here", ""), cells, (1, 2))


def transfer(found: Transfer) -> str:
    """Axes that both sides tried, the matching changes, and behind a fold what only one side tried."""
    both = [row for row in found.axes if row.both]
    rest = [row for row in found.axes if not row.both]
    caption = "Best change of each axis: gain against the incumbent of its time, 90 % interval, percent."
    parts = [_carried(caption, both) if both else "<p>No axis was tried on both sides yet.</p>"]
    if found.matches:
        words = f"<summary>The same change on both sides: {len(found.matches)}</summary>"
        parts.append(f"<p>{escape(found.agreement or '')}.</p><details>{words}{_carried('', found.matches)}</details>")
    if found.untried:
        items = "".join(f"<li>{change(win)}</li>" for win in found.untried)
        words = f"<summary>Wins there that were not tried here: {len(found.untried)}</summary>"
        parts.append(f"<details>{words}<ol>{items}</ol></details>")
    if rest:
        parts.append(f"<details><summary>Axes of one side only: {len(rest)}</summary>{_carried('', rest)}</details>")
    return "".join(parts)


def _carried(caption: str, rows: Sequence[Carried]) -> str:
    cells = [(escape(r.axis), *_side(r.there), *_side(r.here), escape(r.verdict)) for r in rows]
    heads = ("axis", "there", "gain", "%", "here", "gain", "%", "")
    return table(caption, heads, cells, (2, 3, 5, 6))


def _side(shown: Shown) -> tuple[str, str, str]:
    gain = terms.gain(shown.gain) if shown.gain is not None else ""
    range_ = f"<br><small>{interval(shown)}</small>" if interval(shown) else ""
    return change(shown.change), f"{gain}{range_}", percent(shown.percent)


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:+.3f}"


def spent(page: Page) -> str:
    s = page.spending
    longest = max(s.seconds.values(), default=0.0)
    total = sum(s.seconds.values())
    rows = [
        (escape(name), terms.clock(seconds), f"{100 * seconds / total:.1f} %", _bar(seconds / longest))
        for name, seconds in s.seconds.items()
    ]
    time = table(
        f"{terms.clock(total)} on the clocks of the loop and its runs.", ("phase", "h:mm:ss", "share", ""), rows, (1, 2)
    )
    agents = [(escape(name), f"{n:,}", f"{kept:,}", f"{failed:,}") for name, n, kept, failed in s.agents]
    who = table("Who proposed.", ("agent", "experiments", "kept", "failed"), agents, (1, 2, 3))
    return f"{time if rows else '<p>No clock ran.</p>'}<p>{escape(asked_words(page))}</p>{who if agents else ''}"


def asked_words(page: Page) -> str:
    """Tokens trained on, and tokens asked for."""
    s = page.spending
    words = [f"{s.trained_tokens:,} tokens trained." if s.trained_tokens is not None else ""]
    if s.calls:
        words.append(
            f"{terms.plural(s.calls, 'call')} to models: {s.prompt_tokens:,} tokens in, {s.completion_tokens:,} out"
            + (f", of which {terms.plural(s.estimated, 'call')} by our estimate" if s.estimated else "")
            + (f"; cost {s.cost:.4f} at the prices of lab.toml." if s.cost is not None else "; no prices in lab.toml.")
        )
    else:
        words.append("No call to a model was recorded.")
    return " ".join(filter(None, words))


def _bar(share: float) -> str:
    wide = max(1, round(share * _BAR))
    bar = f'<rect width="{wide}" height="12" rx="2"/>'
    return f'<svg class="bar" width="{_BAR}" height="12" aria-hidden="true">{bar}</svg>'


def failures(page: Page) -> str:
    if not page.failures:
        return "<p>Nothing failed.</p>"
    rows = [
        (
            f'<span class="status {escape(c.status)}">{escape(c.status)}</span>',
            escape(c.cause),
            f"{len(c.numbers):,}",
            " ".join(map(link, c.numbers[:12])) + (" …" if len(c.numbers) > 12 else ""),
            escape(c.example),
        )
        for c in page.failures
    ]
    return table("Failures by cause.", ("", "cause", "times", "experiments", "the last one said"), rows, (2,))


def stops(page: Page) -> str:
    s = page.stops
    if s is None or not s.runs:
        return "<h3>Early stops</h3><p>No run was stopped early.</p>"
    bound = f"; with 95 % confidence the rule errs in at most {s.error_high:.0%}" if s.error_high is not None else ""
    account = (
        f"{terms.plural(s.stopped, 'loser')} stopped, {terms.clock(s.saved_seconds)} saved; "
        f"{terms.plural(s.audits, 'audit')} left to finish, {s.wrong:,} of them kept after all{bound}."
    )
    rows = [
        (
            link(r.number),
            f"{100 * r.share:.0f} %",
            "audit" if r.audit else "stopped",
            escape(r.status),
            escape(r.reason),
        )
        for r in s.runs
    ]
    heads = ("#", "at", "", "ended as", "why")
    each = f"<details><summary>Each of them</summary>{table('', heads, rows)}</details>"
    return f"<h3>Early stops</h3><p>{account}</p>{each}"


def facts(found: Mapping[str, Any]) -> str:
    rows = [(escape(name), escape(fact)) for name, fact in found.items() if isinstance(fact, str | int | float)]
    if not rows:
        return ""
    return f"<details><summary>Machine and conditions</summary>{table('', ('', ''), rows)}</details>"


def machine_words(machine: Mapping[str, Any]) -> str:
    """``Apple M4 Pro, 24 GB, gpu``"""
    memory = machine.get("memory_gb")
    known = [machine.get("chip"), f"{memory:g} GB" if isinstance(memory, int | float) else None, machine.get("device")]
    return ", ".join(escape(fact) for fact in known if fact)
