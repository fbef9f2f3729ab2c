"""Write ``report.md``, a session as a post.  Text of models and scripts is written as code, not as markup."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from autoresearch_mlx import terms
from autoresearch_mlx.compare.machines import Fleetwide, remarks
from autoresearch_mlx.lab.budget import of_conditions
from autoresearch_mlx.report.page.content import Page
from autoresearch_mlx.report.page.sentences import (
    asked_words,
    belief,
    counts_in_words,
    interval,
    machine_words,
    noise_in_words,
    percent,
)
from autoresearch_mlx.store.rules import MARK

_SHORT = 10
_MINUTES = 40
"""Largest number of briefs that the text lists, the newest ones; the page lists all briefs."""
_DIFF_LINES = 120


def render_text(page: Page) -> str:
    return "\n\n".join(_parts(page)) + "\n"


def _parts(page: Page) -> Iterator[str]:
    h = page.head
    yield f"# autoresearch session {code(h.session)}"
    if page.whole_step:
        yield f"**The whole step: {plain(page.whole_step)}.**"
    yield f"{_gain(page)}\n{belief(page)}"
    yield f"{counts_in_words(page)}. {_conditions(page)}"
    if page.remarks:
        yield "\n".join(map(plain, page.remarks))
    yield "![every experiment, kept experiments in green](progress.png)"
    yield from _changed(page)
    yield from _best_losers(page)
    if page.fleet is not None:
        yield "## Machines of the fleet"
        yield from _machines(page.fleet)
    yield from _transfer(page)
    yield f"## Noise\n\n{noise_in_words(page)}"
    yield f"## Time and tokens\n\n{_time(page)}\n{asked_words(page)}"
    if page.failures:
        yield "## Failures"
        rows = [
            (plain(c.status), code(c.cause), str(len(c.numbers)), code(c.example[:120])) for c in page.failures[:_SHORT]
        ]
        yield _table(("status", "cause", "times", "the last one said"), rows)
    if page.minutes:
        yield "## Minutes of the team"
        yield "\n".join(f"- {plain(line)}" for line in page.minutes[-_MINUTES:])
    caution = "absolute values can be compared only on the same data, evaluation and hardware"
    yield f"Made {page.made} by autoresearch-mlx; {caution}."


def _machines(fleet: Fleetwide) -> Iterator[str]:
    rows = [
        (
            code(side.machine),
            code(side.chip),
            str(side.runs),
            terms.value(side.baseline),
            terms.value(side.incumbent),
            terms.gain(side.gain),
            terms.value(side.sigma),
        )
        for side in fleet.machines
    ]
    yield _table(("machine", "chip", "runs", "baseline", "incumbent", "gain there", "sigma"), rows)
    if fleet.changes:
        names = [side.machine for side in fleet.machines]
        yield _table(("#", "change", "status", *map(code, names), "together", "where it holds"), _holding(fleet, names))
    yield " ".join(plain(remark) for remark in remarks(fleet))


def _holding(fleet: Fleetwide, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return a row for each change that several machines have measured, with its effects in sigma."""
    rows = []
    for held in fleet.changes:
        on = {each.machine: f"{each.sigmas:+.1f}" for each in held.effects}
        mean = f"{held.combined.effect:+.1f} +- {held.combined.error:.1f}"
        title, where = code(terms.one_line(held.title)), plain(held.where_in_words)
        rows.append((str(held.number), title, held.status, *(on.get(name, "") for name in names), mean, where))
    return rows


def _gain(page: Page) -> str:
    standing, found = page.standing, page.certified
    if standing.baseline is None or standing.incumbent is None:
        return "Nothing has been measured yet."
    if standing.gain is None and standing.baseline.number == standing.incumbent.number:
        return f"{code(page.head.metric)}: baseline {terms.value(standing.baseline.value)}, nothing kept."
    before, after = terms.value(standing.baseline.value), terms.value(standing.incumbent.value)
    way = f"{code(page.head.metric)} {before} -> **{after}**"
    percent_ = f", {standing.percent:+.2f} %" if standing.percent is not None else ""
    words = (
        f"{way} ({terms.gain(standing.gain)}{percent_}) by the loop's runs." if standing.gain is not None else f"{way}."
    )
    if found is None:
        return words
    label = "Certified gain" if found.certified else "Gain, measured afresh"
    return (
        f"**{label}: {terms.gain(found.effect)}** (90 %: {terms.gain(found.low)} to {terms.gain(found.high)}). {words}"
    )


