"""Coding agents by name: the line that each name stands for, and the lines that cannot edit."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from agents.test_command_agent import EDITED, House, house
from coding_agents import imitate
from conftest import ROOT

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.presets import (
    PRESETS,
    command_line,
    driving_line,
    lacks_permission,
    preset_line,
    program_of,
)
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.lab.config import AgentSettings

__all__ = ["house"]

EIGHT = ["claude", "codex", "opencode", "pi", "qwen", "gemini", "aider", "mini"]
PAGE = (ROOT / "docs" / "models" / "coding-agents.md").read_text()


def test_eight_agents_are_known_by_name() -> None:
    assert [preset.name for preset in PRESETS] == EIGHT


@pytest.mark.parametrize("preset", PRESETS, ids=EIGHT)
def test_the_page_has_each_agents_lines_and_version(preset) -> None:
    assert f"| `{preset.name}` | `{preset.shell_line()}` |" in PAGE
    assert f"| `{preset.name}` | `{preset.driving_line('TOOL')}` |" in PAGE
    assert re.search(rf"`{preset.name}` \| {re.escape(preset.ran)} \| yes \| yes \|", PAGE)


@pytest.mark.parametrize("preset", PRESETS, ids=EIGHT)
def test_each_line_lets_its_agent_edit_and_needs_its_option_for_that(preset) -> None:
    assert lacks_permission(preset.shell_line()) == ""
    assert lacks_permission(preset.driving_line("autoresearch-mlx")) == ""
    if preset.needs:
        without = preset.shell_line().replace(f" {preset.needs}", "")
        assert f"{preset.name} edits no file without {preset.needs}" in lacks_permission(without)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("claude:--model opus", "claude -p --permission-mode acceptEdits --model opus"),
        ("codex:-m o4 -c a=1", "codex exec -s workspace-write -m o4 -c a=1 -"),
        ("pi:--provider local", "pi -p --no-session --provider local"),
        ("claude:Class", None),
        ("claude:", None),
        ("clod", None),
    ],
)
def test_options_of_a_persons_own_come_where_the_program_reads_them(name: str, line: str | None) -> None:
    assert preset_line(name) == line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("codex exec -", "codex edits no file without -s workspace-write"),
        ("claude -p", "claude edits no file without --permission-mode acceptEdits"),
        ("A=1 env B=2 '/opt/my tools/claude' -p --model x", "claude edits no file without"),
        ("gemini", "gemini edits no file without --approval-mode auto_edit"),
        ("qwen -p 'edit'", "qwen edits no file without"),
        ("aider --message-file /dev/stdin", "aider edits no file without --yes-always"),
        ("claude -p --dangerously-skip-permissions", ""),
        ("claude -p --permission-mode=bypassPermissions", ""),
        ("claude -p --allowedTools Edit", ""),
        ("codex exec --sandbox danger-full-access -", ""),
        ("codex exec -c sandbox_mode=workspace-write -", ""),
        ("gemini -y", ""),
        ("qwen --approval-mode yolo", ""),
        ("my-own-agent", ""),
        ("claude 'unbalanced", "claude edits no file without"),
        ("", ""),
    ],
)
def test_a_line_without_permission_is_recognised(line: str, said: str) -> None:
    found = lacks_permission(line)
    assert found.startswith(said) if said else found == ""


def test_the_program_of_a_line_is_its_first_word_that_is_no_setting() -> None:
    assert program_of("MSWEA_COST_TRACKING=ignore_errors mini -y") == "mini"
    assert program_of("env A=b /usr/bin/codex exec -") == "codex"
    assert program_of("") == ""


def test_names_of_agents_are_told_from_others() -> None:
    assert command_line("hybrid:codex") == "codex exec -s workspace-write -"
    assert command_line("hybrid:command:my-agent") == "my-agent"
    assert command_line("command") == ""
    assert [command_line(name) for name in ("knobs", "hybrid", "hybrid:ollama:m", "module:Class")] == [None] * 4


def test_in_charge_an_agent_may_call_the_tool_by_its_path() -> None:
    line = driving_line("claude:--model opus", "/opt/autoresearch-mlx")
    assert line is not None and "--model opus" in line and '"Bash(/opt/autoresearch-mlx *)"' in line
    assert driving_line("command:my-agent -x", "t") == "my-agent -x"
    assert [driving_line(name, "t") for name in ("command", "command:", "knobs")] == [None] * 3


@pytest.mark.parametrize("name", EIGHT)
def test_an_agent_called_by_its_name_edits_and_alone_or_in_turns_it_is_the_same(
    name: str, house: House, tmp_path: Path
) -> None:
    told, before = imitate(tmp_path / "bin", name), os.environ["PATH"]
    office = Office(AgentSettings(meanwhile="wait"), lend=house.workspace.worktree.lent)
    os.environ["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{before}"
    try:
        proposal = load_agent(name, office).propose(house.context())
        assert load_agent(f"hybrid:{name}", office).name == "hybrid"
    finally:
        os.environ["PATH"] = before
    assert (proposal.problem, proposal.files) == ("", {"solver.py": EDITED})
    assert (proposal.agent, proposal.title) == (name, "X nearer")
    assert "TITLE: the change" in told.read_text()


@pytest.mark.parametrize("name", ["codex", "hybrid:codex", "codex:-m x"])
def test_an_agent_that_is_not_installed_is_missed_before_anything_is_measured(name: str, tmp_path: Path) -> None:
    before = os.environ["PATH"]
    os.environ["PATH"] = str(tmp_path)
    try:
        with pytest.raises(AgentError, match="codex is not on PATH") as caught:
            load_agent(name, Office())
    finally:
        os.environ["PATH"] = before
    assert caught.value.hint == "npm install -g @openai/codex"


@pytest.mark.parametrize("size", [1_000, 100_000, 1_000_000])
def test_a_long_prompt_reaches_an_agent_that_takes_it_as_an_argument(size: int, house: House, tmp_path: Path) -> None:
    told, before = imitate(tmp_path / "bin", "mini"), os.environ["PATH"]
    context = replace(house.context(), program="é" * size)
    os.environ["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{before}"
    try:
        office = Office(AgentSettings(meanwhile="wait"), lend=house.workspace.worktree.lent)
        proposal = load_agent("mini", office).propose(context)
    finally:
        os.environ["PATH"] = before
    assert proposal.files == {"solver.py": EDITED}, proposal.problem
    assert "solver.py" in told.read_text()
