"""Measure how fast MLX multiplies matrices.  This is a program of its own, so that its caller need not load MLX:

    python -P -m autoresearch_mlx.hardware.gflops --size 1024

It prints one line of JSON: device, dtype, size, gflops, mlx, peak_memory_mb.  ``--info`` adds what MLX reports about
the device; ``--bandwidth`` adds the rate at which the device reads and writes memory.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import mlx.core as mx

from autoresearch_mlx.hardware.machine import package_version

DTYPES = ("float32", "float16", "bfloat16")


def matmul_gflops(n: int, dtype: str = "float32", seconds: float = 0.3) -> float:
    """Return the best rate of n x n products within ``seconds``, in 1e9 operations a second.

    A product takes 2 n^3 operations.  The best rate is used, not the mean, because other work on the machine can only
    slow a product down.
    """
    kind = getattr(mx, dtype)
    left, right = (mx.random.normal((n, n)).astype(kind) for _ in range(2))
    mx.eval(left @ right)  # the first product pays for start-up: on Metal, for compiling the kernel
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        mx.eval(left @ right)
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best / 1e9


def bandwidth_gbs(megabytes: int, seconds: float = 1.0) -> float:
    """Return the best rate of reading and writing a float32 array, in 1e9 bytes a second (bytes read plus written).

    On a CPU this is the rate of one core, because MLX's elementwise operations use one thread on a CPU.
    """
    array = mx.zeros((megabytes * 2**20 // 4,))
    mx.eval(array, array + 1)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        mx.eval(array + 1)
        best = min(best, time.perf_counter() - start)
    return 2 * array.nbytes / best / 1e9


def device_info() -> dict[str, Any]:
    """Return what MLX reports about its device.

    On Metal, the keys are ``architecture`` and the sizes in bytes ``max_buffer_length``,
    ``max_recommended_working_set_size`` and ``memory_size``.  On CUDA, the facts are the name, the architecture
    and the memory.  Facts that MLX does not report are left out.
    """
    try:
        said = mx.device_info()
    except (AttributeError, RuntimeError, ValueError):
        return {}
    return {key: value for key, value in said.items() if isinstance(value, str | int | float)}


def measure(size: int, dtype: str, seconds: float = 0.3) -> dict[str, Any]:
    gflops = matmul_gflops(size, dtype, seconds)
    return {
        "device": mx.default_device().type.name,
        "dtype": dtype,
        "size": size,
        "gflops": round(gflops, 2),
        "mlx": package_version("mlx"),
        "peak_memory_mb": round(mx.get_peak_memory() / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="gflops", description="Measure the speed of a square matrix product in MLX.")
    parser.add_argument("--size", type=int, default=1024, help="rows and columns (default: 1024)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--seconds", type=float, default=0.3, help="how long to multiply matrices (default: 0.3)")
    parser.add_argument("--info", action="store_true", help="add what MLX reports about the device")
    parser.add_argument(
        "--bandwidth", type=int, metavar="MB", help="add the bandwidth of memory, measured on an array of MB megabytes"
    )
    options = parser.parse_args()
    found = measure(options.size, options.dtype, options.seconds)
    if options.bandwidth:
        found["bandwidth_gbs"] = round(bandwidth_gbs(options.bandwidth), 2)
    if options.info:
        found["info"] = device_info()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
