"""Define ``report``, which writes the night as a page, a picture and a text for a post."""

from __future__ import annotations

import json
from pathlib import Path

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, tag_option

_OPENS_SECONDS = 10.0


@click.command("report")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the files; default: the session's report/.",
)
@click.option("--open", "show", is_flag=True, help="Open the page in the browser.")
@tag_option
@json_option
def report_command(out: Path | None, show: bool, tag: str | None, as_json: bool) -> None:
    """Write the session as a page, a picture and a text for a post: report.html, progress.png, report.md.

    The figures come from the ledger alone, so the command works at any time, even during a run. The page is one file
    and needs no network. With --json the figures go to stdout and no file is written.

    \b
    Example:
      autoresearch-mlx report --open
    """
    from autoresearch_mlx.lab.lab import find_session
    from autoresearch_mlx.report.page.content import to_json
    from autoresearch_mlx.report.page.gather import page_of
    from autoresearch_mlx.report.page.html import FOLDER, write_report

    if as_json and (out is not None or show):
        raise click.UsageError("--json writes no file: leave out --out and --open")
    lab = lab_here()
    folder = find_session(lab, tag)
    page = page_of(folder, lab.root, _prices(folder, lab.root))
    if as_json:
        click.echo(json.dumps(to_json(page), allow_nan=False))
        return
    files = write_report(page, out or folder / FOLDER)
    for path in files:
        click.echo(str(path))
    if show and not _opened(files[0]):
        say(f"could not start a browser; open {files[0]} yourself")


def _opened(page: Path) -> bool:
    """Open a page in the user's browser; return False if no browser could be started."""
    import shutil
    import subprocess
    import sys

    opener = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if opener is None:
        return False
    quiet = subprocess.DEVNULL
    started = subprocess.Popen([opener, page.resolve().as_uri()], stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        return started.wait(_OPENS_SECONDS) == 0
    except subprocess.TimeoutExpired:
        return True  # some programs that open a page run until the browser is closed


def _prices(folder: Path, root: Path) -> tuple[float | None, float | None]:
    """Return the prices of a million tokens of prompt and of a million tokens of reply, from lab.toml.

    If no model was called, return (None, None) and do not read lab.toml.
    """
    from autoresearch_mlx.store.talks import spent

    if not spent(folder).calls:
        return None, None
    from autoresearch_mlx.lab.config import load_settings

    agent = load_settings(root).settings.agent
    return agent.price_in, agent.price_out
