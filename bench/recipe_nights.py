"""Make a lab from each recipe, try it with ``check``, and let it run a night of three experiments.

The scripted agent proposes the edits of the lab's ``edits.jsonl``: the second one games the number and has to be
refused, and one of the others has to be kept.  ``--install`` installs missing tools by the lab's own command.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import click

from autoresearch_mlx import terms
from autoresearch_mlx.setup.recipes import Recipe, find_recipe, recipes
from autoresearch_mlx.targets.tools import Tools

Runner: TypeAlias = Callable[[list[str], Path], "subprocess.CompletedProcess[str]"]
"""Function that runs ``autoresearch-mlx`` with these arguments in a folder."""
EXPERIMENTS = 3


@dataclass(frozen=True, slots=True)
class Night:
    """The outcome of one recipe."""

    recipe: str
    skipped: str = ""
    """Why the recipe could not be tried, or an empty string if it was tried."""
    wrong: str = ""
    """What went wrong, or an empty string if nothing did."""
    number: str = ""
    """The lab's number before and after the night."""
    kept: int = 0
    refused: str = ""
    """Status and reason of the edit that games the number."""
    seconds: float = 0.0
    """Wall-clock seconds of ``check`` and of the night."""


def night(recipe: Recipe, folder: Path, run: Runner, install: bool = False, runs: int = 5) -> Night:
    """Make the recipe's lab in ``folder``, try it with ``runs`` unedited runs, and run a night in it."""
    lab = folder / recipe.name
    made = run(["init", "--recipe", recipe.name, str(lab)], folder)
    if made.returncode:
        return Night(recipe.name, wrong=made.stderr)
    wanted = recipe.tools
    tools = Tools(lab / wanted.folder, wanted)
    if tools.missing() and install and wanted.install is not None:
        subprocess.run(["sh", "-c", wanted.install], cwd=lab, check=False, stdout=sys.stderr)
    if missing := tools.missing():
        return Night(recipe.name, skipped=f"not installed here: {', '.join(missing)}")
    began = time.monotonic()
    for arguments in (
        ["check", "--runs", str(runs)],
        ["run", "--experiments", str(EXPERIMENTS), "--agent", "scripted:edits.jsonl"],
    ):
        done = run(arguments, lab)
        if done.returncode:
            return Night(recipe.name, wrong=f"{arguments[0]}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    spent = time.monotonic() - began
    baseline, *tried = map(json.loads, run(["log", "--json"], lab).stdout.splitlines())
    kept = [each for each in tried if each["status"] == "keep"]
    game = tried[1]
    refused = f"{game['status']}: {game['reason']}"
    wrong = "" if kept else "no edit was kept"
    if game["status"] == "keep" or recipe.refused_by not in game["reason"]:
        wrong = f"the edit that games the number was not refused by {recipe.refused_by}"
    values = [terms.value(each["value"]) for each in (baseline, *kept[-1:])]
    return Night(recipe.name, "", wrong, " -> ".join(values), len(kept), refused, spent)


def _command(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "autoresearch_mlx", *arguments]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--install", is_flag=True, help="Install the tools that are missing into the labs.")
@click.option("--keep", type=click.Path(path_type=Path), help="Make the labs in this folder, and leave them there.")
def main(names: tuple[str, ...], install: bool, keep: Path | None) -> None:
    """Try the recipes with these NAMES, or all of them."""
    wrong = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print("| recipe | number | kept | the edit that games it | check and night |\n|---|---|---|---|---|")
        for recipe in map(find_recipe, names) if names else recipes():
            found = night(recipe, folder.resolve(), _command, install)
            wrong = wrong or bool(found.wrong)
            if found.skipped or (found.wrong and not found.refused):
                print(f"| {found.recipe} | {found.skipped or 'FAILED: ' + found.wrong} | | | |")
                continue
            said = terms.one_line(found.refused)[:120] + (f"; FAILED: {found.wrong}" if found.wrong else "")
            print(
                f"| {found.recipe} | {found.number} | {found.kept} | {said} | {terms.took(found.seconds)} |", flush=True
            )
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
