"""``drive``: put a coding agent in charge of the lab."""

from __future__ import annotations

import sys

import click

from autoresearch_mlx.cli.options import itself, lab_here, say
from autoresearch_mlx.errors import AgentError


@click.command("drive")
@click.argument("agent", required=False)
@click.option("--prompt", metavar="TEXT", help="What to tell the agent; default: to read program.md and follow it.")
def drive_command(agent: str | None, prompt: str | None) -> None:
    """Let a coding agent drive: it edits the file, calls `try --detach` and `wait`, and reads the verdicts.

    AGENT is claude, codex, opencode, pi, qwen, gemini, aider or mini, with options of its own as in
    "claude:--model opus", or "command:LINE".  This command measures for the agent, outside of the agent's sandbox, and
    ends with the agent.

    Without AGENT it only measures, for an agent in another terminal, until Ctrl-C.

    \b
    Example:
      autoresearch-mlx drive claude
      autoresearch-mlx drive "codex:-m gpt-5-codex"
    """
    from autoresearch_mlx.agents.presets import PRESETS, driving_line
    from autoresearch_mlx.loop.drive import drive, editable_files

    lab, line = lab_here(), None
    if agent is not None and (line := driving_line(agent, itself())) is None:
        known = ", ".join(preset.name for preset in PRESETS)
        raise AgentError(f"there is no coding agent named {agent!r}", f'one of {known}, or "command:LINE"')
    told = prompt or "Read program.md and follow it."
    if line is None:
        say("measuring for agents in this lab; Ctrl-C ends this")
    sys.exit(drive(lab, line, f"{told} Call the tool by this path: {itself()}\n", editable_files(lab)))
