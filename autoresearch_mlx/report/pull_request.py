"""Write the findings of `finalize`: a table for the terminal, and a text for each pull request."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch_mlx import terms
from autoresearch_mlx.loop.finalize import Finding, title_outside
from autoresearch_mlx.report.page.markdown import code, fenced, plain

_LONGEST = 1000
"""Longest title or reason of an experiment in the text for a pull request, in columns."""


def findings_table(findings: Sequence[Finding], width: int) -> str:
    """Return one block of lines for each change: the change's experiments, title, finding and branch."""
    blocks = []
    for at, f in enumerate(findings, start=1):
        lines = [f"{at:>3}  {_experiments(f)}: {terms.one_line(f.title)}"]
        if f.problem or f.found is not None:
            lines += [f"     {line}" for line in terms.wrap(terms.one_line(f.in_words()), max(width - 5, 40))]
        if f.branch is not None:
            lines.append(f"     branch {f.branch}")
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def pull_request(f: Finding, metric: str, session: str, machine: str, diff: str) -> str:
    """Return the text of a pull request in Markdown, with the change's own effect; titles and reasons are escaped."""
    lines = [f"# {plain(f.title)}", "", f"{code(metric)} {plain(f.in_words())}.", ""]
    lines += [
        "The change was measured alone, in runs that alternate with runs of the unedited version, on fresh seeds.",
        f"Machine: {plain(machine)}. Session: {code(session)}.",
        "",
    ]
    if f.with_preset:
        lines += ["The branch has this machine's knob values too, because the change does not apply without them.", ""]
    for step in f.change.steps:
        e = step.experiment
        lines.append(f"- Experiment {e.number}: {_short(e.title)}")
        if e.rationale.strip():
            lines.append(f"  {_short(e.rationale)}")
    return "\n".join([*lines, "", fenced(diff.rstrip("\n"), "diff"), ""])


def _short(text: str) -> str:
    return plain(terms.cut(title_outside(text), _LONGEST))


def _experiments(f: Finding) -> str:
    numbers = f.change.numbers
    return f"experiment{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
