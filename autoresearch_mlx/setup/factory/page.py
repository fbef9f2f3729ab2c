"""Show a factory: the lines of ``factory status``, its JSON, and the page ``factory.html``.

The page has no script and loads nothing.  The template escapes every text that comes from a post or from a model.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from autoresearch_mlx import terms
from autoresearch_mlx.lab.lab import write_whole
from autoresearch_mlx.setup.factory.ledger import PAGE, Book, Factory, Problem
from autoresearch_mlx.store.journal import now

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "pages"


def status_json(book: Book, state: Factory) -> dict[str, Any]:
    """Return the state of a factory as the JSON document of ``factory status --json``."""
    return {
        "folder": str(book.root),
        "stage": state.stage,
        "began": state.began,
        "options": asdict(state.options),
        "collected": state.collected,
        "evidence": state.evidence,
        "batches": len(state.batches),
        "problems": [_problem_json(problem) for problem in state.problems],
        "damaged_lines": list(state.damaged),
    }


def _problem_json(problem: Problem) -> dict[str, Any]:
    shown = asdict(problem)
    return {**shown, "state": problem.state, "stage": problem.stage}


def status_lines(book: Book, state: Factory, width: int) -> list[str]:
    """Return the state of a factory as lines of at most ``width`` columns."""
    lines = [f"factory {book.root}: {_where(state, book.root)}"]
    if state.collected is not None:
        lines.append(f"collect   {terms.plural(state.collected['posts'], 'post')}")
        for source in state.collected["sources"]:
            skipped = "".join(f", {n} skipped ({terms.one_line(why)})" for why, n in source["skipped"].items())
            lines.append(f"          {terms.one_line(source['source'])}: {source['posts']}{skipped}")
    if state.evidence is not None:
        e = state.evidence
        copies = f"{e['same']} equal and {e['near']} nearly equal copies left out"
        lines.append(f"evidence  {terms.plural(e['pieces'], 'piece')}, {copies}")
    faults = sum(bool(batch["fault"]) for batch in state.batches)
    if state.batches:
        unread = f", {faults} without a usable reply" if faults else ""
        batches = f"{len(state.batches):,} {'batch' if len(state.batches) == 1 else 'batches'}"
        lines.append(f"problem   {batches} read{unread}")
    if state.damaged:
        lines.append(f"note      damaged lines of the ledger: {', '.join(map(str, state.damaged))}")
    if state.problems:
        rows = [("", "evidence", "state", "problem"), *map(_row, state.problems)]
        lines += ["", *(terms.cut(line, width) for line in terms.table(rows, left=(0, 2, 3)))]
    for problem in state.problems:
        story = _story(problem)
        lines += ["", problem.id] if story else []
        for name, text in story:
            lines += terms.field(f"  {name}", text, width, 13)
    return lines


def _where(state: Factory, root: Path) -> str:
    if not state.over:
        return f"the next stage is {state.stage}; `autoresearch-mlx factory {shlex.quote(str(root))}` continues"
    shipped = sum(problem.shipped is not None for problem in state.problems)
    discarded = sum(problem.discarded is not None for problem in state.problems)
    lacking = sum(not problem.enough for problem in state.problems)
    weak = f", {lacking} with too little evidence" if lacking else ""
    return f"done: {shipped} shipped, {discarded} discarded{weak}"


def _row(problem: Problem) -> tuple[str, str, str, str]:
    return problem.id, f"{problem.independent} of {problem.needed}", problem.state, terms.one_line(problem.title)


def _story(problem: Problem) -> list[tuple[str, str]]:
    """Return the history of one problem: (name, text) for each finished stage and each refused build."""
    lines = []
    if problem.cases is not None:
        counts = ", ".join(f"{n} {part}" for part, n in problem.cases["counts"].items())
        constant = f"constant {problem.cases['trivial']['constant']:.2f}"
        by = terms.one_line(problem.cases["by"])
        lines.append(("cases", f"{counts}, by {by}; trivial agents: empty 0.00, echo 0.00, {constant}"))
    lines += [("refused", f"build {r['attempt']}: {terms.one_line(r['reason'])}") for r in problem.refusals]
    if problem.verified is not None:
        lines.append(("verified", f"dev {problem.verified['dev']:.2f}, guard {problem.verified['guard']:.2f}"))
    if problem.improved is not None:
        i = problem.improved
        values = f"dev {i['before']:.2f} -> {i['after']:.2f}"
        lines.append(("improved", f"{terms.plural(i['experiments'], 'experiment')}, {i['kept']} kept, {values}"))
    if problem.shipped is not None:
        cases = problem.shipped["hidden"]["cases"]
        score = f"{_score(problem.shipped['hidden'])}, 95 % interval, on {cases} hidden cases"
        lines.append(("shipped", f"{problem.shipped['folder']}: {score}"))
    if problem.discarded is not None:
        lines.append(("discarded", f"at {problem.discarded['stage']}: {terms.one_line(problem.discarded['reason'])}"))
    return lines


def write_page(book: Book) -> None:
    """Write factory.html, completely or not at all.  Raises OSError."""
    write_whole(book.root / PAGE, render(book, book.read()))


def render(book: Book, state: Factory) -> str:
    """Return the text of factory.html for this state."""
    from markupsafe import Markup

    style = (_TEMPLATES / "factory.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
    # Only our own files are marked as safe markup.
    page = _environment().get_template("factory.html")
    where, name = _where(state, book.root), book.root.name
    text = page.render(style=Markup(style), policy=Markup(policy), state=state, name=name, where=where, made=now())
    return text.encode(errors="replace").decode()


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda held: terms.printable(held) if type(held) is str else held,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"one_line": terms.one_line, "plural": terms.plural, "count": terms.count}
    made.filters |= {"is_web": _is_web, "tenths": terms.tenths, "score": _score}
    return made


def _is_web(address: str) -> bool:
    """Return whether an address begins with http: or https:, so that the page may link to it.

    A link such as javascript: could run code.
    """
    try:
        return urlsplit(address).scheme in ("http", "https")
    except ValueError:
        return False


def _score(hidden: Mapping[str, Any]) -> str:
    return f"{hidden['score']:.2f} ({hidden['low']:.2f} to {hidden['high']:.2f})"
