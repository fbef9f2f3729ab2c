"""The page docs/factory.md: its console runs as written, and its numbers are the numbers in the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT, command_line

from autoresearch_mlx.setup.factory.build import tools
from autoresearch_mlx.setup.factory.ledger import STAGES, Options

PAGE = (ROOT / "docs" / "factory.md").read_text()


@pytest.mark.slow
def test_the_console_runs_as_written(tmp_path: Path) -> None:
    (tmp_path / "posts").symlink_to(Path(__file__).parent / "posts")
    (script,) = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in script.splitlines():
        done = command_line(*shlex.split(line.removeprefix("$ autoresearch-mlx ")), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "evidence  58 pieces, 1 equal and 1 nearly equal copies left out" in done.stdout


def test_the_table_has_every_stage_and_the_defaults_of_the_options() -> None:
    table = PAGE.split("## The stages")[1].split("\n\n")[1]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE)[1:] == list(STAGES)
    told = dict(re.findall(r"`--(\w+)` \(([\d.]+)\)", table))
    assert told == {name: f"{getattr(Options(), name):g}" for name in told} and len(told) == 5


def test_the_page_names_every_tool_of_the_template() -> None:
    assert not [name for name in tools() if f"`{name}`" not in PAGE]
