"""Serve the training rows to the child, which cannot open the file of rows, and count the rows in the parent.

    server = RowServer(path, seed, may_serve)       in the parent
    ... start a child that inherits server.theirs; server.started()
    rows = Rows(*descriptors, width)                in the child
    rows.take(8)                                    uint16 [8, width]; None once there are no more

A request is the number of rows that the child wants, in four bytes.  An answer has three parts:

- the number of rows, in four bytes; 0 rows end the training
- the share of the budget that is used, in eight bytes, or NaN if the child itself computes the share
- the rows

Each row is served once per epoch, in an order that depends only on the seed.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

_COUNT = struct.Struct("<I")
_ANSWER = struct.Struct("<Id")
_MOST_BYTES = 2**28
"""Largest batch that is served, in bytes."""
_TICK_SECONDS = 0.2
_PIPE_BYTES = 2**20
_RECENT = 9
"""Number of the newest batches from which the usual time between two batches is computed."""


def order(seed: int, count: int) -> Iterator[int]:
    """Yield the numbers of the rows, 0 to ``count`` - 1, in a new random order for each epoch."""
    epoch = 0
    while True:
        yield from np.random.default_rng([seed, epoch]).permutation(count).tolist()
        epoch += 1


class RowServer:
    """Serves training rows to one child, in a thread of the parent, and counts the batches and tokens served."""

    def __init__(
        self,
        path: Path,
        seed: int,
        may_serve: Callable[[], bool],
        share: Callable[[], float | None] = lambda: None,
    ) -> None:
        """Open the rows, uint16 [n, width].

        ``may_serve`` returns whether the child may have another batch; the thread that serves the rows calls it before
        each batch.  ``share`` returns the share of the budget that is used, or None if the child itself computes the
        share.  Raises OSError or ValueError if the rows cannot be opened.
        """
        self._rows = np.load(path, mmap_mode="r", allow_pickle=False)
        self._order = order(seed, len(self._rows))
        self._may_serve, self._share = may_serve, share
        self.batches = 0
        self.tokens = 0
        """Tokens in the inputs of all batches served."""
        self.first: float | None = None
        """Monotonic time of the first request."""
        self.last: float | None = None
        """Monotonic time of the last batch served."""
        self.refused_at: float | None = None
        """Monotonic time of the first request that got no rows because the training was over."""
        self.refused = False
        """Whether this server has ended the training by an answer with 0 rows."""
        self._served: deque[float] = deque(maxlen=_RECENT)
        self._hears, asks = os.pipe()
        answers, self._says = os.pipe()
        self.theirs = (asks, answers)
        """Two descriptors that the child inherits: one to send requests, one to read the answers."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # a larger pipe may exceed the limit for all pipes of the user
                fcntl.fcntl(self._says, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self._says, False)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def pace(self, since: float) -> float:
        """Return the median of the seconds between two batches that were served after ``since``.

        Returns 0 if fewer than two batches were served after ``since``.
        """
        between = [after - before for before, after in pairwise(list(self._served)) if before >= since]
        return median(between) if between else 0.0

    def started(self) -> None:
        """Close the parent's copies of the child's descriptors, so that the server can notice the child's end."""
        for descriptor in self.theirs:
            os.close(descriptor)
        self.theirs = ()  # type: ignore[assignment]

    def close(self) -> None:
        """Stop the server."""
        self._over.set()
        self._thread.join()
        for descriptor in (self._hears, self._says, *self.theirs):
            os.close(descriptor)

    def __enter__(self) -> RowServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _serve(self) -> None:
        words = b""
        with contextlib.suppress(BrokenPipeError):  # the child has ended
            while not self._over.is_set():
                if not select.select([self._hears], [], [], _TICK_SECONDS)[0]:
                    continue
                data = os.read(self._hears, _COUNT.size - len(words))
                if not data:
                    return
                words += data
                if len(words) == _COUNT.size:
                    self._answer(*_COUNT.unpack(words))
                    words = b""

    def _answer(self, wanted: int) -> None:
        now = time.monotonic()
        self.first = now if self.first is None else self.first
        width = self._rows.shape[1]
        if self.refused or not 0 < wanted * width * 2 <= _MOST_BYTES or not self._may_serve():
            self.refused = True
            self.refused_at = now if self.refused_at is None else self.refused_at
            self._say(_ANSWER.pack(0, math.nan))
            return
        rows = np.ascontiguousarray(self._rows[[next(self._order) for _ in range(wanted)]], dtype=np.uint16)
        self.batches += 1
        self.tokens += wanted * (width - 1)
        self.last = now
        self._served.append(now)
        share = self._share()
        self._say(_ANSWER.pack(wanted, math.nan if share is None else share) + rows.tobytes())

    def _say(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and not self._over.is_set():
            if select.select([], [self._says], [], _TICK_SECONDS)[1]:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(self._says, rest) :]


class Rows:
    """The child's end of the pipes: asks for training rows and reads them."""

    def __init__(self, asks: int, answers: int, width: int) -> None:
        self._asks, self._width = asks, width
        self._answers = answers
        self.share: float | None = None
        """Share of the budget that was used when the last rows were served, as the parent sent it, or None."""

    def take(self, wanted: int) -> npt.NDArray[np.uint16] | None:
        """Return the next rows, uint16 [wanted, width], or None if the training is over."""
        try:
            os.write(self._asks, _COUNT.pack(wanted))
        except BrokenPipeError:
            return None
        count, share = _ANSWER.unpack(self._read(_ANSWER.size))
        if count == 0:
            return None
        self.share = None if math.isnan(share) else share
        return np.frombuffer(self._read(2 * count * self._width), np.uint16).reshape(count, self._width)

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            read = os.readv(self._answers, [view])
            if not read:
                raise SystemExit("the process that serves the rows has ended")
            view = view[read:]
        return data
