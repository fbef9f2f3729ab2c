"""The title and the reason in a coding agent's output, and the parts of that output that must not be kept."""

import pytest

from autoresearch_mlx.agents.command.shell import secrets
from autoresearch_mlx.agents.command.worktree_changes import title_of, why_of


@pytest.mark.parametrize(
    ("output", "title"),
    [
        ("TITLE: first\nthen\n**TITLE:** second\n", "second"),
        ("- **TITLE: both**\n", "both"),
        ("\x1b[32mTITLE: green\x1b[0m\r\n", "green"),
        ("Thinking...\nDone, X is 3.5 now.\n\n---\n", "Done, X is 3.5 now."),
        ("TITLE: the change in at most 80 characters\nX lowered\n", "X lowered"),  # the agent printed the prompt again
        ("TITLE:   \n" + "long " * 50, ""),
        ("TITLE: " + "x" * 300, "x" * 99 + "…"),
        ("", ""),
    ],
)
def test_the_title_is_the_last_one_said_else_the_last_short_line(output: str, title: str) -> None:
    assert title_of(output, "# How to end\n\nTITLE: the change in at most 80 characters\nTITLE:\n") == title


def test_the_reason_is_the_last_one_said() -> None:
    assert why_of("WHY: a\nWHY: b\n", "") == "b"
    assert why_of("because\n", "") == ""


def test_short_values_and_other_variables_are_no_keys() -> None:
    environment = {"A_KEY": "12345678", "B_TOKEN": "short", "PATH": "/usr/bin:/bin", "C_SECRET": "123456789"}
    assert secrets(environment) == ["123456789", "12345678"]
