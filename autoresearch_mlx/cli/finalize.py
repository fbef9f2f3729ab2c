"""Define ``finalize``, which makes a branch for each kept change that is a gain on its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, tag_option, width
from autoresearch_mlx.terms import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autoresearch_mlx.lab.lab import Lab
    from autoresearch_mlx.loop.finalize import Finding
    from autoresearch_mlx.loop.session import Session

TEXTS = "finalize"
"""Name of the folder, in the session's folder, for the descriptions of pull requests."""


@click.command("finalize")
@click.option(
    "--pairs",
    type=click.IntRange(min=2),
    default=4,
    show_default=True,
    help="Most pairs of runs to measure for a change; an even number.",
)
@click.option("--prefix", metavar="NAME", help="First part of the branches' names; default: finalize/TAG.")
@click.option("--plan", "only_plan", is_flag=True, help="Show the changes and the number of runs; measure nothing.")
@tag_option
@json_option
def finalize_command(pairs: int, prefix: str | None, only_plan: bool, tag: str | None, as_json: bool) -> None:
    """Turn the kept changes of a session into branches to merge: one branch for each change that is a gain on its own.

    Kept changes that set the same knob, overlap in the code, or need each other are joined into one change. Each change
    is measured alone, in runs on fresh seeds that alternate with runs of the baseline. A change that is not better
    alone gets no branch, and the output says why. The branches begin at the commit where the session began. Your
    checkout stays as it is. After an interruption, the same command continues where it stopped.

    \b
    Example:
      autoresearch-mlx finalize --plan
    """
    from autoresearch_mlx.cli.opened import opened
    from autoresearch_mlx.loop.finalize import finalize, planned, record
    from autoresearch_mlx.loop.research import recover
    from autoresearch_mlx.report.pull_request import findings_table

    if pairs % 2:
        raise click.BadParameter(f"{pairs} is odd; give an even number of pairs", param_hint="--pairs")
    lab, texts = lab_here(), list[Path]()
    if only_plan:
        session = _looked_at(lab, tag)
        findings = planned(session)
    else:
        with opened(lab, tag, existing=True) as here:
            session = here.session
            chosen = prefix or f"finalize/{session.tag}"
            session.workspace.refuse_prefix(chosen)
            recover(session, here.screen)
            try:
                findings = finalize(session, pairs, chosen, here.screen)
            except KeyboardInterrupt:
                say("interrupted; `autoresearch-mlx finalize` continues with the next run")
                raise
            texts = _write_texts(session, findings)
    if as_json:
        click.echo(json.dumps({"start": session.start, "changes": [record(f) for f in findings]}))
        return
    click.echo(findings_table(findings, width()))
    if only_plan:
        alone = sum(not f.problem for f in findings)
        runs = f"at most {pairs * (alone + 1)} runs: {pairs} of each change and {pairs} of the baseline"
        runs = runs if alone else "nothing to measure"
        say(f"{plural(len(findings), 'change')}; {runs}")
        return
    if held := sum(f.branch is not None for f in findings):
        gains = (
            "is a gain on its own and has a branch" if held == 1 else "are gains on their own and have a branch each"
        )
        said = f"{held} of {plural(len(findings), 'change')} {gains}, from commit {session.start[:7]}"
    else:
        said = f"none of {plural(len(findings), 'change')} is a gain on its own, so there is no branch"
    say(said)
    for path in texts:
        say(f"text for a pull request: {path}")


def _looked_at(lab: Lab, tag: str | None) -> Session:
    from autoresearch_mlx.lab.config import load_settings
    from autoresearch_mlx.loop.session import look_at_session

    return look_at_session(lab, load_settings(lab.root), tag)


def _write_texts(session: Session, findings: Sequence[Finding]) -> list[Path]:
    """Write a file with the description of a pull request for each branch; return the paths of the files."""
    from autoresearch_mlx.report.pull_request import pull_request
    from autoresearch_mlx.store.git import diff

    folder = session.folder / TEXTS
    folder.mkdir(exist_ok=True)
    written = []
    for f in findings:
        if f.branch is None or f.commit is None:
            continue
        change = diff(session.workspace.top, session.start, f.commit)
        path = folder / f"{f.branch.rpartition('/')[2]}.md"
        path.write_text(pull_request(f, session.target.metric, session.tag, session.hardware, change), encoding="utf-8")
        written.append(path)
    return written
