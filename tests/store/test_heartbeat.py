"""Heartbeats of the workers that have claimed experiments."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from autoresearch_mlx.store.heartbeat import FOLDER, Heartbeat, forget, last_beat, last_seen


def test_a_worker_at_work_leaves_a_fresh_sign_of_life_and_an_idle_one_none(tmp_path: Path) -> None:
    assert last_beat(tmp_path, "lane-1") is None
    heart = Heartbeat(tmp_path, "lane-1")
    before = time.time()
    heart.beat()
    found = last_beat(tmp_path, "lane-1")
    assert found is not None and abs(found - before) < 5
    assert last_beat(tmp_path, "lane-2") is None


def test_many_beats_in_a_second_touch_the_disk_once(tmp_path: Path) -> None:
    heart = Heartbeat(tmp_path, "lane-1")
    heart.beat()
    os.utime(tmp_path / FOLDER / "lane-1", (1000, 1000))
    for _ in range(50):
        heart.beat()
    assert last_beat(tmp_path, "lane-1") == 1000


def test_the_only_worker_of_a_session_writes_nothing(tmp_path: Path) -> None:
    Heartbeat(tmp_path, "").beat()
    assert list(tmp_path.iterdir()) == []
    assert (last_beat(tmp_path, None), last_seen(tmp_path, None)) == (None, "")


def test_a_disk_that_refuses_stops_no_measurement(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    Heartbeat(tmp_path, "lane-1").beat()
    assert last_beat(tmp_path, "lane-1") is None
    forget(tmp_path, "lane-1")


def test_the_end_of_a_claim_tells_when_its_worker_was_last_alive_and_forgets_it(tmp_path: Path) -> None:
    Heartbeat(tmp_path, "lane-3").beat()
    assert re.fullmatch(r"; lane-3 last reported at \d\d:\d\d:\d\d", last_seen(tmp_path, "lane-3"))
    assert last_seen(tmp_path, "lane-3") == ""
