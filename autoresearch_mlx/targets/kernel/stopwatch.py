"""Control a bench process: send it one command at a time, and time each command from outside.

On a Linux CPU, the time is the processor time that the operating system counted for the process.  Elsewhere, the
parent's clock gives the time.  The bench process itself reports no time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from autoresearch_mlx.experiment import Failure
from autoresearch_mlx.targets.kernel.children import Surroundings, command_of, environment_of
from autoresearch_mlx.targets.kernel.order import Order
from autoresearch_mlx.trial.autopsy import how_it_ended
from autoresearch_mlx.trial.runner import Ended, Log, run_child
from autoresearch_mlx.trial.sandbox.detect import refused
from autoresearch_mlx.trial.sandbox.limits import MARKER, Limits, Watch
from autoresearch_mlx.trial.speed.processor import totals, used

Command: TypeAlias = Mapping[str, Any]
Talk: TypeAlias = Generator[Command, "Reply", None]


@dataclass(frozen=True, slots=True)
class Reply:
    """A bench's answer to one command, and the seconds that the command took."""

    fields: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The reason why a conversation with the bench ended early."""

    failure: Failure
    reason: str


class _Clock:
    """Measures the seconds of one process between the calls of ``start`` and ``seconds``."""

    def __init__(self, gpu: bool) -> None:
        self.pid: int | None = None
        self._by_system = not gpu and sys.platform == "linux"
        self._was: Any = None

    def start(self) -> None:
        self._was = totals([self.pid]) if self._by_system and self.pid is not None else time.perf_counter()

    def seconds(self) -> float:
        if not self._by_system or self.pid is None:
            return time.perf_counter() - float(self._was)
        return used(self._was or {}, totals([self.pid]) or {}).got


def converse(
    around: Surroundings,
    order: Order,
    folder: Path,
    read: list[Path],
    talk: Callable[[], Talk],
    limits: Limits,
    look: Callable[[float], None],
    seconds: float,
    marker: str,
) -> tuple[Failed | None, Ended]:
    """Start a bench, and send it the commands that ``talk`` yields; each reply is sent back into ``talk``.

    ``look`` is called about ten times a second with the seconds left; an exception that ``look`` raises ends the
    process.
    Returns two values: why the conversation ended early (None if it did not end early), and how the process ended.
    """
    path = folder / "order.json"
    path.write_text(order.to_json(), encoding="utf-8")
    reader, writer = os.pipe()
    clock, conversation = _Clock(around.gpu), talk()
    failed: list[Failed] = []
    ends = time.monotonic() + seconds
    pipe = [writer]

    def hang_up() -> None:
        if pipe:
            os.close(pipe.pop())

    def tell(command: Command) -> None:
        clock.start()
        try:
            os.write(pipe[0], (json.dumps(command) + "\n").encode())
        except BrokenPipeError:
            hang_up()

    def heard(event: Mapping[str, Any]) -> None:
        took = clock.seconds() if event.get("event") != "ready" else 0.0
        if not pipe:
            return
        match event:
            case {"event": "ready"}:
                clock.pid = event.get("pid")  # the process sends its id before it reads the candidate
                tell(next(conversation))
            case {"event": "done", **fields}:
                try:
                    tell(conversation.send(Reply(fields, took)))
                except StopIteration:
                    hang_up()
                except _Stop as stop:
                    failed.append(stop.failed)
                    hang_up()
            case {"event": "broken", "reason": reason}:
                failed.append(Failed("invalid", str(reason)))
                hang_up()
            case {"event": "raised", "reason": reason}:
                failed.append(Failed("crash", str(reason)))
                hang_up()

    def allowed() -> str | None:
        left = ends - time.monotonic()
        look(left)
        return None if left > 0 else f"did not end within {seconds:g} s; killed"

    command = command_of(around, "bench", [str(path)], read, folder)
    environment = {**environment_of(around, folder), MARKER: marker}
    with Log(folder / "log.txt") as log:
        try:
            ended = run_child(
                command,
                cwd=folder,
                environment=environment,
                log=log,
                allowed=allowed,
                on_event=heard,
                stdin=reader,
                watch=Watch(limits, marker),
                on_start=lambda: os.close(reader),
            )
        finally:
            hang_up()
            conversation.close()
    return (failed[0] if failed else _died(ended, folder / "log.txt")), ended


class _Stop(Exception):
    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.reason)
        self.failed = failed


def stop(failure: Failure, reason: str) -> _Stop:
    """Return the exception that a conversation raises to end early."""
    return _Stop(Failed(failure, reason))


def _died(ended: Ended, log: Path) -> Failed | None:
    if ended.killed is not None:
        return Failed("timeout", ended.killed)
    if ended.exceeded is not None:
        return Failed("crash", f"{ended.exceeded}; killed")
    if ended.returncode == 0:
        return None
    tail = log.read_text(encoding="utf-8", errors="replace")
    return Failed("crash", refused(ended.returncode, tail) or how_it_ended(ended.returncode, log))
