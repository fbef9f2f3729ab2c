"""``evaluate``: score kept weights again."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import Literal

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, tag_option


@click.command("evaluate")
@click.argument("number", required=False, type=click.IntRange(min=0))
@click.option("--full", is_flag=True, help="As many tokens as upstream scores: 40 x 524,288.")
@click.option("--rows", type=click.IntRange(min=1), help="Rows to score; default: all of the split.")
@click.option("--split", type=click.Choice(["val", "hidden"]), default="val", show_default=True, help="Which rows.")
@tag_option
@json_option
def evaluate_command(
    number: int | None, full: bool, rows: int | None, split: Literal["val", "hidden"], tag: str | None, as_json: bool
) -> None:
    """Score the weights of experiment NUMBER (default: the incumbent) on more rows; nothing is trained or decided.

    Values compare between machines only on the same data, tokenizer, rows and budget.

    \b
    Example:
      autoresearch-mlx evaluate --full
    """
    from autoresearch_mlx.cli.run import confined, interruptible
    from autoresearch_mlx.config import load_settings
    from autoresearch_mlx.evaluating import evaluate
    from autoresearch_mlx.loop import recover
    from autoresearch_mlx.report.live import open_screen
    from autoresearch_mlx.session import open_session

    lab = lab_here()
    resolved = load_settings(lab.root)
    with interruptible(), open_session(lab, resolved, tag, say) as opened:
        session = confined(opened, resolved.settings)
        with closing(open_screen(sys.stderr, session.folder, session.target.metric)) as screen:
            recover(session, screen)
            found = evaluate(session, number, rows, split, full, screen)
    if as_json:
        click.echo(json.dumps(found))
        return
    where = f"{found['tokens']:,} tokens of the {split} split ({found['rows']:,} rows)"
    click.echo(f"experiment {found['number']}: {session.target.metric} {found[session.target.metric]:.6f} on {where}")
