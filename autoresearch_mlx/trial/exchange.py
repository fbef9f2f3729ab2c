"""Exchange inputs and logits between the scorer and a model process: arrays in shared memory, messages on two pipes.

The memory is an inherited descriptor without a file name, so a confined process needs no permission for it.  The memory
has room for SLOTS calls, so that the model computes one call while the scorer reads the logits of another.  The room
for one call is a slot.  The scorer asks with four bytes: the number of the slot, and the number of rows.  The model
process answers with a line of JSON: ``{"slot": 0, "logits": "float32"}`` or ``{"invalid": "shape: ..."}``.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ASK = struct.Struct("<HH")
BITS: dict[str, type[np.generic]] = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}
"""Type of the logits -> numpy type with which logits are read from the memory; numpy has no bfloat16."""
SLOTS = 2
PATIENCE_SECONDS = 60.0
"""Seconds after which a process counts as hung, if it neither answers nor computes.

The first answer includes the time to compile kernels.
"""
_LOOK_SECONDS = 0.5
_BUSY_SHARE = 0.05
"""Share of one processor's time below which a process that does not answer counts as hung, not as slow."""
_LINE_BYTES = 4096
_PRINTED_BYTES = 65536
_LAST_WORDS_SECONDS = 1.0

Tokens = npt.NDArray[np.int32]
Raw = npt.NDArray[Any]


class Invalid(Exception):
    """Raised when the model or its answer breaks a rule of the evaluation; the message begins with the failed check."""


class Died(Exception):
    """Raised when the model process has ended before it answered."""

    def __init__(self, returncode: int) -> None:
        super().__init__(f"the model's process ended with {returncode}")
        self.returncode = returncode


@dataclass(frozen=True, slots=True)
class Frame:
    """Layout of the shared memory: each slot has int32 inputs [rows, seq_len], then logits [rows, seq_len, vocab_size].

    ``rows`` is the largest number of rows in one call.  There are four bytes of room for each logit; logits of a
    shorter type do not use all of this room.
    """

    rows: int
    seq_len: int
    vocab_size: int

    @property
    def size(self) -> int:
        """Size of all slots together, in bytes."""
        return SLOTS * self._slot_bytes

    @property
    def _slot_bytes(self) -> int:
        return 4 * self.rows * self.seq_len * (1 + self.vocab_size)

    def inputs(self, memory: mmap.mmap, slot: int, rows: int) -> Tokens:
        """Return a view of one slot's inputs, int32 [rows, seq_len]."""
        flat = np.frombuffer(memory, np.int32, rows * self.seq_len, slot * self._slot_bytes)
        return flat.reshape(rows, self.seq_len)

    def logits(self, memory: mmap.mmap, slot: int, rows: int, dtype: str) -> Raw:
        """Return a view of one slot's logits [rows, seq_len, vocab_size] as ``BITS[dtype]``."""
        start = slot * self._slot_bytes + 4 * self.rows * self.seq_len
        flat = np.frombuffer(memory, BITS[dtype], rows * self.seq_len * self.vocab_size, start)
        return flat.reshape(rows, self.seq_len, self.vocab_size)


@dataclass(frozen=True, slots=True)
class Answer:
    """The logits of one call."""

    bits: Raw
    """Logits [rows, seq_len, vocab_size] in shared memory.

    Copy the logits before use, because the model process can change them.
    """
    logits: str
    """Name of the logits' number type, which is a key of BITS."""


