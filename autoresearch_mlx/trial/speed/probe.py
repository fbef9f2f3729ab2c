"""Measure the time of a small matrix product and of a copy of memory, to find slowdowns that processor time hides.

At a low clock rate, or while other programs keep the memory busy, a run does less work in the processor time that it
gets.  Each probe runs in the parent, and counts the processor time of its own thread.  So time spent waiting for the
processor, which is counted elsewhere, does not change the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_SIDE = 64
"""Number of rows and columns of the product's matrices.

All three matrices, 49 kB of float32, fit into a core's own cache.  OpenBLAS computes products of up to 2^18
multiplications in one thread (interface/gemm.c).
"""
_PRODUCTS = 150
"""Number of products that are timed together, a compromise between accuracy and time.

On a quiet machine, during one training run, 20 products took 0.74 to 1.38 times their median time, and 400 products
took 0.9 to 1.25 times their median time.  But with 400 products, timed three times in each probe, measuring the speed
took 1.1 % of the processor time of a run of 20 s.
"""
_COPY_BYTES = 2**24
"""Number of bytes that are copied: more than a core's own cache holds, so that the copy uses memory."""
_PIECES = 2
"""How often a probe times the products, and the copy.

The shortest time counts, because an interruption can only lengthen a time.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """One probe, in milliseconds of processor time."""

    product_ms: float
    copy_ms: float


class Probe:
    """Makes probes with the same matrices each time, because mapping new memory would lengthen a probe."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._left, self._right = (random.random((_SIDE, _SIDE), np.float32) for _ in range(2))
        self._product = np.empty_like(self._left)
        self._from = np.ones(_COPY_BYTES, np.uint8)
        self._to = np.zeros(_COPY_BYTES, np.uint8)
        self._multiply()  # the first product starts the threads of numpy's BLAS

    def take(self) -> Reading:
        """Return one reading, which takes about 5 ms of processor time."""
        return Reading(_fastest_ms(self._multiply), _fastest_ms(self._copy))

    def _multiply(self) -> None:
        for _ in range(_PRODUCTS):
            np.matmul(self._left, self._right, out=self._product)

    def _copy(self) -> None:
        np.copyto(self._to, self._from)


def _fastest_ms(work: Callable[[], None]) -> float:
    spent = []
    for _ in range(_PIECES):
        began = time.thread_time()
        work()
        spent.append(time.thread_time() - began)
    return 1000 * min(spent)
