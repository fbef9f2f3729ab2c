"""Define ``drive``, which puts a coding agent in charge of the lab."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import click

from autoresearch_mlx.cli.options import callable_here, itself, lab_here, say
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.store.locks import holder
from autoresearch_mlx.store.tries import try_of


@click.command("drive")
@click.argument("agent", required=False)
@click.option(
    "--prompt", metavar="TEXT", help='The task that the agent gets; default: "Read program.md and follow it."'
)
def drive_command(agent: str | None, prompt: str | None) -> None:
    """Let a coding agent drive: it edits the file, calls `try --detach` and `wait`, and reads the verdicts.

    AGENT is claude, codex, opencode, pi, qwen, gemini, aider, mini or "command:LINE".  Options may follow a name, as in
    "claude:--model opus".  The agent runs in its own sandbox; this command measures outside that sandbox, and ends when
    the agent ends.

    Without AGENT, the command starts no agent.  It measures for an agent in another terminal, until Ctrl-C.

    \b
    Example:
      autoresearch-mlx drive claude
      autoresearch-mlx drive "codex:-m gpt-5-codex"
    """
    from autoresearch_mlx.agents.presets import PRESETS, driving_line, find_preset
    from autoresearch_mlx.cli.opened import interruptible
    from autoresearch_mlx.loop.drive import drive, editable_files

    lab, line = lab_here(), None
    if agent is not None and (line := driving_line(agent, itself())) is None:
        known = ", ".join(preset.name for preset in PRESETS)
        raise AgentError(f"there is no coding agent named {agent!r}", f'name one of {known}, or give "command:LINE"')
    preset = find_preset((agent or "").partition(":")[0])
    if preset is not None and shutil.which(preset.name) is None:
        raise AgentError(f"{preset.name} is not on PATH", preset.install)
    told = prompt or "Read program.md and follow it."
    if line is None:
        say("carrying out the commands that coding agents in this lab ask for, until Ctrl-C")
    before = _measured(lab)
    with interruptible():
        code = drive(lab, line, f"{told} Call the tool by this path: {itself()}\n", editable_files(lab))
    for words in _closing(lab, before):
        say(callable_here(words))
    sys.exit(code)


def _measured(lab: Lab) -> int:
    """Return the number of experiments in the session that was used last; 0 if the lab has no session."""
    tag = lab.current()
    return 0 if tag is None else len(read(lab.folder(tag) / FILE).history.experiments)


def _closing(lab: Lab, before: int) -> Iterator[str]:
    """Yield sentences to print when the agent has ended: the session's result, and what is still being measured.

    ``before`` is the number of experiments before the agent started.
    """
    from autoresearch_mlx.report.closing import outcome

    tag = lab.current()
    if tag is None or _measured(lab) == before:
        yield "the agent has measured nothing"
    if tag is None:
        return
    folder = lab.folder(tag)
    if words := outcome(read(folder / FILE).history):
        yield words
    if (left := try_of(folder, holder(folder))) is not None:
        at = f"`autoresearch-mlx wait {left.number}`"
        yield f"experiment {left.number} is still being measured: {at} prints its verdict"
