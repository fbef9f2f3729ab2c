"""``compare``: this machine beside the H100."""

from __future__ import annotations

import json

import click

from autoresearch_mlx.cli.options import json_option, lab_here, tag_option, width


@click.command("compare")
@tag_option
@json_option
def compare_command(tag: str | None, as_json: bool) -> None:
    """This session beside the H100 session of 126 experiments: gains, and the best effect on each axis.

    \b
    Example:
      autoresearch-mlx compare
    """
    from autoresearch_mlx.assets import asset
    from autoresearch_mlx.compare.reference import read_reference
    from autoresearch_mlx.compare.table import compare, render, to_json
    from autoresearch_mlx.hardware.machine import read_machine
    from autoresearch_mlx.lab import find_session
    from autoresearch_mlx.ledger import FILE, read

    history = read(find_session(lab_here(), tag) / FILE).history
    machine = read_machine()
    reference = read_reference(asset("data/cuda_baseline.tsv"))
    here = compare(history.experiments, history.metric, history.direction, machine.chip or machine.arch, reference)
    click.echo(json.dumps(to_json(here)) if as_json else render(here, width()))
