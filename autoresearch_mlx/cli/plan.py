"""Define ``plan``, which predicts how many experiments fit into a night."""

from __future__ import annotations

import json
from typing import Any

import click

from autoresearch_mlx.cli.options import Clock, Hours, json_option, lab_here, tag_option


@click.command("plan")
@click.option("--hours", type=Hours(), metavar="H", help="Length of the run in hours.")
@click.option("--until", type=Clock(), metavar="HH:MM", help="End of the run, by this machine's clock.")
@click.option("--experiments", type=click.IntRange(min=0), metavar="N", help="Largest number of experiments.")
@tag_option
@json_option
def plan_command(
    hours: float | None, until: float | None, experiments: int | None, tag: str | None, as_json: bool
) -> None:
    """Say how many experiments fit into the time, and how much memory a run and the agent's model need.

    The times come from the session's experiments, or from `doctor --calibrate` if there are no experiments.  A figure
    that was not measured is shown as unknown.  Nothing is trained or started.

    \b
    Example:
      autoresearch-mlx plan --until 07:00
      autoresearch-mlx plan --experiments 20
    """
    from dataclasses import asdict

    from autoresearch_mlx.setup.plan_facts import forecast, lines

    outlook = _outlook(hours, until, experiments, tag)
    if as_json:
        click.echo(json.dumps({**asdict(outlook), "forecast": asdict(forecast(outlook)), "lines": [*lines(outlook)]}))
        return
    for line in lines(outlook):
        click.echo(line)


def _outlook(hours: float | None, until: float | None, experiments: int | None, tag: str | None) -> Any:
    import time

    from autoresearch_mlx.lab.config import load_settings
    from autoresearch_mlx.loop.hire import expected_words
    from autoresearch_mlx.loop.session import look_at_session
    from autoresearch_mlx.setup.plan_facts import before_session, limits_in, of_session

    lab = lab_here()
    resolved = load_settings(lab.root)
    ends = [end for end in (None if hours is None else time.time() + 3600 * hours, until) if end is not None]
    end = min(ends, default=None)
    limits = limits_in(None if end is None else max(0.0, end - time.time()), experiments)
    if tag is None and lab.current() is None:
        return before_session(lab, resolved.settings, expected_words(resolved.settings, None), limits)
    session = look_at_session(lab, resolved, tag)
    return of_session(session, resolved.settings, expected_words(resolved.settings, session), limits)
