"""Steering notes: any process may append one while a run is in progress, and none is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoresearch_mlx.errors import ConfigError, LedgerError
from autoresearch_mlx.store.journal import read_events, writing
from autoresearch_mlx.store.notes import FILE, LONGEST, add_note, clear_notes, read_notes

WRITER = """
import sys
from pathlib import Path
from autoresearch_mlx.store.notes import add_note
for number in range(int(sys.argv[3])):
    add_note(Path(sys.argv[1]), f"{sys.argv[2]} {number}")
"""


def test_notes_are_read_oldest_first(tmp_path: Path) -> None:
    assert read_notes(tmp_path) == ()
    add_note(tmp_path, "try smaller batches first")
    add_note(tmp_path, "leave the tokenizer alone")
    assert read_notes(tmp_path) == ("try smaller batches first", "leave the tokenizer alone")


def test_cleared_notes_hold_no_more_but_stay_in_the_journal(tmp_path: Path) -> None:
    add_note(tmp_path, "old")
    assert (clear_notes(tmp_path), clear_notes(tmp_path)) == (1, 0)
    add_note(tmp_path, "new")
    assert read_notes(tmp_path) == ("new",)
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [(e["event"], e.get("text")) for e in lines] == [("note", "old"), ("cleared", None), ("note", "new")]
    assert all(e["time"] for e in lines)


@pytest.mark.parametrize("text", ["", "  \n\t", "\x1b[31m\x07", "x" * (LONGEST + 1)])
def test_a_note_without_text_or_end_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        add_note(tmp_path, text)
    assert refusal.value.hint
    assert read_notes(tmp_path) == ()


def test_a_note_is_one_line_without_codes_that_a_terminal_obeys(tmp_path: Path) -> None:
    assert add_note(tmp_path, "\x1b[31mred\x1b[0m\nand\x00 bold \udcff試") == "red and bold 試"
    assert read_notes(tmp_path) == ("red and bold 試",)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.binary(max_size=40).filter(lambda b: b"\n" not in b))
def test_a_torn_last_line_was_never_written(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / FILE
    path.unlink(missing_ok=True)
    add_note(tmp_path, "whole")
    with path.open("ab") as file:
        file.write(tail)
    assert read_notes(tmp_path) == ("whole",)
    add_note(tmp_path, "after it")
    assert read_notes(tmp_path) == ("whole", "after it")
    assert read_events(path).damaged == ()


def test_a_line_spoilt_by_hand_costs_that_line_and_is_reported(tmp_path: Path) -> None:
    path = tmp_path / FILE
    add_note(tmp_path, "first")
    with path.open("ab") as file:
        file.write(b'oops\n[1]\n{"event": 7}\n\xff\xfe\n' + b"[" * 100_000 + b'\n{"event": "note", "text": 7}\n')
    add_note(tmp_path, "last")
    assert read_notes(tmp_path) == ("first", "last")
    assert read_events(path).damaged == (2, 3, 4, 5, 6)


def test_events_of_a_later_version_are_left_alone(tmp_path: Path) -> None:
    with writing(tmp_path / FILE) as journal:
        journal.append("withdrawn", number=1)
    add_note(tmp_path, "here")
    assert read_notes(tmp_path) == ("here",)


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be written"):
        add_note(tmp_path / "nowhere", "hello")
    (tmp_path / FILE).mkdir()
    with pytest.raises(LedgerError, match="cannot be read"):
        read_notes(tmp_path)


def test_two_processes_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    each = 40
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name, str(each)]) for name in ("one", "two")
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    notes = read_notes(tmp_path)
    assert len(notes) == 2 * each
    for name in ("one", "two"):
        assert [note for note in notes if note.startswith(name)] == [f"{name} {number}" for number in range(each)]


@pytest.mark.uncounted  # a limit on file sizes damages the file of coverage counts
def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    add_note(tmp_path, "before")
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"size = __import__('os').path.getsize({str(tmp_path / FILE)!r}) + 30\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "from pathlib import Path\n"
        "from autoresearch_mlx.errors import LedgerError\n"
        "from autoresearch_mlx.store.notes import add_note\n"
        f"try: add_note(Path({str(tmp_path)!r}), 'too much')\n"
        "except LedgerError as error: sys.exit(str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "cannot be written" in done.stderr) == (1, True), done.stderr
    assert (tmp_path / FILE).read_bytes().endswith(b"\n")
    assert read_notes(tmp_path) == ("before",)
