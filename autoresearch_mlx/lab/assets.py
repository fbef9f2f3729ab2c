"""Where the files that stand at the repository's root lie: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from autoresearch_mlx.errors import LabError


def asset(name: str, package: Path | None = None) -> Path:
    """Path of ``train_mlx.py``, ``program.md`` or a table such as ``data/cuda_baseline.tsv``.

    ``package`` is the folder of ``autoresearch_mlx`` (default: the one running).  Raises LabError when
    the file is in neither place.
    """
    home = package or Path(__file__).resolve().parents[1]
    for place in (home / "_lab" / name, home.parent / name):
        if place.exists():
            return place
    raise LabError(f"{name} is missing from the installation in {home}", "install autoresearch-mlx again")
