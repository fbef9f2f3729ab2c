"""Notifications to a person who is away: the commands as they are started."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from autoresearch_mlx.hardware.notification import desktop_command, missing, send


def test_on_a_mac_the_words_are_arguments_and_never_code() -> None:
    text = 'kept "it" & said `so`\nend run'
    assert desktop_command("Darwin", "autoresearch-mlx", text) == [
        "osascript",
        *("-e", "on run argv"),
        *("-e", "display notification (item 2 of argv) with title (item 1 of argv)"),
        *("-e", "end run"),
        *("autoresearch-mlx", text),
    ]


def test_on_a_linux_desktop_words_that_look_like_options_are_words(tmp_path: Path) -> None:
    program = tmp_path / "notify-send"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/told\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    code = "from autoresearch_mlx.hardware.notification import send; print(send('desktop', '-t', '--help'))"
    around = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", code], env=around, capture_output=True, text=True)
    assert done.stdout == "None\n", done.stderr
    assert (tmp_path / "told").read_text().splitlines() == ["--app-name", "autoresearch-mlx", "--", "-t", "--help"]


def test_a_shell_line_gets_the_words_on_its_standard_input(tmp_path: Path) -> None:
    assert send(f"cat > {tmp_path}/told; echo $WHO >> {tmp_path}/told", "title", "a\nb", {"WHO": "me"}) is None
    assert (tmp_path / "told").read_text() == "title\na\nb\nme\n"


def test_what_went_wrong_is_an_answer_in_words() -> None:
    assert send("echo away >&2; exit 3", "t", "x") == "ended with 3 away"
    assert send("exec /no/such/program 2>/dev/null", "t", "x") in ("ended with 127", "ended with 2")


def test_a_missing_program_is_told_before_the_night_and_a_shell_command_is_not_tried() -> None:
    lines = (
        "from autoresearch_mlx.hardware.notification import missing, send",
        "print(missing('desktop'), send('desktop', 't', 'x'))",
    )
    code = "; ".join(lines)
    done = subprocess.run([sys.executable, "-c", code], env={"PATH": "/nonexistent"}, capture_output=True, text=True)
    name = "osascript" if sys.platform == "darwin" else "notify-send"
    assert done.stdout == f"{name} is not installed {name} is not installed\n"
    assert missing("no-such-program") is None
