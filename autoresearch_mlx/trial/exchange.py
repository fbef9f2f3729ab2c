"""Between the scorer and a model's process: inputs and logits in shared memory, words on two pipes.

The memory is an inherited descriptor without a name, so that a confined process needs no permission for it.
It holds ``slots`` calls, so that the model computes one while the scorer reads another.  A call is asked for by
four bytes (slot, rows) and answered by a line of JSON: ``{"slot": 0, "logits": "float32", "weights": "float32"}``
or ``{"invalid": "shape: ..."}``.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ASK = struct.Struct("<HH")
BITS: dict[str, type[np.generic]] = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}
"""How logits of each type lie in the memory; numpy has no bfloat16."""
SLOTS = 2
_LINE_BYTES = 4096

Tokens = npt.NDArray[np.int32]
Raw = npt.NDArray[Any]


class Invalid(Exception):
    """The model is not what it must be; the text names the probe."""


class Died(Exception):
    """The model's process ended by itself."""

    def __init__(self, returncode: int) -> None:
        super().__init__(f"the model's process ended with {returncode}")
        self.returncode = returncode


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the calls lie in the shared memory: int32 inputs [rows, seq_len], then logits [rows, seq_len, vocab]."""

    rows: int
    seq_len: int
    vocab_size: int

    @property
    def size(self) -> int:
        return SLOTS * self._slot_bytes

    @property
    def _slot_bytes(self) -> int:
        return 4 * self.rows * self.seq_len * (1 + self.vocab_size)

    def inputs(self, memory: mmap.mmap, slot: int, rows: int) -> Tokens:
        flat = np.frombuffer(memory, np.int32, rows * self.seq_len, slot * self._slot_bytes)
        return flat.reshape(rows, self.seq_len)

    def logits(self, memory: mmap.mmap, slot: int, rows: int, dtype: str) -> Raw:
        start = slot * self._slot_bytes + 4 * self.rows * self.seq_len
        flat = np.frombuffer(memory, BITS[dtype], rows * self.seq_len * self.vocab_size, start)
        return flat.reshape(rows, self.seq_len, self.vocab_size)


@dataclass(frozen=True, slots=True)
class Answer:
    bits: Raw
    """Logits [rows, seq_len, vocab] as they lie in memory that the model's process can still write to: copy first."""
    logits: str
    """Their type by name, of BITS."""
    weights: str
    """The coarsest type among the model's weights, as its process says."""


class Respondent:
    """The scorer's end: one model process.  Answers come in the order of the questions."""

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
            self._process = subprocess.Popen(
                [*command, *map(str, theirs)], env=dict(environment), stdin=subprocess.DEVNULL, pass_fds=theirs
            )
        finally:
            for fd in theirs:
                os.close(fd)

    def fileno(self) -> int:
        """Readable when an answer, or the end, has come, unless it was ``heard`` already."""
        return self._hears

    @property
    def heard(self) -> bool:
        """An answer was read together with the one before."""
        return b"\n" in self._words

    @property
    def free(self) -> int:
        """How many more calls it can hold."""
        return SLOTS - len(self._asked)

    def ask(self, inputs: Tokens) -> None:
        """Ask for the logits of inputs [rows, seq_len], while one is ``free``."""
        slot, rows = self._count % SLOTS, len(inputs)
        self._frame.inputs(self._memory, slot, rows)[:] = inputs
        self._count += 1
        self._asked.append(rows)
        with contextlib.suppress(BrokenPipeError):  # its last words, or its end, come as the answer
            os.write(self._asks, ASK.pack(slot, rows))

    def answer(self) -> Answer:
        """Wait for the oldest answer.  It holds until the next ``ask``.  Raises Died, Invalid."""
        said, slot = self._line(), (self._count - len(self._asked)) % SLOTS
        rows = self._asked.pop(0)
        if "invalid" in said:
            raise Invalid(str(said["invalid"])[:500])
        if said.get("slot") != slot or said.get("logits") not in BITS or said.get("weights") not in BITS:
            raise Invalid(f"answer: the model's process said {json.dumps(said)[:200]}")
        bits = self._frame.logits(self._memory, slot, rows, said["logits"])
        return Answer(bits, said["logits"], said["weights"])

    def _line(self) -> Mapping[str, Any]:
        while b"\n" not in self._words:
            data = os.read(self._hears, _LINE_BYTES)
            if not data:
                raise Died(self._process.wait())
            self._words += data
            if len(self._words) > _LINE_BYTES:
                raise Invalid("answer: the model's process says more than was asked")
        line, self._words = self._words.split(b"\n", 1)
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise Invalid(f"answer: the model's process said {line[:100]!r}")
        return said

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        os.close(self._asks)
        os.close(self._hears)

    def __enter__(self) -> Respondent:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def anonymous_file(size: int) -> int:
    """A descriptor of ``size`` bytes of memory without a name, or of an unlinked file where there is no such thing."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("logits")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
