"""docs/agents-as-targets.md is true: its console runs as written, and it names every option."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from autoresearch_mlx.targets.evals.cases import KINDS
from autoresearch_mlx.targets.evals.conditions import EvalsConditions
from autoresearch_mlx.trial.sandbox.detect import Sandbox

pytestmark = pytest.mark.uncounted

PAGE = (ROOT / "docs" / "agents-as-targets.md").read_text()


@pytest.mark.slow
def test_the_console_runs_as_written(tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (script,) = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = "\n".join(line.removeprefix("$ ") for line in script.splitlines())
    identity = {f"GIT_{who}_{what}": "me@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-ec", lines],
        cwd=tmp_path,
        env={**os.environ, **identity, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "9 of 20 dev cases are right" in done.stdout and "2 experiments:" in done.stdout


def test_every_option_and_every_kind_of_check_is_named() -> None:
    computed = {"cases_sha256", "own_sha256"}
    options = {field.name for field in dataclasses.fields(EvalsConditions)} - computed
    assert options <= set(re.findall(r"\w+", PAGE)), options - set(re.findall(r"\w+", PAGE))
    assert all(f'{{"{kind}":' in PAGE for kind in KINDS)
