"""The logs that come with the tool, by name."""

from __future__ import annotations

import difflib

from autoresearch_mlx.compare.reference import Reference, read_references
from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.lab.assets import asset

TABLES = ("data/cuda_baseline.tsv", "data/cuda_runs.tsv", "data/apple_runs.tsv")
H100 = "H100"
"""The whole published session of 126 runs."""


def references() -> tuple[Reference, ...]:
    """All logs, the H100's first.  Raises LabError when the installation lacks a table, TableError."""
    return tuple(reference for name in TABLES for reference in read_references(asset(name)))


def h100() -> Reference:
    """The H100's session, with which everything is compared by default.  Raises LabError, TableError."""
    return find(H100)


def find(name: str) -> Reference:
    """The log of this name, in upper or lower case.  Raises ConfigError when there is none, LabError, TableError."""
    first = read_references(asset(TABLES[0]))
    known = {each.name.lower(): each for each in (first if name.lower() == H100.lower() else references())}
    if name.lower() not in known:
        near = difflib.get_close_matches(name.lower(), known, 1)
        hint = f"did you mean {known[near[0]].name}?" if near else "`autoresearch-mlx compare --list` names them all"
        raise ConfigError(f"there is no log {name!r} among those that come with the tool", hint)
    return known[name.lower()]
