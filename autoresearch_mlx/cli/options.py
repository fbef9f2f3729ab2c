"""Options that several commands share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from autoresearch_mlx.lab import Lab, find_lab

Function = TypeVar("Function", bound=Callable[..., Any])


def lab_here() -> Lab:
    return find_lab(Path.cwd())


def say(text: str) -> None:
    """Talk goes to stderr; stdout is for data."""
    click.echo(text, err=True)


def width() -> int:
    """Columns of the terminal; 100 without one."""
    return shutil.get_terminal_size((100, 24)).columns


def tag_option(function: Function) -> Function:
    return click.option("--tag", metavar="TAG", help="The session; default: the one worked on last.")(function)


def json_option(function: Function) -> Function:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")(function)


class TrainingBudget(click.ParamType[str]):
    """Seconds, ``auto``, ``match-tokens:N`` or ``match-flops:N``."""

    name = "BUDGET"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        from autoresearch_mlx.budget import normal

        try:
            return normal(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, context)
