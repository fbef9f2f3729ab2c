"""Text from files and people is read correctly: byte order marks, tiny and huge numbers, titles with control codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import command_line, git, write_command_lab

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.report.dashboard.views import sendable, session_view
from autoresearch_mlx.store.ledger import FILE, read

EVIL = "red \x1b[31malert\x07 \u202eesrever\u202c \u2066iso\u2069 a\tb \u200fend"
HIDDEN = ("\x1b", "\x07", "\u202e", "\u202c", "\u2066", "\u2069", "\u200f")


def said(lab: Lab, *arguments: str) -> str:
    done = command_line(*arguments, cwd=lab.root)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def tried(root: Path, scale: str) -> Lab:
    """Return a lab after a baseline and one edit, ``X = 3.5``; all its scores are multiplied by ``scale``."""
    lab = write_command_lab(root)
    (lab.root / "solver.py").write_bytes(b"\xef\xbb\xbfX = 4.0  # knob: lin 0 10\r\nY = 5\r\n")
    (lab.root / "bench.py").write_text(
        "from solver import X\n"
        f"print('10 %\\r100 %\\r\\x1b[32mMETRIC score=' + repr(X * {scale}) + '\\x1b[0m', end='\\r\\n')\n"
    )
    settings = lab.root / "lab.toml"
    settings.write_bytes(b"\xef\xbb\xbf" + settings.read_bytes() + b"[judge]\nmode = 'margin'\nmargin = 0.0\n")
    git(lab.root, "commit", "-qam", "text as it is")
    (lab.root / "solver.py").write_bytes(b"\xef\xbb\xbfX = 3.5  # knob: lin 0 10\r\nY = 5\r\n")
    said(lab, "try", "-m", EVIL)
    return lab


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scale", "before", "after", "gain"),
    [("1e-9", "4e-09", "3.5e-09", "+5e-10"), ("1e12", "4e+12", "3.5e+12", "+5e+11")],
)
def test_numbers_of_any_size_are_seen_in_every_view_and_go_back_in(
    tmp_path: Path, scale: str, before: str, after: str, gain: str
) -> None:
    lab = tried(tmp_path / "lab", scale)
    (tag,) = lab.tags()
    said(lab, "report")
    page = (lab.folder(tag) / "report" / "report.md").read_text()
    for text in (said(lab, "log"), said(lab, "status"), page):
        assert before in text and after in text and "0.000000" not in text
    assert after in (shown := said(lab, "show", "1")) and gain in shown
    for name in ("results.tsv", FILE):
        text = said(lab, "compare", "--import", str(lab.folder(tag) / name), "--alone")
        assert all(words in text for words in (before, after, gain, "+12.500")), text


@pytest.mark.slow
def test_titles_leave_their_control_codes_in_the_ledger(tmp_path: Path) -> None:
    lab = tried(tmp_path / "lab", "1")
    (tag,) = lab.tags()
    folder = lab.folder(tag)
    journal = read(folder / FILE)
    assert journal.history.experiments[1].title == EVIL
    said(lab, "report")
    views = [
        *(said(lab, *words) for words in (["log"], ["show", "1"], ["status"])),
        said(lab, "compare", "--import", str(folder / "results.tsv"), "--alone", "--json"),
        *((folder / name).read_text() for name in ("results.tsv", "report/report.html", "report/report.md")),
        json.dumps(sendable(session_view(folder, journal, None)), ensure_ascii=False),
    ]
    assert [[mark for mark in HIDDEN if mark in view] for view in views] == [[]] * len(views)
    assert "red alert" in views[0] and "esrever" in views[0]
    assert len((folder / "results.tsv").read_text().splitlines()[2].split("\t")) == 12
