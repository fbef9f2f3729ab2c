"""Show a running loop: one live line at the bottom of the terminal, and one line that stays for each experiment.

Without a terminal, plain lines with the time of day are printed.  A screen never raises an error, because a closed pipe
or a lost terminal must not end the night.  The loop knows a screen only by the protocol
:class:`~autoresearch_mlx.loop.screen.Screen`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO, cast

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, Progress
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.report.live_line import Scene, live_line
from autoresearch_mlx.report.now import Running, remove_now, write_now
from autoresearch_mlx.report.terminal import verdict_line
from autoresearch_mlx.store.journal import now

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

__all__ = ["LiveScreen", "Noted", "PlainScreen", "Screen", "open_screen"]

Clock = Callable[[], float]

_STYLES = {"keep": "bold green", "discard": "dim", "crash": "red", "invalid": "red"}
_OTHER = "yellow"
_FRAME_SECONDS = 1 / 8
_PLAIN_SECONDS = 30.0
_NOTE_SECONDS = 1.0
_PLAIN_WIDTH = 120


def open_screen(stream: TextIO, folder: Path, metric: str, plain: bool = False) -> Screen:
    """Return a screen with a live line if ``stream`` is a terminal that can move its cursor.

    Otherwise, or if ``plain`` is True, the screen prints plain lines. Either screen also notes the running experiment
    in the session's ``folder``.
    """
    able = not plain and stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    return Noted(LiveScreen(stream, metric) if able else PlainScreen(stream, metric), folder)


class _Lasting:
    """Wraps a stream so that writing never fails: text that cannot be written is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        with self._lost():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._lost():
            self._stream.flush()

    @contextmanager
    def _lost(self) -> Iterator[None]:
        """Drop text that cannot be written to the stream.

        When the reader of a pipe has closed the pipe, the text that is still in the buffer goes to the null device.
        Otherwise the interpreter's last flush would fail, and a good run would end with exit code 120.
        """
        try:
            yield
        except ValueError:
            pass  # the stream was closed
        except OSError:
            with suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())

    def isatty(self) -> bool:
        return self._stream.isatty()

    def columns(self) -> int:
        with suppress(OSError, ValueError):
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        return 80


class PlainScreen:
    """Prints lines with the time of day; during a measurement, one line every half minute."""

    def __init__(self, stream: TextIO, metric: str, clock: Clock = time.monotonic) -> None:
        self._stream, self._metric, self._clock = _Lasting(stream), metric, clock
        self._scene = Scene()
        self._waited = set[int]()
        """Experiments for which the line about waiting for a quiet machine has already been printed."""
        self._shown_at: dict[int | None, float] = {None: clock()}
        """Time at which each lane's measurement was last shown, by lane; with a single lane the key is None."""

    def say(self, text: str) -> None:
        for line in terms.printable(text).split("\n"):
            self._stream.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        self._stream.flush()

    def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
        self._scene = Scene(number, title, None, incumbent, eta_seconds)
        self._shown_at[None] = self._shown_at[number] = self._clock()
        self.say(live_line(self._scene, _PLAIN_WIDTH))

    def progress(self, progress: Progress) -> None:
        lane, now_ = progress.number, self._clock()
        number = self._scene.number if lane is None else lane
        if progress.phase == "waiting" and number is not None and (progress.words or "").startswith("for "):
            if number not in self._waited:
                self._waited.add(number)
                self.say(live_line(Scene(number, "", progress), _PLAIN_WIDTH))
        elif progress.phase not in ("paused", "waiting") and now_ - self._shown_at.get(lane, 0.0) >= _PLAIN_SECONDS:
            self._shown_at[lane] = now_
            self.say(live_line(Scene(number, "", progress), _PLAIN_WIDTH))

    def finished(self, experiment: Experiment) -> None:
        self._shown_at.pop(experiment.number, None)
        self.say(verdict_line(experiment, self._metric, _PLAIN_WIDTH))

    def close(self) -> None:
        self._stream.flush()


