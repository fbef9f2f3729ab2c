"""Carry out ``init --about``, which makes a lab from a sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autoresearch_mlx import terms
from autoresearch_mlx.cli.options import say, width

if TYPE_CHECKING:
    from autoresearch_mlx.setup.about.about import Found, Wanted
    from autoresearch_mlx.targets.contract import Finding


def make_from_sentence(directory: Path, wanted: Wanted, yes: bool, as_json: bool) -> None:
    """Find a lab for the sentence, prove by runs that the lab works, and write its files if the user agrees.

    Raises LabError when no lab could be proved.
    """
    from autoresearch_mlx.cli.doctor import finding_lines
    from autoresearch_mlx.cli.opened import interruptible
    from autoresearch_mlx.setup.about.about import Person, find_lab
    from autoresearch_mlx.setup.about.written import has_knobs, next_step, write_lab

    asks = sys.stdin.isatty() and not yes and not as_json
    person = Person(_choose, _line) if asks else None

    def show(finding: Finding) -> None:
        say("\n".join(finding_lines(finding, width())))

    with interruptible():
        found = find_lab(directory, wanted, person, say, show)
    if not as_json:
        click.echo("\n".join(_proposal(found)))
    write = yes or (asks and click.confirm("Write these files?", default=True, err=True))
    made = list(write_lab(directory, found.proof)) if write else []
    if as_json:
        click.echo(json.dumps(_document(found, wanted.sentence, directory, made)))
    else:
        for path in made:
            click.echo(f"wrote {path}")
    if made:
        if not has_knobs(directory, found.proof.plan.editable):
            said = (
                "no editable file has a knob, so `run` needs a model or a coding agent: --agent NAME (docs/agents.md)"
            )
            say("\n".join(terms.field("note:", said, width(), 6)))
        say(f"next: {next_step(directory, made)}")
    else:
        say("nothing was written" + ("" if asks else "; --yes writes the files"))


def _choose(question: str, answers: Sequence[str]) -> int:
    for number, answer in enumerate(answers, start=1):
        say(f"  {number}  {answer}")
    chosen: int = click.prompt(question, type=click.IntRange(1, len(answers)), default=1, err=True)
    return chosen - 1


def _line(question: str) -> str:
    return str(click.prompt(question, default="", show_default=False, err=True)).strip()


def _proposal(found: Found) -> list[str]:
    """Return the lines that show the found lab: its lab.toml, its other files, and what its checks do not cover."""
    proof = found.proof
    lines = ["", "this lab works, as its runs have shown; its lab.toml:", ""]
    lines += [f"    {line}" for line in (proof.files or {})["lab.toml"].decode().rstrip("\n").splitlines()]
    others = [name for name in proof.files or {} if name != "lab.toml"]
    lines += ["", *terms.wrap(f"the lab's other files: {', '.join(others)}", width())]
    lines += [line for words in proof.plan.open for line in terms.field("not covered:", words, width(), 13)]
    return lines


def _document(found: Found, sentence: str, directory: Path, made: Sequence[Path]) -> dict[str, Any]:
    """Return the JSON document that ``--json`` prints."""
    proof, plan = found.proof, found.proof.plan
    return {
        "sentence": sentence,
        "by": found.by,
        "number": plan.number,
        "metric": plan.metrics[0].name,
        "direction": plan.metrics[0].direction,
        "editable": list(plan.editable),
        "run": plan.run,
        "checks": [asdict(each) for each in plan.checks],
        "findings": [asdict(each) for each in proof.findings],
        "open": list(plan.open),
        "not_proved": [{"run": each.plan.run, "problem": each.problem} for each in found.failed],
        "files": sorted(proof.files or {}),
        "written": [str(path.relative_to(directory)) for path in made],
    }
