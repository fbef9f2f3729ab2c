"""The display of a running loop without a terminal, and the note that it writes."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoresearch_mlx.experiment import Experiment, Progress
from autoresearch_mlx.report.live_line import Scene, live_line
from autoresearch_mlx.report.now import read_lanes
from autoresearch_mlx.report.screens import LiveScreen, Noted, PlainScreen, open_screen
from autoresearch_mlx.terms import columns

TRAINING = Progress("train", 143, 2.9213, 11520.4, 7.0)
SCENE = Scene(12, "MATRIX_LR 0.04 -> 0.028", TRAINING, 2.431022, 13260.0)


@dataclass
class Hand:
    """A clock that stands still until it is set."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


class TestLine:
    def test_everything_where_there_is_room(self) -> None:
        told = "train step 143 loss 2.9213 | 11,520 tok/s | 0:07 left | best 2.431022 | ETA 3:41:00"
        assert live_line(SCENE, 160) == f"#12 MATRIX_LR 0.04 -> 0.028 | {told}"

    def test_the_title_and_the_time_left_stay_longest(self) -> None:
        assert live_line(SCENE, 99).endswith("loss 2.9213 | 0:07 left | best 2.431022 | ETA 3:41:00")
        assert live_line(SCENE, 59) == "#12 MATRIX_LR 0.04 -> 0.028 | train step 143 | 0:07 left"

    @pytest.mark.parametrize("width", [1, 2, 5, 20, 40, 59, 79, 99, 159])
    @pytest.mark.parametrize("title", ["", "x", "試してみる" * 9, "a b" * 60, "bell \a and\nline"])
    def test_it_never_exceeds_the_width(self, title: str, width: int) -> None:
        line = live_line(Scene(12, title, TRAINING, 2.431022, 13260.0), width)
        assert columns(line) <= width
        assert line.isprintable()

    def test_between_two_experiments(self) -> None:
        assert live_line(Scene(best=2.5), 80) == "waiting for a proposal | best 2.500000"
        assert live_line(Scene(), 80) == "waiting for a proposal"
        paused = Scene(best=2.5, progress=Progress("paused"))
        assert live_line(paused, 80) == "paused by hand | best 2.500000"

    def test_unknown_numbers_are_left_out(self) -> None:
        assert live_line(Scene(0, "baseline", Progress("compile")), 80) == "#0 baseline | compile"

    def test_the_wait_for_a_quiet_machine_says_how_long_and_why(self) -> None:
        quiet = Progress("waiting", words="for a quiet machine, at most 0:51 (python takes 100 % of the processor)")
        assert live_line(Scene(0, "baseline", quiet), 120) == f"#0 baseline | waiting {quiet.words}"
        assert "waiting for a quiet machine, at most 0:51" in live_line(Scene(0, "baseline", quiet, 2.5), 80)
        out = io.StringIO()
        screen = PlainScreen(out, "val_bpb", Hand())
        screen.started(0, "baseline", None, None)
        for _ in range(3):
            screen.progress(quiet)
        assert out.getvalue().count(f"#0 | waiting {quiet.words}") == 1

    def test_the_end_comes_nearer(self) -> None:
        assert SCENE.after(60).eta_seconds == 13200
        assert SCENE.after(1e6).eta_seconds == 0
        assert Scene().after(5).eta_seconds is None


class TestPlain:
    def test_lines_with_the_time_of_day(self, experiments: Sequence[Experiment]) -> None:
        out = io.StringIO()
        screen = PlainScreen(out, "val_bpb", Hand())
        screen.say("session jul14")
        screen.started(1, "MATRIX_LR 0.04 -> 0.028", 2.512345, 13260.0)
        screen.finished(experiments[1])
        screen.close()
        lines = out.getvalue().splitlines()
        assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
        assert lines[0][9:] == "session jul14"
        assert lines[1][9:] == "#1 MATRIX_LR 0.04 -> 0.028 | best 2.512345 | ETA 3:41:00"
        assert lines[2][9:].startswith("#1   keep      val_bpb 2.431022  +0.081323")

    def test_progress_at_most_every_half_minute(self) -> None:
        out, hand = io.StringIO(), Hand()
        screen = PlainScreen(out, "val_bpb", hand)
        screen.started(1, "long", None, None)
        for tenth in range(900):
            hand.seconds = tenth / 10
            screen.progress(TRAINING)
        told = [line[9:] for line in out.getvalue().splitlines()[1:]]
        assert told == ["#1 | train step 143 loss 2.9213 | 11,520 tok/s | 0:07 left"] * 2

    def test_a_pause_of_hours_adds_no_line(self) -> None:
        out, hand = io.StringIO(), Hand()
        screen = PlainScreen(out, "val_bpb", hand)
        for hand.seconds in range(7200):
            screen.progress(Progress("paused"))
        assert out.getvalue() == ""

    def test_no_code_of_a_title_reaches_the_log(self) -> None:
        out = io.StringIO()
        PlainScreen(out, "val_bpb").say("a\x1b[2Jb\rc")
        assert [line[9:] for line in out.getvalue().splitlines()] == ["ab", "c"]


