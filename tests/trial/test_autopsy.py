"""One line says how a child process ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoresearch_mlx.trial.autopsy import how_it_ended, last_exception, tail_of


def log(folder: Path, text: str | bytes) -> Path:
    path = folder / "log.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


TRACEBACK = """\
step 3 loss 2.5
Traceback (most recent call last):
  File "train_mlx.py", line 3, in <module>
    ValueError: not this one, it is indented
{}
"""


@pytest.mark.parametrize(
    "line",
    [
        "ValueError: [matmul] Last dimension of first input with shape (2,3) must match",
        "KeyboardInterrupt",
        "AssertionError",
        "StopIteration: 3",
        "my_package.errors.ShapeError: (1, 2)",
        "subprocess.TimeoutExpired: Command timed out",
        "RuntimeError: größer als 試",
    ],
)
def test_the_exception_it_died_of(tmp_path: Path, line: str) -> None:
    assert how_it_ended(1, log(tmp_path, TRACEBACK.format(line))) == line


def test_the_last_exception_of_several_counts(tmp_path: Path) -> None:
    first = TRACEBACK.format("KeyError: 'a'")
    again = "\nDuring handling of the above exception, another exception occurred:\n\n" + TRACEBACK.format("OSError: b")
    assert last_exception(log(tmp_path, first + again + "cleaning up\n")) == "OSError: b"


@pytest.mark.parametrize(
    ("returncode", "text", "said"),
    [
        (3, "all fine\n", "exit code 3; its last line: all fine"),
        (1, "", "exit code 1 without an error message"),
        (-9, "MemoryError: no\n", "killed by the system (signal 9): most often out of memory"),
        (-11, "step 4\n", "died of signal 11"),
        (-6, "libc++abi: terminating due to [METAL]\n", "died of signal 6: libc++abi: terminating due to [METAL]"),
        (-6, "terminate called\n  what():  [malloc] no\n", "died of signal 6: what():  [malloc] no"),
        (137, "", "killed by the system (signal 9): most often out of memory"),
        (127, "val_loss: 3\nsh: 1: trian: not found\n", "exit code 127: sh: 1: trian: not found"),
        (126, "sh: 1: ./bench: Permission denied\n", "exit code 126: sh: 1: ./bench: Permission denied"),
    ],
)
def test_without_an_exception_the_code_or_the_signal_speaks(
    tmp_path: Path, returncode: int, text: str, said: str
) -> None:
    assert how_it_ended(returncode, log(tmp_path, text)) == said


def test_a_long_message_is_cut_and_bytes_that_are_no_text_are_read_over(tmp_path: Path) -> None:
    assert how_it_ended(1, log(tmp_path, b"\xff\xfe\nValueError: " + b"x" * 999)) == "ValueError: " + "x" * 288


def test_an_exception_far_above_the_end_is_another_matter(tmp_path: Path) -> None:
    assert last_exception(log(tmp_path, "ValueError: early\n" + "step\n" * 300)) is None


def test_without_a_log_the_code_still_speaks(tmp_path: Path) -> None:
    assert how_it_ended(2, tmp_path / "none") == "exit code 2 without an error message"
    assert tail_of(tmp_path / "none") == ""


def test_the_tail_is_the_last_lines(tmp_path: Path) -> None:
    path = log(tmp_path, "".join(f"{n}\n" for n in range(50)))
    assert tail_of(path, 3) == "47\n48\n49"
    assert len(tail_of(path).splitlines()) == 30


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_no_plain_log_is_not_read(kind: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "secret").write_text("KeyError: secret\n")
    {"pipe": lambda: os.mkfifo(log), "link": lambda: log.symlink_to(tmp_path / "secret"), "folder": log.mkdir}[kind]()
    assert tail_of(log) == ""
    assert how_it_ended(1, log) == "exit code 1 without an error message"
