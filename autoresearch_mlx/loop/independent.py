"""Split the keeps of a session into changes that apply on their own.

Two keeps belong to one change in three cases: they set the same knob, one keep removes the other, or one keep cannot be
applied without the other.  The third case arises if the lines that the two keeps change overlap or touch.  It also
arises if one keep uses a name that the other keep defines, in the same file or in another file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias

from autoresearch_mlx.agents.edits import gate
from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.judge.history import removed
from autoresearch_mlx.lab.source import changed_knobs, fingerprint
from autoresearch_mlx.loop.carry import Overlap, carried

Files: TypeAlias = Mapping[str, str]
"""Texts of the editable files, by their path in the lab."""


@dataclass(frozen=True, slots=True)
class Step:
    """One keep: its experiment, and the files before and after it."""

    experiment: Experiment
    before: Files
    after: Files

    def knobs(self) -> frozenset[str]:
        """Return the names of the knobs that this step changed."""
        shared = self.before.keys() & self.after.keys()
        return frozenset(name for path in shared for name in changed_knobs(self.before[path], self.after[path]))


@dataclass(frozen=True, slots=True)
class Change:
    """A change: keeps that belong together, oldest first, and the baseline's files with only these keeps applied."""

    steps: tuple[Step, ...]
    files: Files

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(step.experiment.number for step in self.steps)


def kept(history: History) -> list[Experiment]:
    """Return the keeps after the baseline, oldest first."""
    return [e for e in history.experiments if e.status == "keep" and e.number > 0 and e.commit is not None]


def changes_of(baseline: Files, steps: Sequence[Step]) -> list[Change]:
    """Return the independent changes that the steps form, in the order of their first steps.

    ``baseline`` has the files from which the first step started.  The result includes a change whose steps cancel each
    other; the files of such a change equal the baseline's.
    """
    groups: list[tuple[Step, ...]] = []
    for step in steps:
        needed = [group for group in groups if _related(step, group)]
        if apply(baseline, _joined([*needed, (step,)])) is None:
            needed = _completed(baseline, step, needed, [group for group in groups if group not in needed])
        groups = [group for group in groups if group not in needed] + [_joined([*needed, (step,)])]
    found = []
    for group in sorted(groups, key=lambda group: group[0].experiment.number):
        files = apply(baseline, group)
        assert files is not None  # groups are joined until they apply
        found.append(Change(group, files))
    return found


def cancelled(change: Change, baseline: Files) -> bool:
    """Return whether later keeps have undone the change completely."""
    return fingerprint(change.files) == fingerprint(baseline)


def apply(files: Files, steps: Sequence[Step]) -> Files | None:
    """Return the files with the steps applied in order.

    Returns None if a step does not apply, or if the resulting files cannot run.  They cannot run if a file does not
    parse, or if a file uses a name or a module that nothing defines any more.
    """
    now = dict(files)
    for step in steps:
        edited = {path: text for path, text in step.after.items() if step.before.get(path) != text}
        found = carried(edited, step.before, now)
        if isinstance(found, Overlap):
            return None
        now |= found
    if any(now == step.after for step in steps):
        return now  # these are the files of a version of this night, which did run
    if not all(_runs(text, files.get(path)) for path, text in now.items() if path.endswith(".py")):
        return None
    known = frozenset(path for version in (files, *(step.after for step in steps)) for path in version)
    usual = dangling(files, known).union(*(dangling(step.after, known) for step in steps))
    return now if dangling(now, known) <= usual else None


def _runs(text: str, before: str | None) -> bool:
    if text == before:
        return True
    tree, old = gate.parse(text), None if before is None else gate.parse(before)
    if isinstance(tree, str):
        return False
    known = gate.Survey() if old is None or isinstance(old, str) else gate.survey(old)
    return gate.missing_names(gate.survey(tree), known) is None


def dangling(files: Files, known: frozenset[str]) -> frozenset[str]:
    """Return the names that the Python files import from each other although no file defines these names.

    Each entry is ``file: module.name``.  ``known`` has the paths of all files that exist in some version.  Imports of
    modules outside the lab are ignored.
    """
    if sum(path.endswith(".py") for path in known) < 2:
        return frozenset()
    trees = {path: tree for path, text in files.items() if not isinstance(tree := _tree(path, text), str)}
    found: set[str] = set()
    for path, tree in trees.items():
        for module, name in _taken(path, tree):
            homes = _homes(module, known)
            here = [trees[home] for home in homes if home in trees]
            inner = name is not None and any(home in files for home in _homes(f"{module}.{name}", known))
            if homes and not inner and not any(name is None or _defines(home, name) for home in here):
                found.add(f"{path}: {module}.{name}")
    return frozenset(found)


def _tree(path: str, text: str) -> ast.Module | str:
    return gate.parse(text) if path.endswith(".py") else "not Python"


def _homes(module: str, known: frozenset[str]) -> list[str]:
    """Return the paths that a module's file may have; there may be several, because Python may search any folder."""
    path = module.replace(".", "/")
    return [p for p in known for end in (f"{path}.py", f"{path}/__init__.py") if p == end or p.endswith(f"/{end}")]


def _taken(path: str, tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name) for each name of a module that a file uses, and (module, None) for each imported module."""
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
                modules[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.ImportFrom):
            above = PurePosixPath(path).parts[: -node.level] if node.level else ()
            module = ".".join((*above, *([node.module] if node.module else [])))
            for alias in node.names:
                yield module, None if alias.name == "*" else alias.name
                modules[alias.asname or alias.name] = f"{module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (taken := modules.get(_dotted(node.value))) is not None:
            yield taken, node.attr


def _dotted(node: ast.expr) -> str:
    """Return the text of a name with dots such as ``a.b``, and an empty string for any other expression."""
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def _defines(tree: ast.Module, name: str) -> bool:
    """Return whether a file may define ``name``; a file with ``from module import *`` may define any name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            if name == (node.id if isinstance(node, ast.Name) else node.attr):
                return True
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if node.name in (name, "__getattr__"):
                return True
        elif isinstance(node, ast.Import | ast.ImportFrom) and any(
            (alias.asname or alias.name).partition(".")[0] in (name, "*") for alias in node.names
        ):
            return True
    return False


def _related(step: Step, group: Sequence[Step]) -> bool:
    names = step.knobs()
    undoes = removed(step.experiment)
    return any(names & other.knobs() or other.experiment.number == undoes for other in group)


def _completed(
    baseline: Files, step: Step, needed: Sequence[tuple[Step, ...]], others: Sequence[tuple[Step, ...]]
) -> list[tuple[Step, ...]]:
    """Return ``needed`` and those groups of ``others`` without which the step does not apply.

    With all groups the step applies, because it was kept on top of them.  Then, oldest first, each group of ``others``
    is dropped if the step still applies without this group.
    """
    wanted = list(others)
    for group in others:
        without = [other for other in wanted if other is not group]
        if apply(baseline, _joined([*needed, *without, (step,)])) is not None:
            wanted = without
    return [*needed, *wanted]


def _joined(groups: Sequence[Sequence[Step]]) -> tuple[Step, ...]:
    return tuple(sorted((step for group in groups for step in group), key=lambda step: step.experiment.number))
