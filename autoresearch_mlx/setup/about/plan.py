"""Define a plan: a proposed lab, before anything is proved or written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoresearch_mlx.experiment import Direction
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.lab import PROGRAM, SETTINGS
from autoresearch_mlx.setup.about.sentence import Number
from autoresearch_mlx.setup.about.tree import Tree

FOLDER = "measuring"
"""Name of the lab's folder with the scripts that measure and check."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that the lab measures."""

    name: str
    direction: Direction = "min"
    unit: str = ""
    limit: str | None = None
    """How much worse an edit may make this figure, such as ``+5 %``; None for the number that the loop improves."""


@dataclass(frozen=True, slots=True)
class Check:
    """A shell line that must pass after each edit."""

    name: str
    run: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A proposed lab."""

    number: Number
    metrics: tuple[Metric, ...]
    """The number that the loop improves comes first; figures with limits follow."""
    editable: tuple[str, ...]
    run: str
    """Shell line that prints the metrics."""
    checks: tuple[Check, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files of the lab besides lab.toml and program.md, by path."""
    prepare: tuple[str, ...] = ()
    """Shell lines that run in a copy of the repository to complete the lab's files, for example by recording calls."""
    exact: bool = False
    """True if every run gives the same number, so that one run decides."""
    best: float | None = None
    """The best value that the number can have, such as 0 findings; None if the number has no such value."""
    worse: Mapping[str, str] = field(default_factory=dict)
    """Texts of editable files, changed on purpose so that the number must get worse."""
    tools_folder: str | None = None
    """The repository's own folder with programs, such as its virtual environment."""
    needs: tuple[str, ...] = ()
    """Programs that the measurement needs."""
    open: tuple[str, ...] = ()
    """Sentences that say which faults the checks do not notice."""

    def settings(self, sentence: str) -> str:
        """Return the text of lab.toml."""
        said = json.dumps(sentence, ensure_ascii=False)
        lines = [f"# Made by `autoresearch-mlx init --about {said}`.", "", "[target]", 'kind = "command"']
        lines += [f"editable = {_toml(list(self.editable))}", f"run = {_toml(self.run)}"]
        for number, metric in enumerate(self.metrics):
            lines += ["", "[[metric]]", f"name = {_toml(metric.name)}"]
            lines += ["primary = true"] if number == 0 else []
            lines += [f"direction = {_toml(metric.direction)}"]
            lines += [f"unit = {_toml(metric.unit)}"] if metric.unit else []
            lines += [f"limit = {_toml(metric.limit)}"] if metric.limit else []
        for check in self.checks:
            lines += ["", "[[check]]", f"name = {_toml(check.name)}", f"run = {_toml(check.run)}"]
        if self.needs or self.tools_folder:
            lines += ["", "[tools]"]
            lines += [f"folder = {_toml(self.tools_folder)}"] if self.tools_folder else []
            lines += [f"needs = {_toml(list(self.needs))}"] if self.needs else []
        if self.exact:
            lines += ["", "[judge]", 'mode = "margin"               # the same number in each run, so one run decides']
            lines += ["margin = 0"]
        return "\n".join(lines) + "\n"

    def brief(self, sentence: str) -> str:
        """Return the text of program.md, which the agents read."""
        first, lines = self.metrics[0], []
        lines += [f"# {sentence.strip().rstrip('.')}", ""]
        lines += [f"The number is `{first.name}`; {'lower' if first.direction == 'min' else 'higher'} is better."]
        lines += [f"Edit only {', '.join(f'`{path}`' for path in self.editable)}.", ""]
        lines += ["After each edit these checks must pass:", ""]
        lines += [f"- {check.name}: `{check.run}`" for check in self.checks]
        lines += ["", *self.open] if self.open else []
        return "\n".join(lines) + "\n"

    def all_files(self, sentence: str) -> dict[str, bytes]:
        """Return every file of the lab, by path."""
        brief = {PROGRAM: self.brief(sentence).encode()}
        return {SETTINGS: self.settings(sentence).encode(), **brief, **self.files}


def _toml(value: str | list[str]) -> str:
    """Return a string, or a list of strings, in TOML (JSON writes such a value in the same way)."""
    return json.dumps(value, ensure_ascii=False)


def script(name: str, recipe: str | None = None) -> dict[str, bytes]:
    """Return the contents of a measuring script of this package, under its path in the lab."""
    where = f"recipes/{recipe}/lab/{name}" if recipe else f"recipes/about/{name}"
    return {f"{FOLDER}/{name}": asset(where).read_bytes()}


def first_versions(tree: Tree, editable: Sequence[str]) -> dict[str, bytes]:
    """Return the contents of the editable files, under the paths of their copies in the lab.

    The names of the copies end in ``.txt``, so that the repository's test runners, builds and linters ignore them.
    """
    return {f"{FOLDER}/first/{path}.txt": tree.data(path) for path in editable}


def notes(name: str, **values: object) -> dict[str, bytes]:
    """Return ``values`` as a JSON file that a script reads, under the file's path in the lab."""
    return {f"{FOLDER}/{name}": (json.dumps(values, indent=1) + "\n").encode()}