class Hung(Exception):
    """Raised when the model process neither answers nor computes."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer for {seconds:.0f} s")
        self.seconds = seconds


class Respondent:
    """The scorer's connection to one model process, which answers in the order of the questions."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], frame: Frame) -> None:
        self._frame = frame
        self._asked: list[int] = []
        self._count = 0
        self._words = b""
        descriptor = anonymous_file(frame.size)
        self._memory = mmap.mmap(descriptor, frame.size)
        hears, self._asks = os.pipe()
        self._hears, answers = os.pipe()
        theirs = (hears, answers, descriptor)
        try:
            # Each process prints into its own pipe.  A process could open a shared pipe for reading under
            # /proc/self/fd, and so get messages from the other process.
            self._process = subprocess.Popen(
                [*command, *map(str, theirs)],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=theirs,
            )
        finally:
            for fd in theirs:
                os.close(fd)
        self._printer = threading.Thread(target=self._print, daemon=True)
        self._printer.start()

    def _print(self) -> None:
        """Copy the output of the process to this process's output, which the parent writes to the log of the run."""
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), _PRINTED_BYTES):
            with contextlib.suppress(OSError):
                os.write(sys.stdout.fileno(), data)

    def ask(self, inputs: Tokens) -> None:
        """Ask for the logits of ``inputs`` [rows, seq_len]; at most SLOTS questions may be without an answer."""
        slot, rows = self._count % SLOTS, len(inputs)
        self._frame.inputs(self._memory, slot, rows)[:] = inputs
        self._count += 1
        self._asked.append(rows)
        with contextlib.suppress(BrokenPipeError):  # the process has ended, as ``answer`` will report
            os.write(self._asks, ASK.pack(slot, rows))

    def answer(self, patience: float = PATIENCE_SECONDS) -> Answer:
        """Return the answer to the oldest open question; the logits in the answer are valid until the next ``ask``.

        Raises Died, Invalid, and Hung if the process neither answers nor computes for ``patience`` seconds.
        """
        said, slot = self._line(patience), (self._count - len(self._asked)) % SLOTS
        rows = self._asked.pop(0)
        if "invalid" in said:
            raise Invalid(str(said["invalid"])[:500])
        if said.get("slot") != slot or said.get("logits") not in BITS:
            raise Invalid(f"answer: the model's process said {json.dumps(said)[:200]}")
        bits = self._frame.logits(self._memory, slot, rows, said["logits"])
        return Answer(bits, said["logits"])

    def _line(self, patience: float) -> Mapping[str, Any]:
        while b"\n" not in self._words:
            self._wait(patience)
            data = os.read(self._hears, _LINE_BYTES)
            if not data:
                raise Died(self._process.wait())
            self._words += data
            if len(self._words) > _LINE_BYTES:
                raise Invalid("answer: the model's process sent more than was asked for")
        line, self._words = self._words.split(b"\n", 1)
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise Invalid(f"answer: the model's process said {line[:100]!r}")
        return said

    def _wait(self, patience: float) -> None:
        """Wait until the process has written something.  Raises Hung if the process hangs.

        A process that uses the processor is slow, and may go on.  A process that uses next to no processor time, for
        example because it waits for a lock, hangs.  Reading the processor time takes milliseconds, so it is read only
        if the answer does not come at once.
        """
        if select.select([self._hears], [], [], min(_LOOK_SECONDS, patience))[0]:
            return
        since, used = time.monotonic(), self._cpu_seconds()
        while not select.select([self._hears], [], [], _LOOK_SECONDS)[0]:
            waited = time.monotonic() - since
            if waited < patience:
                continue
            now = self._cpu_seconds()
            if now - used < _BUSY_SHARE * waited:
                raise Hung(waited)
            since, used = time.monotonic(), now

    def _cpu_seconds(self) -> float:
        """Return the processor time of the process and its children, in seconds, or 0 if the process has ended."""
        import psutil  # only a late answer needs psutil, whose import takes a fifth of the scorer's start

        total = 0.0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            for each in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    times = each.cpu_times()
                    total += times.user + times.system + times.children_user + times.children_system
        return total

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._printer.join(timeout=_LAST_WORDS_SECONDS)  # a process left running may keep the pipe open
        if not self._printer.is_alive() and self._process.stdout is not None:
            self._process.stdout.close()
        os.close(self._asks)
        os.close(self._hears)

    def __enter__(self) -> Respondent:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def anonymous_file(size: int) -> int:
    """Return the descriptor of a file of ``size`` bytes that has no name in the file system.

    On Linux the descriptor refers to memory (memfd_create(2)).  On macOS, which has no memfd_create, the descriptor
    refers to a temporary file that has been unlinked.
    """
    if sys.platform == "linux":
        descriptor = os.memfd_create("logits")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
