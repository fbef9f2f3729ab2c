"""Define ``certify``, which measures the incumbent's gain on seeds and rows that no verdict has used."""

from __future__ import annotations

import json

import click

from autoresearch_mlx.cli.options import json_option, lab_here, tag_option


@click.command("certify")
@click.option(
    "--pairs", type=click.IntRange(min=2), default=4, show_default=True, help="Pairs of runs; an even number."
)
@click.option(
    "--against",
    type=click.IntRange(min=0),
    metavar="N",
    help="The kept experiment to compare with; default: the last certified experiment, else the baseline.",
)
@tag_option
@json_option
def certify_command(pairs: int, against: int | None, tag: str | None, as_json: bool) -> None:
    """Measure the incumbent against an earlier version on fresh seeds and hidden data.

    The best of many experiments was partly lucky, so its gain is overestimated. A certified gain is not overestimated,
    because it uses no run by which the incumbent was chosen. Runs of the two versions alternate (A B B A). Each run
    takes as long as a run of an experiment. After an interruption, the same command continues where it stopped.

    \b
    Example:
      autoresearch-mlx certify --pairs 4
    """
    from autoresearch_mlx.cli.opened import opened
    from autoresearch_mlx.loop.certify import certify
    from autoresearch_mlx.loop.research import recover

    if pairs % 2:
        raise click.BadParameter(f"{pairs} is odd; give an even number of pairs", param_hint="--pairs")
    with opened(lab_here(), tag, existing=True) as here:
        recover(here.session, here.screen)
        found = certify(here.session, pairs, against, here.screen)
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = "hidden data" if found["split"] == "hidden" else "the program's own number"
    click.echo(f"experiment {found['head']} against {found['before']}, fresh seeds, {rows}")
    click.echo(f"{here.session.target.metric} {found['words']}")
