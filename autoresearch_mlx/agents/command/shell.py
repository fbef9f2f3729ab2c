"""Call a coding agent's shell command once, in a worktree of its own.

The worktree has the same branches, tags and stashes as the user's repository.  A hook keeps the agent's git from
changing branches, tags and stashes; the agent may still commit on the detached HEAD.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoresearch_mlx.trial.orphans import end_orphans
from autoresearch_mlx.trial.runner import Ended, Log, child_process_environment, run_child
from autoresearch_mlx.trial.sandbox.limits import MARKER, Limits, Watch

EXPERIMENT_ENV, PROMPT_ENV = "AUTORESEARCH_EXPERIMENT", "AUTORESEARCH_PROMPT"
"""Environment variables of a call: the experiment's number, and the path of a file with the prompt."""
_HOOK = """\
#!/bin/sh
# Git calls this script when refs change: with the state as its argument, and the refs on standard input.
test "$1" = prepared || exit 0
while read -r old new ref; do
    case "$ref" in
        refs/bisect/* | refs/worktree/* | refs/rewritten/*) ;;
        refs/*)
            echo "autoresearch-mlx: $ref belongs to the person; edit the files, and leave git alone" >&2
            exit 1 ;;
    esac
done
"""
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
_SECRET = 8
"""Least length of a secret, in characters; a shorter value could be an ordinary word."""


@dataclass(frozen=True, slots=True)
class Called:
    """How a call ended, and the last megabyte of its output as text."""

    ended: Ended
    output: str


def call(
    line: str, tree: Path, prompt: str, number: int, seconds: float, log: Path, files: Sequence[str] = ()
) -> Called:
    """Run the shell command in ``tree`` and write its output to ``log``.

    All processes that the command started are ended after the call.  ``files`` has the paths of the editable files,
    which the shell command can use as ``"$@"``.  Raises OSError when the log cannot be written.
    """
    end, began, marker = time.monotonic() + seconds, time.time(), uuid.uuid4().hex
    with tempfile.NamedTemporaryFile() as told, _short_lead(tree) as leash, Log(log) as kept:
        # The prompt comes from a file and not from a pipe, so a program that does not read all of it blocks nothing.
        told.write(prompt.encode(errors="replace"))
        told.seek(0)
        known = {EXPERIMENT_ENV: str(number), PROMPT_ENV: told.name, MARKER: marker}
        try:
            ended = run_child(
                ["/bin/sh", "-c", line, "sh", *files],
                cwd=tree,
                environment=child_process_environment({**known, **leash}),
                log=kept,
                allowed=lambda: f"did not end within {seconds:g} s and was killed" if time.monotonic() > end else None,
                stdin=told,
                watch=Watch(Limits(), marker),
            )
        finally:
            end_orphans(_top(tree), since=began)
    return Called(ended, _blotted(log, secrets(os.environ)))


def secrets(environment: Mapping[str, str]) -> list[str]:
    """Return the values of all variables that are named like keys, longest first."""
    values = {value for name, value in environment.items() if _SECRET_NAME.search(name) and len(value) >= _SECRET}
    return sorted(values, key=len, reverse=True)


def _blotted(log: Path, values: list[str]) -> str:
    """Return the log's text without the keys that the program printed; if there are keys, rewrite the log as well."""
    data = log.read_bytes()
    clean = data
    for value in values:
        clean = clean.replace(value.encode(errors="surrogateescape"), b"***")
    if clean != data:
        log.write_bytes(clean)
    return clean.decode(errors="replace")


@contextmanager
def _short_lead(tree: Path) -> Iterator[dict[str, str]]:
    """Yield environment variables with which git stays inside the worktree and changes no refs.

    The variables work only inside the ``with`` block.
    """
    with tempfile.TemporaryDirectory() as hooks:
        hook = Path(hooks) / "reference-transaction"
        hook.write_text(_HOOK)
        hook.chmod(0o755)
        known = os.environ.get("GIT_CONFIG_COUNT", "")
        count = int(known) if known.isdigit() else 0
        yield {
            # If the worktree has lost its `.git` file, this variable keeps git out of the user's checkout.
            "GIT_CEILING_DIRECTORIES": str(_top(tree).resolve().parent),
            "GIT_CONFIG_COUNT": str(count + 1),
            f"GIT_CONFIG_KEY_{count}": "core.hooksPath",
            f"GIT_CONFIG_VALUE_{count}": hooks,
        }


def _top(tree: Path) -> Path:
    return next((folder for folder in (tree, *tree.parents) if (folder / ".git").exists()), tree)
