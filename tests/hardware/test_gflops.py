"""The speed probe as doctor runs it: a process of its own that prints one line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def probe(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "autoresearch_mlx.hardware.gflops", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_prints_one_line_of_json(dtype: str) -> None:
    done = probe("--size", "128", "--dtype", dtype)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    reading = json.loads(done.stdout)
    assert set(reading) == {"device", "dtype", "size", "gflops", "mlx", "peak_memory_mb"}
    assert (reading["dtype"], reading["size"]) == (dtype, 128)
    assert reading["device"] in ("cpu", "gpu")
    assert reading["gflops"] > 0
    assert reading["peak_memory_mb"] > 0


def test_a_type_that_mlx_cannot_multiply_is_refused() -> None:
    assert probe("--dtype", "int8").returncode == 2


@pytest.mark.slow
def test_it_tells_the_device_and_the_rate_of_memory_when_asked() -> None:
    reading = json.loads(probe("--size", "64", "--info", "--bandwidth", "4").stdout)
    assert reading["bandwidth_gbs"] > 0
    assert isinstance(reading["info"], dict)
