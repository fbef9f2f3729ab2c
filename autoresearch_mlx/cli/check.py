"""Define ``check``, which tries a lab before a night."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, width


@click.command("check")
@click.option("--runs", type=click.IntRange(min=2), default=5, show_default=True, help="Runs of the unedited commit.")
@json_option
def check_command(runs: int, as_json: bool) -> None:
    """Try the lab before a night: does it give a number, how steady is the number, and would a broken program be kept?

    The last commit is measured several times as it is, then with changed values of a few knobs, and once with
    functions that do nothing. The command works in a temporary copy of the lab. The exit code is 1 if a check failed.

    \b
    Example:
      autoresearch-mlx check
    """
    from autoresearch_mlx.cli.doctor import finding_lines, findings_summary
    from autoresearch_mlx.cli.opened import interruptible
    from autoresearch_mlx.hardware.machine import read_machine
    from autoresearch_mlx.hardware.profile import choose_profile
    from autoresearch_mlx.lab.config import load_settings
    from autoresearch_mlx.setup.check import check
    from autoresearch_mlx.targets.contract import Place
    from autoresearch_mlx.targets.registry import kind_of, with_defaults

    lab, machine = lab_here(), read_machine()
    settings = load_settings(lab.root).settings
    settings = with_defaults(settings, kind_of(settings, lab.root))
    place, findings = Place(settings, lab, machine, choose_profile(machine, settings.hardware.profile), say), []
    with interruptible():  # so that a closed terminal leaves no copy behind
        for finding in check(place, runs, say):
            findings.append(finding)
            if not as_json:
                click.echo("\n".join(finding_lines(finding, width())))
    failed = any(finding.state == "fail" for finding in findings)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        say(findings_summary(findings) + ("" if failed else "; `autoresearch-mlx run` starts the night"))
    raise SystemExit(1 if failed else 0)
