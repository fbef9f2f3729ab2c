"""Labs for the tests of the target ``kernel``: the example's small script, and ways to run the command in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from conftest import ROOT, command_line

EXAMPLE = ROOT / "examples" / "kernel"


def example_lab(root: Path) -> Path:
    """Copy the example's lab to ``root``."""
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("__pycache__", ".autoresearch"))
    return root


def kernel_json(where: Path, *arguments: str) -> Any:
    """Run ``autoresearch-mlx kernel ARGUMENTS --json`` and return what it prints."""
    done = command_line("kernel", *arguments, "--json", cwd=where)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
