"""Define ``sessions``, which lists a lab's sessions, and ``switch``, which chooses the session that commands use."""

from __future__ import annotations

import json

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, uncollected
from autoresearch_mlx.lab.lab import find_session


@click.command("sessions")
@json_option
def sessions_command(as_json: bool) -> None:
    """List the sessions of the lab; `*` marks the session that commands use without --tag.

    The session whose ledger changed last is at the end.

    \b
    Example:
      autoresearch-mlx sessions
    """
    uncollected()
    from autoresearch_mlx.report.sessions import render, rows_of, to_json

    rows = rows_of(lab_here())
    if not rows and not as_json:
        say("no session yet; `autoresearch-mlx run` starts one")
        return
    click.echo(json.dumps(to_json(rows)) if as_json else render(rows))


@click.command("switch")
@click.argument("tag")
def switch_command(tag: str) -> None:
    """Choose the session that `run`, `status` and all other commands use without --tag.

    Your checkout and the sessions stay as they are.

    \b
    Example:
      autoresearch-mlx switch nov24
    """
    lab = lab_here()
    lab.set_current(find_session(lab, tag).name)
    click.echo(f"commands without --tag now use session {tag}")
