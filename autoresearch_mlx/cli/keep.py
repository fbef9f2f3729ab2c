"""Define ``gc``, which frees disk space, and ``archive`` and ``restore``, which move a session to another machine."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, tag_option
from autoresearch_mlx.errors import LabError, LockedError
from autoresearch_mlx.lab.lab import find_session

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = 100 * 365 * 24 * 60
"""Largest age that can be given, in minutes: a hundred years."""


class Age(click.ParamType[timedelta]):
    """An age such as ``90m``, ``12h``, ``14d`` or ``2w``; ``0`` means any age."""

    name = "AGE"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([0-9]{1,8})([mhdw])|(0)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not an age; for example 90m, 12h, 14d or 2w", param, context)
        age = timedelta(**{_UNITS[found[2] or "m"]: int(found[1] or 0)})
        if age > timedelta(minutes=_LONGEST):
            self.fail(f"{value!r} is more than a hundred years", param, context)
        return age


@click.command("gc")
@click.option(
    "--older-than",
    "age",
    type=Age(),
    default="14d",
    show_default=True,
    help="Smallest age of what is removed, such as 90m, 12h, 14d or 2w; 0: any age.",
)
@tag_option
@click.option("--all", "every", is_flag=True, help="Clean every session of the lab.")
@click.option("--talks", is_flag=True, help="Remove conversations with models too; `status` keeps their totals.")
@click.option("--weights", is_flag=True, help="Remove the incumbent's weights too.")
@click.option("--refs", is_flag=True, help="Remove refs of experiments that were not kept; their diffs are then lost.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
def gc_command(tag: str | None, every: bool, age: timedelta, dry_run: bool, as_json: bool, **wanted: bool) -> None:
    """Remove what a session no longer needs: the folders of old runs with their logs and weights, and the worktree.

    The command never removes the ledger, results.tsv, a kept commit or the base of a kept commit.  It removes nothing
    from a session that a command is using.  `log` and `show` still show every experiment, and say what was removed.

    \b
    Example:
      autoresearch-mlx gc --older-than 14d --dry-run
    """
    from datetime import datetime

    from autoresearch_mlx.setup.archive.gc import Wish, gc_json, gc_lines, tidy

    lab = lab_here()
    if tag is not None and every:
        raise click.UsageError("give either --tag or --all")
    tags = lab.tags() if every else [find_session(lab, tag).name]
    found, now = {}, datetime.now().astimezone()
    for name in tags:
        try:
            found[name] = tidy(lab, name, Wish(age, **wanted), now, dry_run)
        except LockedError as error:
            if not every:
                raise
            say(f"{error}; nothing was removed from this session")
    click.echo(json.dumps(gc_json(found, dry_run)) if as_json else gc_lines(found, dry_run, age))
    if any(item.kind == "refs" for items in found.values() for item in items):
        say("commits without a ref stay on the disk until `git gc` removes them, by default after two weeks")


@click.command("archive")
@tag_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write; default: autoresearch-TAG.tar.gz in this folder.",
)
@click.option("--weights", is_flag=True, help="Include the incumbent's weights.")
@json_option
def archive_command(tag: str | None, output: Path | None, weights: bool, as_json: bool) -> None:
    """Pack a session into one file: its ledger, logs and conversations, and its commits with their history.

    `restore` turns the file into a session again, in a lab on any machine. Whoever gets the file gets the code, the
    logs and every conversation with a model.

    \b
    Example:
      autoresearch-mlx archive --tag nov24 -o nov24.tar.gz
    """
    from autoresearch_mlx.setup.archive.gc import packed_json, packed_lines
    from autoresearch_mlx.setup.archive.pack import archive

    lab = lab_here()
    name = find_session(lab, tag).name
    target, default = output or Path(), f"autoresearch-{name}.tar.gz"
    target = target / default if target.is_dir() else target
    if not target.parent.is_dir():
        raise LabError(f"there is no folder {target.parent}", "make the folder, or name another file with -o")
    packed = archive(lab, name, target, weights)
    click.echo(json.dumps(packed_json(packed)) if as_json else packed_lines(name, packed))


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tag", metavar="NEWTAG", help="New name for the session in this lab.")
@json_option
def restore_command(file: Path, tag: str | None, as_json: bool) -> None:
    """Unpack FILE, which `archive` wrote: a session with its commits, as a new session of this lab.

    The whole file is checked before anything is written. A later `run` executes the session's code and, for a target
    of kind `command`, its command line. So restore only files from people you trust.

    \b
    Example:
      autoresearch-mlx restore nov24.tar.gz
    """
    from dataclasses import asdict

    from autoresearch_mlx.setup.archive.restore import missing_here, restore

    lab = lab_here()
    found = restore(lab, file, tag)
    branch = f"autoresearch/{found.tag}"
    told = f"session {found.tag} on branch {branch}: {found.experiments} experiments"
    click.echo(json.dumps(asdict(found)) if as_json else told)
    if found.elsewhere:
        say(f"the session was measured on {found.elsewhere}: its numbers cannot be compared with this machine's")
    if (error := missing_here(lab, found.tag)) is not None:
        say(f"`run` cannot continue yet: {error}\nhint: {error.hint}")
