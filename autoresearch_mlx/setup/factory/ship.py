"""Carry out the stage ``ship``: measure the agent on the hidden cases; write its folder if the score is good enough.

The hidden cases were not used before, so they had no influence on the agent.  The agent is shipped if its score on the
hidden cases reaches the user's limit and is clearly above the score of a constant answer.  The folder has a card with
the scores, the costs and the known failures.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Measurement
from autoresearch_mlx.judge.intervals import wilson
from autoresearch_mlx.lab.lab import Lab, write_whole
from autoresearch_mlx.setup.factory.cases import DEV_SHARE, FILE, GUARD_SHARE
from autoresearch_mlx.setup.factory.ledger import SHIPPED, Book, Factory, Problem
from autoresearch_mlx.setup.factory.model import Cost
from autoresearch_mlx.setup.factory.verify import measured, target_of
from autoresearch_mlx.store.git import commit_all, git, init_repository
from autoresearch_mlx.targets.contract import Say
from autoresearch_mlx.targets.evals.cases import Case, part_of, read_cases

CARD, CARD_JSON = "CARD.md", "card.json"
_SHOWN = 10
"""Largest number of failed cases on a card."""
_COVERAGE = 0.95


def ship(
    book: Book, state: Factory, problem: Problem, made_by: str, cost: Cost, private: tuple[Path, ...], say: Say
) -> tuple[dict[str, Any] | None, str]:
    """Measure the agent; return its card and an empty text, or None and the reason why the agent is not shipped.

    ``made_by`` names the model that built the agent.  ``cost`` is the cost of all calls to models for this problem.
    Raises LabError and EndpointError.
    """
    assert problem.improved is not None and problem.cases is not None
    lab, runs = book.lab(problem), book.work / "runs" / problem.id
    tree = runs / "shipped"
    shutil.rmtree(tree, ignore_errors=True)
    runs.mkdir(parents=True, exist_ok=True)
    git(runs, "clone", "--quiet", "--no-checkout", str(lab), str(tree))
    git(tree, "checkout", "--quiet", "--detach", problem.improved["commit"])
    target = target_of(Lab(lab), private, say)
    val = measured(target, tree, runs / "val")
    hidden = measured(target, tree, runs / "hidden", "hidden")
    for m in (val, hidden):
        if m.value is None:
            return None, f"its cases could not be scored: {m.reason}"
    card = _card(problem, val, hidden, made_by, cost, list(read_cases(lab / FILE)))
    score, low, constant = card["hidden"]["score"], card["hidden"]["low"], problem.cases["trivial"]["hidden"]
    shown = f"{score:.2f} ({low:.2f} to {card['hidden']['high']:.2f}) on {card['hidden']['cases']} hidden cases"
    if score < state.options.bar:
        return None, f"its hidden score is {shown}, below the required {state.options.bar:g}"
    if low <= constant:
        return None, f"its hidden score is {shown}, not clearly above a constant answer's {constant:.2f}"
    card["folder"] = _write(book, problem, tree, card)
    return card, ""


def _card(
    problem: Problem, val: Measurement, hidden: Measurement, made_by: str, cost: Cost, cases: list[Case]
) -> dict[str, Any]:
    assert val.value is not None and hidden.value is not None and problem.improved is not None
    scores = {**val.extra["cases"], **val.extra["guard"]}
    n = len(hidden.extra["cases"])
    low, high = wilson(float(hidden.value), n, _COVERAGE)
    failed = [case for case in cases if scores.get(case.id, 1.0) < 1.0]
    secondary: Mapping[str, Any] = hidden.extra["secondary"]
    lost: dict[str, list[int]] = {}
    for case in cases:
        if part_of(case.id, DEV_SHARE, GUARD_SHARE) == "hidden":
            for tag in case.tags or ("untagged",):
                count = lost.setdefault(tag, [0, 0])
                count[0] += hidden.extra["cases"][case.id] < 1.0
                count[1] += 1
    return {
        "hidden": {"score": float(hidden.value), "low": low, "high": high, "cases": n, "lost_by_tag": lost},
        "dev": float(val.value),
        "guard": sum(val.extra["guard"].values()) / len(val.extra["guard"]),
        "cost": {
            "tokens_to_make": cost.tokens,
            "tokens_estimated": cost.estimated,
            "money_to_make": cost.money,
            "tokens_a_case": secondary["tokens"]["value"],
            "seconds_a_case": secondary["seconds"]["value"],
            "model_calls_a_case": round(hidden.extra["model_calls"] / n, 2),
        },
        "failures": [
            {"id": case.id, "input": _short(case.input), "score": scores[case.id]} for case in failed[:_SHOWN]
        ],
        "failed": len(failed),
        "model": made_by,
        "commit": problem.improved["commit"],
    }


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}..."


def _write(book: Book, problem: Problem, tree: Path, card: Mapping[str, Any]) -> str:
    """Write the agent's folder, completely or not at all; return its path relative to the factory's folder."""
    assert problem.spec is not None
    name = f"{problem.id}-{slug(problem.spec['title'])}"
    shipped = book.root / SHIPPED
    shipped.mkdir(exist_ok=True)
    temporary, final = shipped / f".{name}.tmp", shipped / name
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(tree, temporary, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    write_whole(temporary / CARD, card_text(problem, card))
    write_whole(temporary / CARD_JSON, json.dumps({**card, "spec": problem.spec}, ensure_ascii=False, indent=1) + "\n")
    init_repository(temporary)
    commit_all(temporary, ["."], f"Shipped: {problem.id}")
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    return f"{SHIPPED}/{name}"


def slug(title: str) -> str:
    """Return a title as a short name for a folder: only letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].strip("-") or "agent"


