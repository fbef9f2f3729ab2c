"""Read the recipes in this package.  A recipe is a lab with a script that measures a number other than a training loss.

The folder ``recipes/NAME`` is the recipe NAME: ``recipe.toml`` has its description, and ``lab/`` has the files of the
new lab.  Every such folder is found, and the wheel contains all of ``recipes/``.  To add a recipe:

1. Write ``recipes/NAME/recipe.toml``.  ``init --recipe list`` prints its ``number``, ``tool`` and ``guard``.  Its
   ``refused_by`` has words from the reason for which the second edit (see step 2) is refused.
2. Put the lab into ``recipes/NAME/lab/``: ``lab.toml``, ``program.md`` for the agents, a small example that can be
   improved, the scripts that measure and check (not in ``editable``), a file ``gitignore`` (written as ``.gitignore``),
   and ``edits.jsonl`` with three edits for the agent ``scripted``.  The second edit cheats and is refused.  The first
   or the third edit is an improvement and is kept.  A file of several recipes is in ``recipes/shared``, and ``shared``
   in ``recipe.toml`` names the file.
3. If the lab needs a tool, name the tool and its version in ``[tools]`` of ``lab.toml``: ``needs``, and ``install``, a
   shell line that installs the tool into the lab's folder ``.tools``.  The lab's scripts find the tool on PATH, or in
   the folder AUTORESEARCH_TOOLS.
4. Run ``python -m bench.recipe_nights NAME``: ``init``, ``check`` and a night of three experiments.  Describe the
   recipe in ``docs/recipes.md`` with the output of these commands.  ``tests/test_docs.py`` runs the described commands
   if the tool is installed.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch_mlx import terms
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.tool_settings import ToolSettings
from autoresearch_mlx.targets.tools import Tools, names_of

_WRITTEN_AS = {"gitignore": ".gitignore"}
"""Files with a different name in this package than in the lab; git would obey a file with the real name here."""
_MADE_BY_RUNS = ("__pycache__", ".pytest_cache", ".ruff_cache")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe, from which ``init --recipe`` makes a lab."""

    name: str
    number: str
    """Description of the measured number."""
    tool: str
    """Description of the tool that measures the number, with the tool's version."""
    guard: str
    """Description of what the checks refuse."""
    refused_by: str
    """Words from the reason for which the second edit of ``edits.jsonl`` is refused; this edit cheats."""
    shared: tuple[str, ...]
    """Names of the lab's files that are in ``recipes/shared``, because several recipes have these files."""
    folder: Path

    def files(self) -> Mapping[str, bytes]:
        """Return the contents of the lab's files, by their paths in the lab."""
        lab = self.folder / "lab"
        paths = sorted(path for path in lab.rglob("*") if path.is_file())
        named = ((path.relative_to(lab), path) for path in paths)
        kept = ((at, path) for at, path in named if not set(at.parts) & set(_MADE_BY_RUNS))
        own = {str(at.with_name(_WRITTEN_AS.get(at.name, at.name))): path.read_bytes() for at, path in kept}
        return own | {name: (self.folder.parent / "shared" / name).read_bytes() for name in self.shared}

    @property
    def tools(self) -> ToolSettings:
        """The programs that the lab needs, and the shell line that installs them."""
        return load_settings(self.folder / "lab").settings.tools


def recipes() -> tuple[Recipe, ...]:
    """Return all recipes, sorted by name.  Raises LabError when the recipes are missing from the installation."""
    folders = sorted(path.parent for path in asset("recipes").glob("*/recipe.toml"))
    return tuple(_read(folder) for folder in folders)


def _read(folder: Path) -> Recipe:
    words = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    number, tool, guard, refused_by = (words[name] for name in ("number", "tool", "guard", "refused_by"))
    return Recipe(folder.name, number, tool, guard, refused_by, tuple(words.get("shared", ())), folder)


def find_recipe(name: str) -> Recipe:
    """Return the recipe with this name.  Raises LabError, which suggests a similar name, if there is no such recipe."""
    known = {recipe.name: recipe for recipe in recipes()}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        said = f"did you mean {near[0]}? " if near else ""
        raise LabError(f"there is no recipe {name!r}", f"{said}`autoresearch-mlx init --recipe list` shows all recipes")
    return known[name]


def listing(columns: int) -> Iterator[str]:
    """Yield the lines of a list of all recipes: the number, the tool, the guard, and what this machine lacks."""
    for recipe in recipes():
        yield recipe.name
        yield from terms.field("  number", recipe.number, columns, _INDENT)
        yield from terms.field("  tool", recipe.tool, columns, _INDENT)
        yield from terms.field("  guard", recipe.guard, columns, _INDENT)
        yield from terms.field("  needs", _needs(recipe.tools), columns, _INDENT)


_INDENT = 11


def _needs(wanted: ToolSettings) -> str:
    """Return the programs that a lab needs as text, each followed by ``(here)`` or ``(not here yet)``."""
    if not wanted.all:
        return "Python, which is here"
    on_path = Tools(Path("no folder"), wanted)  # a lab that does not exist yet has no tools of its own
    here = [need for need in wanted.all if on_path.found(need)]
    return "; ".join(f"{names_of(need)[0]} ({'here' if need in here else 'not here yet'})" for need in wanted.all)
