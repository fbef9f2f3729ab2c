"""Define the options that several commands share."""

from __future__ import annotations

import gc
import math
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from autoresearch_mlx.lab.lab import Lab, find_lab

Function = TypeVar("Function", bound=Callable[..., Any])


class NumberRange(click.FloatRange):
    """A number between two bounds.  Unlike Click's own type, it refuses nan."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def lab_here() -> Lab:
    return find_lab(Path.cwd())


def say(text: str) -> None:
    """Print a message to stderr; stdout is for data."""
    click.echo(text, err=True)


def width() -> int:
    """Return the number of columns of the terminal; 100 if there is no terminal."""
    return shutil.get_terminal_size((100, 24)).columns


def uncollected() -> None:
    """Turn garbage collection off, for a command that reads, prints and ends.

    Such a command makes no garbage.  A search for garbage among the million values of a long ledger would take as long
    as reading the ledger.
    """
    gc.disable()


def itself() -> str:
    """Return the words with which a shell calls this program: its name, or its path if the name is not on PATH.

    The PATH of a coding agent's shell may differ from the user's PATH.
    """
    here, name = Path(sys.argv[0]), "autoresearch-mlx"
    if here.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m autoresearch_mlx"
    return shlex.quote(str(here.absolute())) if shutil.which(name) is None and here.is_file() else name


def callable_here(text: str) -> str:
    """Replace the program's name in ``text`` by the program's path, unless the shell finds the name on PATH."""
    ours = itself()
    if not ours.endswith("/autoresearch-mlx"):
        return text
    # A name that already follows a path stays as it is.
    return re.sub(r"(?<!/)autoresearch-mlx ", lambda found: f"{ours} ", text)


def sandbox_option(function: Function) -> Function:
    words = "Refuse to measure when edited code cannot be confined."
    return click.option("--require-sandbox", is_flag=True, default=None, help=words)(function)


def tag_option(function: Function) -> Function:
    return click.option("--tag", metavar="TAG", help="Name of the session; default: the session that was used last.")(
        function
    )


def json_option(function: Function) -> Function:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")(function)


class TrainingBudget(click.ParamType[str]):
    """A training budget: seconds, ``auto``, ``match-tokens:N`` or ``match-flops:N``."""

    name = "BUDGET"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        from autoresearch_mlx.lab.budget import normal

        try:
            return normal(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, context)


class Clock(click.ParamType[float]):
    """A time of day such as ``07:00``; the value is the next moment with this time of day, in seconds since 1970."""

    name = "HH:MM"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return next_time(value)
        except ValueError:
            self.fail(f"{value!r} is not a time of day; for example 07:00", param, context)


class Hours(click.ParamType[float]):
    """A finite number of hours above 0."""

    name = "H"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        try:
            return positive(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a number of hours above 0; for example 7.5", param, context)


def next_time(text: str) -> float:
    """Return the next moment with the time of day ``HH:MM``, in seconds since 1970.  Raises ValueError."""
    from datetime import datetime, timedelta

    wanted = datetime.strptime(text, "%H:%M").time()
    now = datetime.now()
    at = datetime.combine(now.date(), wanted)
    return (at if at > now else at + timedelta(days=1)).timestamp()


def count(text: str) -> int:
    """Return the text as a whole number, 0 or more.  Raises ValueError."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def at_least_one(text: str) -> int:
    """Return the text as a whole number, 1 or more.  Raises ValueError."""
    if (number := count(text)) < 1:
        raise ValueError(text)
    return number


def positive(text: str) -> float:
    """Return the text as a finite number above 0.  Raises ValueError."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number