def card_text(problem: Problem, card: Mapping[str, Any]) -> str:
    """Return the card as Markdown.  Words from posts are escaped and put into quoted lines."""
    spec, cases, hidden, cost = problem.spec or {}, problem.cases or {}, card["hidden"], card["cost"]
    tokens = "not counted by the server" if cost["tokens_a_case"] is None else terms.tenths(cost["tokens_a_case"])
    lost = [f"{tag}: {bad} of {n} lost" for tag, (bad, n) in sorted(hidden["lost_by_tag"].items()) if bad]
    failures = [f"- dev or guard case {_safe(each['id'])}: {_safe(each['input'])}" for each in card["failures"]]
    more = card["failed"] - len(card["failures"])
    return "\n".join(
        [
            f"# {_safe(spec['title'])}",
            "",
            f"Score on {hidden['cases']} hidden cases: **{hidden['score']:.2f}**, 95 % interval {hidden['low']:.2f} to "
            f"{hidden['high']:.2f} (Wilson). The hidden cases were used once, for this score.",
            "",
            f"- dev cases {card['dev']:.2f}, guard cases {card['guard']:.2f}; both were used to choose the version",
            f"- cases written by {_safe(cases['by'])}, before the agent was built",
            f"- on the hidden cases the best constant answer scores {cases['trivial']['hidden']:.2f}; an empty answer "
            "and the question itself score 0.00",
            "",
            "## What it does",
            "",
            f"- input: {_safe(spec['input'])}",
            f"- output: {_safe(spec['output'])}",
            f"- right when: {_safe(spec['solved'])}",
            "",
            "## Cost",
            "",
            f"- tokens a case: {tokens}; model calls a case: {cost['model_calls_a_case']:g}; "
            f"seconds a case: {cost['seconds_a_case']:.2f}",
            f"- tokens to make it: {terms.count(cost['tokens_to_make'])}{_priced(cost)}; model: {_safe(card['model'])}",
            "- network: none but the model, through the harness",
            "",
            "## Known failures",
            "",
            *(failures or ["- no dev or guard case is known to fail"]),
            *([f"- and {more} more"] if more > 0 else []),
            *([f"- hidden cases, by tag: {_safe('; '.join(lost))}"] if lost else []),
            "",
            "## Evidence",
            "",
            f"{terms.plural(problem.independent, 'independent piece')}:",
            "",
            *map(_quoted, problem.evidence),
        ]
    )


def _priced(cost: Mapping[str, Any]) -> str:
    """Return the text after the number of tokens: a note if counts are estimates, and the cost if prices are known."""
    said = ", some of them estimated" if cost["tokens_estimated"] else ""
    return said if cost["money_to_make"] is None else f"{said}, which cost {cost['money_to_make']:.4f}"


def _quoted(entry: Mapping[str, Any]) -> str:
    source = ", ".join(entry[name] for name in ("author", "date", "address") if entry[name])
    return f"> {_safe(entry['quote'])}\n> ({_safe(source)})\n"


def _safe(text: Any) -> str:
    """Return a value as one line of text in which the characters of Markdown and HTML are escaped."""
    line = terms.one_line(text if isinstance(text, str) else json.dumps(text, ensure_ascii=False))
    return (
        re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", line).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
