"""Define ``status``, ``log``, ``show`` and ``diff``, which read a session without changing it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from autoresearch_mlx.cli.options import json_option, lab_here, tag_option, uncollected, width
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.lab import find_session


@click.command("status")
@tag_option
@json_option
def status_command(tag: str | None, as_json: bool) -> None:
    """Show the state of the session: baseline, incumbent, counts, and the experiment that is running.

    \b
    Example:
      autoresearch-mlx status
    """
    uncollected()
    from dataclasses import replace

    from autoresearch_mlx.loop.control import live_run
    from autoresearch_mlx.report.status import priced, status_of, to_json, with_left_out
    from autoresearch_mlx.report.terminal import render_status
    from autoresearch_mlx.store.ledger import FILE, read

    lab = lab_here()
    folder = find_session(lab, tag)
    journal = read(folder / FILE)
    status = status_of(folder, journal)
    if status.running is not None and (run := live_run(folder)) is not None:
        status = replace(status, limits=run.limits, stopping=run.wish.stop, pausing=run.wish.paused)
    if status.spent.calls:
        from autoresearch_mlx.lab.config import (
            load_settings,
        )  # importing pydantic takes longer than everything else here

        status = priced(status, load_settings(lab.root).settings.agent)
    status = with_left_out(status, lab.root, folder, journal)
    click.echo(json.dumps(to_json(status)) if as_json else render_status(status, width()))


@click.command("log")
@tag_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line, as in the ledger.")
def log_command(tag: str | None, as_json: bool) -> None:
    """List every experiment of the session, oldest first; `*` marks the incumbent.

    \b
    Example:
      autoresearch-mlx log --json | jq 'select(.status == "keep") | [.number, .value, .title]'
    """
    uncollected()
    from autoresearch_mlx.judge.waiting import waiting
    from autoresearch_mlx.report.terminal import render_log
    from autoresearch_mlx.store.ledger import FILE, read
    from autoresearch_mlx.store.minutes import minutes_of

    journal = read(find_session(lab_here(), tag) / FILE)
    if not as_json:
        history = journal.history
        minutes = minutes_of(journal.briefs, history)
        shown = history.experiments, history.metric, history.direction, width(), waiting(history), minutes
        click.echo(render_log(*shown))
        return
    for record in journal.records:
        click.echo(json.dumps({k: v for k, v in record.items() if k not in ("schema", "event")}))


@click.command("show")
@click.argument("number", type=click.IntRange(min=0))
@tag_option
@click.option("--prompt", "part", flag_value="prompt", help="Show what the model was told, call by call.")
@click.option("--reply", "part", flag_value="reply", help="Show what the model answered, including its thinking.")
@json_option
def show_command(number: int, tag: str | None, part: str | None, as_json: bool) -> None:
    """Show experiment NUMBER: verdict, reason, numbers, the diff from its base, the end of its log.

    \b
    Example:
      autoresearch-mlx show 3
      autoresearch-mlx show 3 --reply
    """
    uncollected()
    from autoresearch_mlx.report.show import render_show
    from autoresearch_mlx.store.freed import changes_of, log_of
    from autoresearch_mlx.store.ledger import FILE, read
    from autoresearch_mlx.store.records import experiment_to

    lab = lab_here()
    folder = find_session(lab, tag)
    history = read(folder / FILE).history
    if part is not None:
        _show_talk(folder, number, part, as_json)
        return
    experiment = next((e for e in history.experiments if e.number == number), None)
    if experiment is None:
        raise LabError(
            f"session {folder.name} has no experiment {number}", "`autoresearch-mlx log` lists the experiments"
        )
    if as_json:
        click.echo(json.dumps(experiment_to(experiment)))
        return
    changes, log = changes_of(lab.root, folder, experiment), log_of(folder, experiment)
    click.echo(render_show(experiment, changes, log, history.metric, width()))


def _show_talk(folder: Path, number: int, part: str, as_json: bool) -> None:
    """Print what the model was told or answered for an experiment, even while the experiment is being proposed."""
    from autoresearch_mlx.report.conversation import render_prompts, render_replies
    from autoresearch_mlx.store.freed import talk_gone
    from autoresearch_mlx.store.talks import calls_of

    calls = list(calls_of(folder, number))
    if not calls and (gone := talk_gone(folder, number)):
        said = f"the conversation for experiment {number} of session {folder.name} was {gone}"
        raise LabError(said, "`autoresearch-mlx status` still has the counts of the whole session")
    if not calls:
        said = f"no model was called for experiment {number} of session {folder.name}"
        raise LabError(said, "`autoresearch-mlx log --json` names the agent of each experiment")
    if as_json:
        click.echo(json.dumps(calls))
    else:
        click.echo(render_prompts(calls) if part == "prompt" else render_replies(calls))


@click.command("diff")
@click.argument("number", type=click.IntRange(min=0))
@click.argument("other", required=False, type=click.IntRange(min=0))
@tag_option
def diff_command(number: int, other: int | None, tag: str | None) -> None:
    """Show what experiment NUMBER changed; with OTHER, show the difference from experiment NUMBER to experiment OTHER.

    \b
    Example:
      autoresearch-mlx diff 0 7
    """
    uncollected()
    from autoresearch_mlx.store.freed import commit_gone
    from autoresearch_mlx.store.git import diff
    from autoresearch_mlx.store.ledger import FILE, read

    lab = lab_here()
    folder = find_session(lab, tag)
    experiments = {e.number: e for e in read(folder / FILE).history.experiments}
    for wanted in (number, other):
        if wanted is None:
            continue
        if wanted not in experiments or experiments[wanted].commit is None:
            raise LabError(
                f"session {folder.name} has no commit of experiment {wanted}",
                "`autoresearch-mlx log` lists the session's experiments",
            )
        if gone := commit_gone(lab.root, folder, experiments[wanted]):
            hint = f"`autoresearch-mlx show {wanted}` still shows the experiment's numbers and knobs"
            raise LabError(f"experiment {wanted}: {gone}", hint)
    one, two = experiments[number], experiments[number if other is None else other]
    before, after = one.base if other is None else one.commit, two.commit
    assert before is not None and after is not None
    click.echo(diff(lab.root, before, after), nl=False)
