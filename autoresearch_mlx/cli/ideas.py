"""Define ``ideas`` and ``steer``, with which the user tells the models what to try."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, tag_option, width
from autoresearch_mlx.experiment import History
from autoresearch_mlx.lab.lab import find_session


@click.group("ideas", invoke_without_command=True)
@tag_option
@click.option("--all", "everything", is_flag=True, help="Also list the ideas that are done or dropped.")
@json_option
@click.pass_context
def ideas_command(context: click.Context, tag: str | None, everything: bool, as_json: bool) -> None:
    """List the backlog: the ideas that models are given to try; your ideas come first.

    \b
    Example:
      autoresearch-mlx ideas
      autoresearch-mlx ideas add "DEPTH one more, width to match" --why "few steps, wide batch"
      autoresearch-mlx ideas drop 3
    """
    context.obj = tag
    if context.invoked_subcommand is not None:
        if everything or as_json:
            context.fail(f"--all and --json belong to the list; `{context.invoked_subcommand}` prints no list")
        return
    from autoresearch_mlx.agents.ideas.backlog import FILE, read_backlog
    from autoresearch_mlx.agents.ideas.listing import render_ideas

    folder = find_session(lab_here(), tag)
    _warn(folder / FILE)
    ideas = read_backlog(folder, _history(folder))
    shown = [idea for idea in ideas if everything or idea.state in ("open", "taken")]
    click.echo(json.dumps([asdict(idea) for idea in shown]) if as_json else render_ideas(shown, len(ideas), width()))


@ideas_command.command("add", short_help="Add your own idea.")
@click.argument("title")
@click.option("--axis", metavar="AXIS", help="The axis that the idea changes: depth, lr.matrix, schedule.warmdown, ...")
@click.option("--why", metavar="TEXT", default="", help="Why the idea should help; the model reads the reason.")
@tag_option
@click.pass_context
def add_command(context: click.Context, title: str, axis: str | None, why: str, tag: str | None) -> None:
    """Add your own idea; the model gets your ideas as its next tasks, before all other ideas.

    The agents `knobs` and `playbook` ask no model, so an idea does not change what they propose.
    """
    from autoresearch_mlx.agents.ideas.backlog import add_yours

    folder = find_session(lab_here(), tag or context.obj)
    idea = add_yours(folder, title, axis, why)
    say(f"idea {idea.id}: {idea.title}")
    _say_if_unread(folder)


@ideas_command.command("drop", short_help="Withdraw an idea.")
@click.argument("id", type=click.IntRange(min=1))
@tag_option
@click.pass_context
def drop_command(context: click.Context, id: int, tag: str | None) -> None:
    """Withdraw the idea ID, yours or a model's; `ideas --all` still shows the idea."""
    from autoresearch_mlx.agents.ideas.backlog import drop

    folder = find_session(lab_here(), tag or context.obj)
    idea = drop(folder, id, _history(folder))
    say(f"dropped idea {idea.id}: {idea.title}")


@click.command("steer")
@click.argument("words", metavar="[TEXT]", nargs=-1)
@click.option("--clear", is_flag=True, help="Withdraw all notes.")
@tag_option
@json_option
def steer_command(words: tuple[str, ...], clear: bool, tag: str | None, as_json: bool) -> None:
    """Tell the models what you want, from the next proposal on; without TEXT, list what you have told them.

    The agents `knobs` and `playbook` ask no model, so a note does not change what they propose.

    \b
    Example:
      autoresearch-mlx steer "try smaller batches first"
      autoresearch-mlx steer --clear
    """
    from autoresearch_mlx.store.notes import FILE, add_note, clear_notes, read_notes

    if clear and words:
        raise click.UsageError("give either TEXT or --clear")
    folder = find_session(lab_here(), tag)
    _warn(folder / FILE)
    if words:
        say(f"noted for session {folder.name}: {add_note(folder, ' '.join(words))}")
        _say_if_unread(folder)
    elif clear:
        withdrawn = clear_notes(folder)
        say(f"withdrawn: {withdrawn} note{'' if withdrawn == 1 else 's'}")
    else:
        notes = read_notes(folder)
        click.echo(json.dumps(notes) if as_json else "\n".join(notes) or "no notes yet")


def _history(folder: Path) -> History:
    from autoresearch_mlx.store.ledger import FILE, read

    return read(folder / FILE).history


def _say_if_unread(folder: Path) -> None:
    from autoresearch_mlx.agents import unread

    if words := unread(_history(folder)):
        say(words)


def _warn(path: Path) -> None:
    """Warn if the file ``path`` has damaged lines; the commands ignore such lines."""
    from autoresearch_mlx.store.journal import read_events

    if damaged := read_events(path).damaged:
        lines = f"line{'s' if len(damaged) > 1 else ''} {', '.join(map(str, damaged))}"
        say(f"warning: {lines} of {path} cannot be read and {'are' if len(damaged) > 1 else 'is'} ignored")