class TestLanes:
    """Tests of progress reports that name their experiment, and so belong to a lane."""

    def test_a_terminal_has_a_line_for_each(self, experiments: Sequence[Experiment]) -> None:
        out = io.StringIO()
        screen = LiveScreen(out, "val_bpb", Hand())
        for number in (1, 2):
            screen.started(number, f"try {number}", None, None)
            screen.progress(Progress("train", number=number))
        shown = out.getvalue()[out.getvalue().rfind("#1 try 1") :]
        assert "#2 try 2" in shown
        before = len(out.getvalue())
        screen.finished(experiments[1])
        screen.progress(Progress("guard", number=2))
        assert "#1 try 1" not in out.getvalue()[before:].split("guard")[-1]
        screen.close()

    def test_without_a_terminal_each_is_told_of_in_its_own_time(self) -> None:
        out, hand = io.StringIO(), Hand()
        screen = PlainScreen(out, "val_bpb", hand)
        for number in (1, 2):
            screen.started(number, f"try {number}", None, None)
        hand.seconds = 31.0
        for number in (1, 2, 1, 2):
            screen.progress(Progress("train", number=number))
        assert [line[9:] for line in out.getvalue().splitlines()[2:]] == ["#1 | running", "#2 | running"]


class TestNoted:
    def test_the_note_follows_the_measurement(self, tmp_path: Path, experiments: Sequence[Experiment]) -> None:
        hand, path = Hand(), tmp_path / "now.json"
        screen = Noted(PlainScreen(io.StringIO(), "val_bpb"), tmp_path, hand)
        assert not path.exists()
        screen.started(1, "DEPTH 4 -> 5", None, None)
        assert (note(path)["number"], note(path)["title"], note(path)["phase"]) == (1, "DEPTH 4 -> 5", None)
        screen.progress(TRAINING)
        assert (note(path)["pid"], note(path)["phase"], note(path)["step"]) == (os.getpid(), "train", 143)
        screen.finished(experiments[1])
        assert not path.exists()

    def test_it_is_written_once_a_second_and_at_every_phase(self, tmp_path: Path) -> None:
        hand, path = Hand(), tmp_path / "now.json"
        screen = Noted(PlainScreen(io.StringIO(), "val_bpb"), tmp_path, hand)
        screen.started(1, "x", None, None)
        told = []
        for step, seconds, phase in ((1, 0.0, "train"), (2, 0.9, "train"), (3, 1.0, "train"), (4, 1.1, "evaluate")):
            hand.seconds = seconds
            screen.progress(Progress(phase, step))  # type: ignore[arg-type]
            told.append(note(path)["step"])
        assert told == [1, 1, 3, 4]

    def test_each_lane_has_its_own_part(self, tmp_path: Path, experiments: Sequence[Experiment]) -> None:
        screen = Noted(PlainScreen(io.StringIO(), "val_bpb"), tmp_path, Hand())
        for number, phase in ((2, "train"), (1, "guard")):
            screen.started(number, f"try {number}", None, None)
            screen.progress(Progress(phase, number=number))  # type: ignore[arg-type]
        assert [(lane.number, lane.title, lane.phase) for lane in read_lanes(tmp_path)] == [
            (1, "try 1", "guard"),
            (2, "try 2", "train"),
        ]
        screen.finished(experiments[1])
        assert [lane.number for lane in read_lanes(tmp_path)] == [2]
        screen.finished(experiments[2])
        assert not (tmp_path / "now.json").exists()

    def test_close_leaves_nothing(self, tmp_path: Path) -> None:
        screen = Noted(PlainScreen(io.StringIO(), "val_bpb"), tmp_path)
        screen.started(1, "x", None, None)
        screen.close()
        screen.close()
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_gone_stops_nothing(self, tmp_path: Path) -> None:
        screen = Noted(PlainScreen(io.StringIO(), "val_bpb"), tmp_path / "gone")
        screen.started(1, "x", None, None)
        screen.progress(TRAINING)
        screen.close()


def note(path: Path) -> dict[str, object]:
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("kind", [PlainScreen, LiveScreen])
@pytest.mark.parametrize("ending", ["reader gone", "closed"])
def test_a_lost_reader_stops_nothing(
    kind: type[PlainScreen] | type[LiveScreen], ending: str, experiments: Sequence[Experiment]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1)
    screen = kind(stream, "val_bpb")
    if ending == "closed":
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)
        stream.close()
    before = sys.stderr
    screen.say("hello")
    screen.started(1, "x", None, None)
    screen.progress(TRAINING)
    screen.finished(experiments[1])
    screen.close()
    assert sys.stderr is before
    os.dup2(os.open(os.devnull, os.O_WRONLY), writing) if not stream.closed else None


def test_without_a_terminal_the_lines_are_plain(tmp_path: Path) -> None:
    out = io.StringIO()
    screen = open_screen(out, tmp_path, "val_bpb")
    screen.started(1, "x", None, None)
    screen.close()
    assert re.fullmatch(r"\d\d:\d\d:\d\d #1 x\n", out.getvalue())
