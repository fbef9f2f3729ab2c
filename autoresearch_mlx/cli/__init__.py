"""The command line: parse, one call, print.  The only place where errors become text.

Commands are imported when they are asked for, so that ``--help`` and ``status`` start at once.
stdout is data, stderr is talk.  Exit codes: 0 done, 1 error, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import difflib
import gc
import importlib
import io
import os
import sys
from typing import NoReturn

import click

from autoresearch_mlx import __version__
from autoresearch_mlx.errors import AutoresearchError, refused_by_disk

_COMMANDS = {
    "init": ("lab", "Make a lab: a directory with train_mlx.py, program.md and lab.toml."),
    "prepare": ("data", "Turn text into tokens: once, before the first run."),
    "run": ("run", "Research until told to stop: edit, train, measure, keep or revert."),
    "try": ("run", "Measure your own edit of the file as one experiment."),
    "plan": ("plan", "How many experiments fit into the time, and into the memory."),
    "certify": ("certify", "The head against an earlier version: fresh seeds, hidden rows, runs in turn."),
    "evaluate": ("evaluate", "Score kept weights again, on more rows or on upstream's number of tokens."),
    "status": ("read", "Where the session stands."),
    "log": ("read", "Every experiment, one line each."),
    "show": ("read", "One experiment: reason, numbers, diff, log."),
    "diff": ("read", "What an experiment changed, or how two differ."),
    "prompt": ("prompt", "What the model will be told next, with its size."),
    "ideas": ("ideas", "What models are to try: list, add, drop."),
    "steer": ("ideas", "Tell the models what you want, also while they work."),
    "pause": ("control", "Have a run wait after its experiment; `resume` goes on."),
    "resume": ("control", "Go on after `pause`."),
    "stop": ("control", "End a run after its experiment."),
    "skip": ("control", "End the running experiment now, and go on with the next."),
    "policy": ("control", "When a run ends; change it while it goes on."),
    "dashboard": ("dashboard", "Watch and steer in the browser, on this machine only."),
    "report": ("report", "The night as a page, a picture and a text for a post."),
    "compare": ("compare", "This machine's experiments beside the H100's."),
    "gc": ("keep", "Free what a session can spare: old logs, weights, its worktree."),
    "archive": ("keep", "A session as one file, for another machine."),
    "restore": ("keep", "A session out of an archive."),
    "doctor": ("doctor", "Check the machine, the lab and the settings."),
}
"""Name -> (module of this package, one line for --help); the module has a function ``NAME_command``."""


_OF_ANOTHER_GIT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
"""What git sets for its hooks and for `rebase --exec`; handed on, it would lead from our worktree to the user's."""


class Commands(click.Group):
    """Knows every command's line of help without importing it."""

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
            # The reader of our output has gone (`| head`); what is left to flush goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(0) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="autoresearch-mlx")
def group() -> None:
    """Research loops on Apple Silicon: edit one file, train for a fixed time on MLX, measure, keep or revert.

    \b
    autoresearch-mlx run                      research all night on this machine
    autoresearch-mlx run --experiments 6      stop after six
    autoresearch-mlx log                      what was tried, and what came of it
    """


def main() -> None:
    """Run a command; turn what stops it into text and an exit code."""
    gc.set_threshold(100_000, 20, 10)  # a long ledger is a million values that stay: walking them doubled `status`
    for name in _OF_ANOTHER_GIT:
        os.environ.pop(name, None)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a title may hold what the terminal's encoding lacks
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
        known = refused_by_disk(error)
        if known is None:
            raise  # a mistake of ours: its traceback is wanted
        _fail(known)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(error: AutoresearchError) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    sys.exit(1)