class LiveScreen:
    """Redraws one line, or one for each lane, at the bottom of the terminal; all other lines stay above."""

    def __init__(self, stream: TextIO, metric: str, clock: Clock = time.monotonic) -> None:
        from rich.console import Console

        self._stream, self._metric, self._clock = _Lasting(stream), metric, clock
        self._console = Console(file=cast("IO[str]", self._stream), force_terminal=True, force_interactive=True)
        self._live: Live | None = None
        self._closed = False
        self._scene = Scene()
        self._begun: dict[int, Scene] = {}
        self._lanes: dict[int, Scene] = {}
        """States of the experiments that are measured side by side, by number."""
        self._drawn = self._began = clock()

    def say(self, text: str) -> None:
        from rich.text import Text

        self._print(Text(terms.printable(text)))

    def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
        self._scene = self._begun[number] = Scene(number, title, None, incumbent, eta_seconds)
        self._began = self._clock()
        self._draw()

    def progress(self, progress: Progress) -> None:
        lane = progress.number
        scene = self._scene if lane is None else self._lanes.get(lane) or self._begun.get(lane, Scene(lane))
        before = scene.progress
        if lane is None:
            self._scene = scene.at(progress)
        else:
            self._lanes[lane] = scene.at(progress)
        turned = before is None or before.phase != progress.phase
        if turned or self._clock() - self._drawn >= _FRAME_SECONDS:
            self._draw()

    def finished(self, experiment: Experiment) -> None:
        from rich.text import Text

        line = Text(verdict_line(experiment, self._metric, self._stream.columns() - 1))
        start = line.plain.find(experiment.status)  # -1 if the terminal is narrower than the word
        if start >= 0 and not self._console.no_color:
            line.stylize(_STYLES.get(experiment.status, _OTHER), start, start + len(experiment.status))
        self._print(line)
        best = experiment.value if experiment.status == "keep" else self._scene.best
        self._scene = Scene(best=best, eta_seconds=self._scene.eta_seconds)
        self._begun.pop(experiment.number, None)
        self._lanes.pop(experiment.number, None)
        if self._live is not None:
            self._draw()

    def close(self) -> None:
        self._closed = True
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print(self, line: Text) -> None:
        self._console.width = self._stream.columns()
        self._console.print(line)

    def _draw(self) -> None:
        from rich.live import Live
        from rich.text import Text

        if self._closed:
            return
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
            self._live.start()
        self._drawn = self._clock()
        # One column stays free, because some terminals wrap the line as soon as the last column is filled.
        self._console.width = self._stream.columns()
        scenes = [self._lanes[number] for number in sorted(self._lanes)] or [self._scene]
        lines = [live_line(scene.after(self._drawn - self._began), self._console.width - 1) for scene in scenes]
        self._live.update(Text("\n".join(lines), no_wrap=True, overflow="crop"), refresh=True)


class Noted:
    """Passes everything to another screen, and writes progress into the session's ``now.json`` for ``status``."""

    def __init__(self, screen: Screen, folder: Path, clock: Clock = time.monotonic) -> None:
        self._screen, self._folder, self._clock = screen, folder, clock
        self._running = Running(os.getpid())
        self._titles: dict[int, str] = {}
        self._lanes: dict[int, Running] = {}
        """Experiments that are measured side by side, by number."""
        self._written = clock()
        self._closed = False

    def say(self, text: str) -> None:
        self._screen.say(text)

    def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
        self._titles[number] = title
        self._note(Running(os.getpid(), number, title))
        self._screen.started(number, title, incumbent, eta_seconds)

    def progress(self, progress: Progress) -> None:
        p, was = progress, self._running
        if p.number is not None:
            was = self._lanes.get(p.number) or Running(was.pid, p.number, self._titles.get(p.number))
        about = (p.phase, p.step, p.loss, p.tokens_per_second, p.seconds_left, p.share, p.words)
        new = Running(was.pid, was.number, was.title, *about)
        if p.number is not None:
            self._lanes[p.number] = replace(new, time=now())
        if p.phase != was.phase or self._clock() - self._written >= _NOTE_SECONDS:
            self._note(new)
        self._screen.progress(progress)

    def finished(self, experiment: Experiment) -> None:
        self._titles.pop(experiment.number, None)
        if self._lanes.pop(experiment.number, None) is not None and self._lanes:
            self._note(next(iter(self._lanes.values())))
        else:
            self._forget()
        self._screen.finished(experiment)

    def close(self) -> None:
        self._closed = True
        self._forget()
        self._screen.close()

    def _note(self, running: Running) -> None:
        if self._closed:
            return
        self._running, self._written = running, self._clock()
        with suppress(OSError):
            write_now(self._folder, running, now(), tuple(self._lanes[number] for number in sorted(self._lanes)))

    def _forget(self) -> None:
        self._running = Running(os.getpid())
        with suppress(OSError):
            remove_now(self._folder)
