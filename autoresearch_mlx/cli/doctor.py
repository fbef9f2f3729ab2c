"""Define ``doctor``, which checks the machine, the data, the lab and the settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from autoresearch_mlx import terms
from autoresearch_mlx.cli.options import json_option, say, width

if TYPE_CHECKING:
    from autoresearch_mlx.targets.contract import Finding

_MARKS = {"ok": "  ", "note": "! ", "fail": "x "}
_INDENT = 28


@click.command("doctor")
@click.option("--calibrate", is_flag=True, help="Measure this machine first (about a minute), and keep the figures.")
@click.option("--selftest", is_flag=True, help="Test all that a night depends on (a few minutes), and print a report.")
@click.option(
    "--only", "names", multiple=True, metavar="CHECK", help="With --selftest: run this check only; repeatable."
)
@click.option("--sleep", is_flag=True, help="With --selftest: also put the machine to sleep for a moment.")
@json_option
def doctor_command(calibrate: bool, selftest: bool, names: tuple[str, ...], sleep: bool, as_json: bool) -> None:
    """Check the machine, the data and the lab; show every setting with its source.  Exit code 1 means a failed check.

    With --calibrate the command times matrix products, memory, training steps at two or three batch sizes, and the
    evaluation.  New sessions choose their budget and batch by these times.  MFU, the share of the machine's peak speed
    that training reaches, is computed from the times too. docs/hardware.md has the rules.

    With --selftest the command tests what a night depends on, and nothing else: real trainings, evaluations, the
    sandbox, a killed run and more.  The report has a line for each check.  You can paste the report into an issue,
    because it contains no names, serial numbers or paths. docs/mac.md explains each line.

    \b
    Example:
      autoresearch-mlx doctor
      autoresearch-mlx doctor --calibrate
      autoresearch-mlx doctor --selftest
    """
    if selftest and calibrate:
        raise click.UsageError("--calibrate and --selftest cannot be combined: give one of these options")
    if selftest:
        _selftest(names, sleep, as_json)
    elif names or sleep:
        raise click.UsageError("--only and --sleep belong to --selftest: give --selftest too")
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
                click.echo("\n".join(finding_lines(f, width())))
        click.echo(findings_summary(findings))
    raise SystemExit(1 if any(f.state == "fail" for f in findings) else 0)


def _selftest(names: Sequence[str], sleep: bool, as_json: bool) -> NoReturn:
    """Run the self-test and print its report; the line of a check appears as soon as the check has ended."""
    from autoresearch_mlx.cli.opened import interruptible
    from autoresearch_mlx.hardware.machine import read_machine
    from autoresearch_mlx.setup.selftest.blot import blot_of
    from autoresearch_mlx.setup.selftest.checks import CHECKS
    from autoresearch_mlx.setup.selftest.conduct import selftest
    from autoresearch_mlx.setup.selftest.report import block, document, line_of, summary

    known = [check.name for check in CHECKS]
    for name in names:
        if name not in known:
            raise click.BadParameter(
                f"there is no check {name!r}; the checks are {', '.join(known)}", param_hint="--only"
            )
    checks = [check for check in CHECKS if not names or check.name in names]
    blot, findings = blot_of(Path.cwd()), []
    say(f"{terms.plural(len(checks), 'check')}, a few minutes in all; Ctrl-C ends the checks and leaves nothing behind")
    with interruptible():
        for finding in selftest(checks, Path.cwd(), sleep, _doing):
            findings.append(finding)
            _doing("")
            if not as_json:
                click.echo(line_of(finding, blot))
    machine = read_machine()
    if as_json:
        click.echo(json.dumps(document(findings, machine, blot)))
    else:
        click.echo(f"\n{block(findings, machine, blot)}\n")
        say(summary(findings))
    raise SystemExit(1 if any(f.result.state == "fail" for f in findings) else 0)


def _doing(text: str) -> None:
    """Print what a check is doing; on a terminal the next line overwrites it, so that only the report stays."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{terms.cut(terms.one_line(text), width() - 1)}", nl=False, err=True)
    elif text:
        say(text)


def finding_lines(finding: Finding, columns: int) -> list[str]:
    """Return a finding as lines of ``columns`` columns: its name, its text in a column, and its hint below the text."""
    name = f"{finding.name}  " if len(finding.name) + 4 > _INDENT else finding.name
    lines = terms.field(f"{_MARKS[finding.state]}{name}", finding.value, columns, _INDENT)
    return lines + (terms.field("", f"-> {finding.hint}", columns, _INDENT) if finding.hint else [])


def findings_summary(findings: Sequence[Finding]) -> str:
    """Return a summary such as ``1 to fix, 2 to read``: the number of lines marked ``x``, and of lines marked ``!``."""
    fix, look = (sum(f.state == state for f in findings) for state in ("fail", "note"))
    said = [f"{count} to {verb}" for count, verb in ((fix, "fix"), (look, "read")) if count]
    return ", ".join(said) or "nothing to fix"