def _conditions(page: Page) -> str:
    """Name machine, MLX, data and budget on one line, because a reader who compares sessions needs them."""
    machine, held = page.head.machine, page.head.conditions
    budget = of_conditions(held)
    known = (
        code(words) if (words := machine_words(machine)) else None,
        f"MLX {code(str(machine['mlx']))}" if machine.get("mlx") else None,
        f"data {code(_without_folder(str(data)))}" if (data := held.get("corpus") or held.get("source")) else None,
        f"{budget.in_words()} per run" if budget is not None else None,
        f"comparability key {code(str(held['comparability_key']))}" if held.get("comparability_key") else None,
    )
    facts = [fact for fact in known if fact is not None]
    agents = f" Proposed by {', '.join(map(code, page.head.agents))}." if page.head.agents else ""
    return (f"Conditions: {', '.join(facts)}." if facts else "") + agents


def _without_folder(fact: str) -> str:
    """Return the last part of an absolute path, because a post should not show its author's home folder."""
    return PurePosixPath(fact).name if fact.startswith("/") else fact


def _changed(page: Page) -> Iterator[str]:
    steps = page.changed.steps
    yield "## What changed"
    if not steps:
        yield "No change was kept."
        return
    marked = {row.number for row in page.experiments if MARK in row.reason}
    slowed = {row.number for row in page.experiments if row.slowed}
    rows = [
        (
            f"{s.number} {'!' * (s.number in marked)}{'~' * (s.number in slowed)}".strip(),
            code(s.title),
            code(s.axis) if s.axis else "",
            terms.value(s.value),
            terms.gain(s.gain),
            interval(s),
        )
        for s in steps
    ]
    yield _table(("#", "kept", "axis", "value", "gain", "90 %"), rows)
    if marked & {s.number for s in steps}:
        yield f"! {MARK}"
    if slowed & {s.number for s in steps}:
        yield "~ ran on a slow machine"
    if page.changed.diff:
        lines = page.changed.diff.split("\n")
        note = f"\n\n{len(lines) - _DIFF_LINES:,} more lines are left out." if len(lines) > _DIFF_LINES else ""
        block = fenced("\n".join(lines[:_DIFF_LINES]), "diff")
        yield f"<details><summary>baseline to head</summary>\n\n{block}{note}\n\n</details>"


def _best_losers(page: Page) -> Iterator[str]:
    """List the changes that were clearly worse, because a reader should know them too."""
    losers = [
        row for row in page.experiments if row.status == "discard" and row.gain is not None and row.high is not None
    ]
    clear = sorted((row for row in losers if (row.high or 0.0) < 0), key=lambda row: row.gain or 0.0)[:_SHORT]
    if clear:
        yield "## Clearly worse"
        rows = [(str(r.number), code(r.title), code(r.axis or "-"), terms.gain(r.gain)) for r in clear]
        yield _table(("#", "tried", "axis", "gain"), rows)


def _transfer(page: Page) -> Iterator[str]:
    found = page.transfer
    both = [row for row in found.axes if row.both]
    yield f"## {code(found.reference) if found.reference else 'H100'} and here"
    if both:
        rows = [
            (
                code(r.axis),
                code(r.there.change),
                percent(r.there.percent),
                code(r.here.change),
                percent(r.here.percent),
                plain(r.verdict),
            )
            for r in both
        ]
        yield _table(("axis", "best there", "%", "best here", "%", ""), rows)
    if found.agreement is not None:
        yield f"{plain(found.agreement)}."
    yield "\n".join(map(plain, found.remarks))


def _time(page: Page) -> str:
    phases = ", ".join(f"{code(name)} {terms.clock(seconds)}" for name, seconds in page.spending.seconds.items())
    return (
        f"{terms.clock(sum(page.spending.seconds.values()))} in all: {phases}." if phases else "No time was recorded."
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def code(text: str) -> str:
    """Write text as code on one line, even in a table, so that Markdown, HTML, links and mentions in it stay text.

    In a cell, ``|`` ends a code span.  Whether a backslash prevents that depends on the text before it and on the
    program that reads the table.  Text with a ``|`` is therefore written as an HTML element with character references.
    """
    words = terms.one_line(text) or " "
    if "|" in words:
        return f"<code>{''.join(map(_referenced, words))}</code>"
    fence = "`" * (_longest_run(words) + 1)
    room = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{room}{words}{room}{fence}"


def plain(text: str) -> str:
    """Write text as one line of prose without any Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|~!&$])", r"\\\1", terms.one_line(text))


def _referenced(character: str) -> str:
    """Write ASCII punctuation as a character reference, which cannot begin markup."""
    return f"&#{ord(character)};" if character in string.punctuation else character


def fenced(text: str, language: str = "") -> str:
    """Write a Markdown code block with a fence that does not occur in ``text``."""
    shown = terms.printable(text)
    fence = "`" * max(3, _longest_run(shown) + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
