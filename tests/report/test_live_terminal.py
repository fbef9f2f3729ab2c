"""The live line on a real terminal: a child process draws, and this process reads what a terminal would read."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

WIDTH = 60
CHILD = Path(__file__).parent / "night_on_a_terminal.py"
CODES = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")


class Terminal:
    """A terminal with the few codes that rich uses for one line: text, CR, LF, erase line, cursor up, colours."""

    def __init__(self, width: int) -> None:
        self.width, self.lines, self.row, self.column = width, [""], 0, 0
        self.wraps, self.cursor, self.widest = 0, True, 0

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            code = CODES.match(text, at)
            if code:
                self._obey(*code.groups())
                at = code.end()
            else:
                self._put(text[at])
                at += 1

    def _obey(self, numbers: str, letter: str) -> None:
        if letter == "K":
            self.lines[self.row] = ""
        elif letter == "A":
            self.row -= int(numbers or 1)
        elif numbers == "?25":
            self.cursor = letter == "h"

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            self.lines += [""] * (self.row == len(self.lines))
        else:
            if self.column == self.width:
                self.wraps += 1
                self._put("\n")
                self.column = 0
            self.lines[self.row] = self.lines[self.row].ljust(self.column)[: self.column] + character
            self.column += 1
            self.widest = max(self.widest, self.column)


def play(*arguments: str, interrupt: bool = False, **environment: str) -> tuple[str, Terminal, int]:
    """Return the child's output, the terminal after it, and the exit code."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, WIDTH))
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "COLORTERM")}
    child = subprocess.Popen(
        [sys.executable, str(CHILD), *arguments],
        stdin=slave,
        stdout=subprocess.DEVNULL,
        stderr=slave,
        env={**clean, "TERM": "xterm-256color", **environment},
    )
    os.close(slave)
    out = b""
    try:
        while chunk := os.read(master, 4096):
            out += chunk
            if interrupt and b"step" in out:
                child.send_signal(signal.SIGINT)
                interrupt = False
    except OSError:  # on Linux, this error means that the child has closed its end
        pass
    os.close(master)
    terminal = Terminal(WIDTH)
    terminal.feed(out.decode())
    return out.decode(), terminal, child.wait(timeout=10)


def shown(terminal: Terminal) -> list[str]:
    return [line.rstrip() for line in terminal.lines if line.strip()]


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Terminal, list[Path]]:
    """Play one night to its end; return the output, the terminal after it, and the files that are left."""
    folder = tmp_path_factory.mktemp("session")
    text, terminal, code = play(str(folder))
    assert code == 0
    return text, terminal, list(folder.iterdir())


def test_verdicts_stay_and_the_live_line_goes(evening: tuple[str, Terminal, list[Path]]) -> None:
    text, terminal, left = evening
    assert shown(terminal) == [
        "session jul14",
        "#1   keep      2.431022  +0.081323  MATRIX_LR 0.04 -> 0.028",
        "a warning of some library",
        "#2   discard   2.436022  -0.005000  a title that is far to…",
        "#3   crash     ValueError: shapes (DEPTH 4 -> 6)",
        "done",
    ]
    assert "train step" in text and "left" in text
    assert left == []


def test_no_line_wraps_and_the_cursor_comes_back(evening: tuple[str, Terminal, list[Path]]) -> None:
    text, terminal, _ = evening
    assert (terminal.wraps, terminal.cursor) == (0, True)
    assert terminal.widest < WIDTH
    assert "\x1b[?25l" in text


def test_status_words_have_colours_unless_the_user_wants_none(
    evening: tuple[str, Terminal, list[Path]], tmp_path: Path
) -> None:
    text, terminal, _ = evening
    assert "\x1b[1;32mkeep\x1b[0m" in text
    assert "\x1b[2mdiscard\x1b[0m" in text
    assert "\x1b[31mcrash\x1b[0m" in text
    bare, same, _ = play(str(tmp_path), NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*m", bare)
    assert shown(same) == shown(terminal)


def test_ctrl_c_leaves_a_clean_terminal(tmp_path: Path) -> None:
    _, terminal, code = play(str(tmp_path), "slow", interrupt=True)
    assert code == 130
    assert shown(terminal) == ["session jul14", "interrupted"]
    assert terminal.cursor
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_that_vanishes_stops_nothing(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    child = subprocess.Popen([sys.executable, str(CHILD), str(tmp_path)], stderr=slave, start_new_session=True)
    os.close(slave)
    time.sleep(0.05)
    os.close(master)
    assert child.wait(timeout=10) == 0


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(tmp_path: Path, term: str) -> None:
    text, _, code = play(str(tmp_path), TERM=term)
    assert code == 0
    assert "\x1b" not in text
    assert "DEPTH 4 -> 6" in text
