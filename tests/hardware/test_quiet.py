"""The wait for a quiet machine has a limit and is announced, and the watch can end it at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from autoresearch_mlx.experiment import Progress
from autoresearch_mlx.hardware.quiet import wait_for_quiet


@pytest.fixture
def busy() -> Iterator[None]:
    """Run programs that keep every processor busy, each in a session of its own."""
    command = [sys.executable, "-S", "-c", "while True: pass"]
    running = [subprocess.Popen(command, start_new_session=True) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for each in running:
        os.killpg(each.pid, signal.SIGKILL)
        each.wait()


def test_a_wait_of_no_seconds_does_not_even_look(busy: None) -> None:
    began, told = time.monotonic(), list[Progress]()
    assert wait_for_quiet(0.0, told.append) is None
    assert time.monotonic() - began < 0.1 and told == []


@pytest.mark.slow
def test_a_busy_machine_is_waited_for_only_so_long_and_its_programs_are_named(busy: None) -> None:
    told = list[Progress]()
    others = wait_for_quiet(1.5, told.append)
    assert others is not None and others.share > 0.5 and "python" in others.words()
    assert {each.phase for each in told} == {"waiting"}
    assert told[0].words is not None and told[0].words.startswith("for a quiet machine, at most 0:0")
    assert "python" in told[0].words and told[0].words.endswith(" % of the processor)")


@pytest.mark.slow
def test_whoever_watches_can_end_the_wait(busy: None) -> None:
    def enough(progress: Progress) -> None:
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        wait_for_quiet(60.0, enough)
    assert time.monotonic() - began < 10
