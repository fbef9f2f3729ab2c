"""``doctor``: check the machine, the data, the lab and the settings."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

import click

from autoresearch_mlx.cli.options import json_option, say


@click.command("doctor")
@click.option("--calibrate", is_flag=True, help="Measure this machine first, about a minute, and keep the figures.")
@json_option
def doctor_command(calibrate: bool, as_json: bool) -> None:
    """Check the machine, the data and the lab; show every setting with its source.  Exit code 1 when something fails.

    With --calibrate it times matrix products, memory, training steps at two or three batch sizes, and the evaluation.
    New sessions take their budget and batch from these figures, and MFU takes its peak from them; docs/hardware.md has
    the rules.

    \b
    Example:
      autoresearch-mlx doctor
      autoresearch-mlx doctor --calibrate
    """
    from autoresearch_mlx.setup.doctor import examine

    if calibrate:
        from autoresearch_mlx.setup.calibrate import calibrate_from

        calibrate_from(Path.cwd(), say)
    findings = list(examine(Path.cwd()))
    if as_json:
        click.echo(json.dumps([asdict(f) for f in findings]))
    else:
        for section, group in groupby(findings, key=lambda f: f.section):
            click.echo(section)
            for f in group:
                mark = {"ok": "  ", "note": "! ", "fail": "x "}[f.state]
                click.echo(f"{mark}{f.name:<24}{f.value}" + (f"\n{'':<26}-> {f.hint}" if f.hint else ""))
    raise SystemExit(1 if any(f.state == "fail" for f in findings) else 0)
