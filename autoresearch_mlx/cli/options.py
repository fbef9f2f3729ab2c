"""Options that several commands share."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from autoresearch_mlx.lab.lab import Lab, find_lab

Function = TypeVar("Function", bound=Callable[..., Any])


def lab_here() -> Lab:
    return find_lab(Path.cwd())


def say(text: str) -> None:
    """Talk goes to stderr; stdout is for data."""
    click.echo(text, err=True)


def width() -> int:
    """Columns of the terminal; 100 without one."""
    return shutil.get_terminal_size((100, 24)).columns


def uncollected() -> None:
    """For a command that reads, prints and ends: nothing of it is garbage before its end, and looking for some among
    the million values of a long ledger takes as long as reading them."""
    gc.disable()


def tag_option(function: Function) -> Function:
    return click.option("--tag", metavar="TAG", help="The session; default: the one worked on last.")(function)


def json_option(function: Function) -> Function:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")(function)


class TrainingBudget(click.ParamType[str]):
    """Seconds, ``auto``, ``match-tokens:N`` or ``match-flops:N``."""

    name = "BUDGET"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        from autoresearch_mlx.lab.budget import normal

        try:
            return normal(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, context)


class Clock(click.ParamType[float]):
    """A time of day; the value is when it comes next, in seconds since 1970."""

    name = "HH:MM"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return next_time(value)
        except ValueError:
            self.fail(f"{value!r} is no time of day; for example 07:00", param, context)


def next_time(text: str) -> float:
    """The next time that the clock shows this, in seconds since 1970.  Raises ValueError."""
    from datetime import datetime, timedelta

    wanted = datetime.strptime(text, "%H:%M").time()
    now = datetime.now()
    at = datetime.combine(now.date(), wanted)
    return (at if at > now else at + timedelta(days=1)).timestamp()


def count(text: str) -> int:
    """Raises ValueError."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def positive(text: str) -> float:
    """Raises ValueError."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number
