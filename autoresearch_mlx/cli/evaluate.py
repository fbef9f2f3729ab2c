"""Define ``evaluate``, which scores kept weights again on more rows."""

from __future__ import annotations

import json
from typing import Literal

import click

from autoresearch_mlx import terms
from autoresearch_mlx.cli.options import json_option, lab_here, tag_option


@click.command("evaluate")
@click.argument("number", required=False, type=click.IntRange(min=0))
@click.option("--full", is_flag=True, help="Score as many tokens as upstream: 40 x 524,288.")
@click.option("--rows", type=click.IntRange(min=1), help="Number of rows to score; default: all rows of the split.")
@click.option("--split", type=click.Choice(["val", "hidden"]), default="val", show_default=True, help="Split to score.")
@tag_option
@json_option
def evaluate_command(
    number: int | None, full: bool, rows: int | None, split: Literal["val", "hidden"], tag: str | None, as_json: bool
) -> None:
    """Score the weights of experiment NUMBER (default: the incumbent) on more rows; no verdict changes.

    Compare values of two machines only if data, tokenizer, rows and budget are the same.

    \b
    Example:
      autoresearch-mlx evaluate --full
    """
    from autoresearch_mlx.cli.opened import opened
    from autoresearch_mlx.loop.rescore import evaluate
    from autoresearch_mlx.loop.research import recover

    with opened(lab_here(), tag, existing=True) as here:
        recover(here.session, here.screen)
        found = evaluate(here.session, number, rows, split, full, here.screen)
    if as_json:
        click.echo(json.dumps(found))
        return
    metric = here.session.target.metric
    where = f"{found['tokens']:,} tokens of the {split} split ({found['rows']:,} rows)"
    click.echo(f"experiment {found['number']}: {metric} {terms.value(found[metric])} on {where}")
