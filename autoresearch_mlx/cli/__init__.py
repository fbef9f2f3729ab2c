"""Run the command line: each command parses its options, makes one call and prints the result.

The module of a command is imported only when the command is called, so that ``--help`` and ``status`` start at once.
Data goes to stdout, messages go to stderr, and only this module prints errors.  Exit codes: 0 done, 1 error, 2 wrong
usage, 3 the experiment is still being measured, 130 interrupted.
"""

from __future__ import annotations

import difflib
import gc
import importlib
import io
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from autoresearch_mlx import __version__
from autoresearch_mlx.errors import AutoresearchError, refused_by_disk

_COMMANDS = {
    "init": ("lab", "Make a lab: a directory with train_mlx.py, program.md and lab.toml."),
    "prepare": ("data", "Turn text into tokens, once before the first run."),
    "check": ("check", "Try the lab before a night: is its number steady, and would a broken program be kept?"),
    "run": ("run", "Run experiments until told to stop: edit, train, measure, keep or revert."),
    "try": ("tries", "Measure your own edit of the file as one experiment."),
    "wait": ("tries", "Wait for an experiment, and print its verdict."),
    "drive": ("drive", "Put a coding agent in charge: it edits, measures and reads the verdicts."),
    "accept": ("tries", "Keep an experiment that was too good to be believed, if one more run confirms it."),
    "plan": ("plan", "Say how many experiments fit into the time, and how much memory a run needs."),
    "certify": ("certify", "Measure the incumbent against an earlier version on fresh seeds and hidden data."),
    "finalize": ("finalize", "Make a branch to merge for each kept change that is a gain on its own."),
    "evaluate": ("evaluate", "Score kept weights again, on more rows or on upstream's number of tokens."),
    "sessions": ("sessions", "List the sessions of the lab."),
    "switch": ("sessions", "Choose the session that commands use without --tag."),
    "status": ("read", "Show the session's baseline, incumbent and counts."),
    "log": ("read", "List every experiment, one line each."),
    "show": ("read", "Show one experiment: reason, numbers, diff, log."),
    "diff": ("read", "Show what an experiment changed, or how two experiments differ."),
    "prompt": ("prompt", "Print the next prompt for the model, with its size."),
    "ideas": ("ideas", "List the ideas that models are given to try; add or drop an idea."),
    "steer": ("ideas", "Tell the models what you want, before or during a run."),
    "pause": ("control", "Pause the run after its current experiment, until `resume`."),
    "resume": ("control", "Continue a run that was paused."),
    "stop": ("control", "End the run after its current experiment."),
    "skip": ("control", "End the current experiment now, and continue with the next experiment."),
    "policy": ("control", "Show when the run ends; change its limits while it runs."),
    "dashboard": ("dashboard", "Watch and control a run in the browser, on this machine only."),
    "report": ("report", "Write the night as a page, a picture and a text for a post."),
    "kernel": ("kernel", "Profile a training step, and make one of its functions faster."),
    "factory": ("factory", "Find problems in posts, and make verified agents that solve them."),
    "compare": ("compare", "Compare this machine's experiments with the H100's."),
    "fleet": ("fleet", "Measure with several machines."),
    "share": ("share", "Exchange results with other people's labs through a git remote."),
    "gc": ("keep", "Free disk space: remove old logs, weights and the worktree."),
    "archive": ("keep", "Pack a session into one file, for another machine."),
    "restore": ("keep", "Unpack a session from an archive."),
    "doctor": ("doctor", "Check the machine, the lab and the settings."),
}
"""For each command NAME: the module that has the function ``NAME_command``, and the line that --help shows."""


_OF_ANOTHER_GIT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
"""Variables that git sets for its hooks and for `rebase --exec`.  Our git commands run without these variables, which
would send the commands to the user's worktree."""


class Commands(click.Group):
    """A group that knows the help line of every command without importing the command."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"autoresearch_mlx.cli.{_COMMANDS[name][0]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and (near := difflib.get_close_matches(args[0], _COMMANDS, 1)):
            context.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except BrokenPipeError:
            # The reader of our output is gone (`| head`); send the rest of the output to /dev/null.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(0) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="autoresearch-mlx")
def group() -> None:
    """Research loops on Apple Silicon: edit one file, train for a fixed time on MLX, measure, keep or revert.

    \b
    autoresearch-mlx run                      run experiments all night on this machine
    autoresearch-mlx run --experiments 6      stop after six
    autoresearch-mlx log                      list what was tried, with the results
    """


def main() -> None:
    """Run the command that the command line names; turn an error or an interruption into text and an exit code."""
    gc.set_threshold(
        100_000, 20, 10
    )  # collecting garbage among the million values of a long ledger doubled the time of `status`
    for name in _OF_ANOTHER_GIT:
        os.environ.pop(name, None)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a title may have characters that the terminal's encoding lacks
    try:
        group.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except AutoresearchError as error:
        _fail(error)
    except OSError as error:
        known = refused_by_disk(error) or _folder_is_gone()
        if known is None:
            raise  # a bug of this tool: show the traceback
        _fail(known)
    except KeyboardInterrupt:
        sys.exit(130)


def _folder_is_gone() -> AutoresearchError | None:
    try:
        Path.cwd()
    except FileNotFoundError:
        return AutoresearchError("the current folder no longer exists", "`cd` to the lab, then try again")
    return None


def _fail(error: AutoresearchError) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    if error.hint:
        from autoresearch_mlx.cli.options import callable_here

        click.echo(f"hint: {callable_here(error.hint)}", err=True)
    sys.exit(1)
