"""MLX on a Linux CPU gets OpenBLAS, and the tool says which BLAS it got."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.hardware.blas import Blas, advice, child_environment, find_blas, system_library
from autoresearch_mlx.hardware.machine import Machine, read_machine

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="on macOS MLX uses Accelerate")

LINUX = Machine("Linux", "x86_64", None, 4, None, None, None, "3.12.1", "0.32.4", simd="avx512")
PRODUCT = """
import sys, mlx.core as mx
mx.random.seed(3)
left, right = mx.random.normal((300, 200)), mx.random.normal((200, 100))
mx.save(sys.argv[1], left @ right)
mx.save(sys.argv[2], left[:, :50] @ right.T[:50, :200])
"""


@pytest.fixture(scope="session")
def blas(tmp_path_factory: pytest.TempPathFactory) -> Blas:
    found = find_blas(tmp_path_factory.mktemp("cache"), read_machine(), environ={})
    assert found.source == "scipy-openblas32", found.note
    return found


def plain_environment() -> dict[str, str]:
    """Return this process's own environment with one BLAS thread, because tests run side by side."""
    without = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "AUTORESEARCH_BLAS")}
    return without | {"OPENBLAS_NUM_THREADS": "1"}


def preloaded(blas: Blas) -> dict[str, str]:
    environ = plain_environment()
    return environ | child_environment(blas, environ)


def gflops(environ: dict[str, str]) -> float:
    command = [sys.executable, "-P", "-m", "autoresearch_mlx.hardware.gflops", "--size", "512"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["gflops"]


@pytest.mark.slow
@linux_only
def test_a_child_multiplies_several_times_faster(blas: Blas) -> None:
    assert gflops(preloaded(blas)) > 3 * gflops(plain_environment())


@linux_only
def test_and_gets_the_same_numbers(blas: Blas, tmp_path: Path) -> None:
    import numpy as np

    results = []
    for name, environ in (("own", plain_environment()), ("fast", preloaded(blas))):
        paths = [tmp_path / f"{name}-{part}.npy" for part in ("plain", "transposed")]
        subprocess.run([sys.executable, "-P", "-c", PRODUCT, *map(str, paths)], env=environ, check=True)
        results.append([np.load(path) for path in paths])
    for own, fast in zip(*results, strict=True):
        assert np.abs(own).max() > 1
        np.testing.assert_allclose(fast, own, atol=1e-4)


@linux_only
def test_the_copy_is_made_once(blas: Blas) -> None:
    made = blas.library.stat().st_mtime_ns
    again = find_blas(blas.library.parents[2], read_machine(), environ={})
    assert again == blas
    assert again.library.stat().st_mtime_ns == made


@pytest.mark.slow
@linux_only
def test_processes_that_start_together_get_one_whole_copy(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: find_blas(tmp_path, LINUX, environ={}), range(4)))
    assert len({blas.library for blas in found}) == 1
    assert [path.name for path in found[0].library.parent.iterdir()] == ["libopenblas.so"]


@linux_only
def test_a_path_that_ld_preload_cannot_carry_is_passed_over(tmp_path: Path) -> None:
    blas = find_blas(tmp_path / "my cache", LINUX, environ={}, root=tmp_path)
    assert (blas.library, blas.source) == (None, "reference")
    assert "spaces" in blas.note


@linux_only
def test_a_cache_that_cannot_be_written_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    blas = find_blas(tmp_path / "cache", LINUX, environ={}, root=tmp_path)
    assert blas.source == "reference"
    assert "the copy of OpenBLAS cannot be made" in blas.note


def test_a_library_that_patchelf_refuses_is_passed_over(tmp_path: Path, broken_wheel: str) -> None:
    blas = find_blas(tmp_path / "cache", LINUX, environ={}, root=tmp_path, wheel=broken_wheel)
    assert (blas.library, blas.source) == (None, "reference")
    assert "patchelf" in blas.note


@pytest.fixture
def broken_wheel(tmp_path: Path) -> Iterator[str]:
    """Make an importable package that contains a text file instead of a library."""
    package = tmp_path / "site" / "broken_openblas_wheel"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "lib" / "libscipy_openblas.so").write_text("no library")
    sys.path.insert(0, str(package.parent))
    yield package.name
    sys.path.remove(str(package.parent))


def test_without_the_wheel_the_systems_library_serves(tmp_path: Path) -> None:
    library = tmp_path / "usr/lib/x86_64-linux-gnu/libopenblas.so.0"
    library.parent.mkdir(parents=True)
    library.touch()
    blas = find_blas(tmp_path / "cache", LINUX, environ={}, root=tmp_path, wheel="no_such_wheel")
    assert (blas.library, blas.source) == (library, "system")
    assert blas.note == "no_such_wheel is not installed"


def test_a_system_without_openblas(tmp_path: Path) -> None:
    assert system_library(tmp_path) is None


def test_the_users_choice_wins(tmp_path: Path) -> None:
    own = tmp_path / "libmine.so"
    own.touch()
    assert find_blas(tmp_path, LINUX, environ={"AUTORESEARCH_BLAS": str(own)}).library == own
    assert find_blas(tmp_path, LINUX, environ={"AUTORESEARCH_BLAS": "off"}) == Blas(None, "off", "SkylakeX")


def test_a_choice_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a file") as caught:
        find_blas(tmp_path, LINUX, environ={"AUTORESEARCH_BLAS": "/nowhere/libopenblas.so"})
    assert "AUTORESEARCH_BLAS=off" in caught.value.hint


def test_a_choice_that_ld_preload_cannot_carry_is_an_error(tmp_path: Path) -> None:
    own = tmp_path / "my library.so"
    own.touch()
    with pytest.raises(ConfigError, match="spaces"):
        find_blas(tmp_path, LINUX, environ={"AUTORESEARCH_BLAS": str(own)})


def test_a_mac_keeps_accelerate(tmp_path: Path) -> None:
    blas = find_blas(tmp_path, replace(LINUX, system="Darwin", simd=None), environ={})
    assert blas == Blas(None, "accelerate")
    assert child_environment(blas, {}) == {}
    assert advice(blas) is None


FAST = Blas(Path("/cache/libopenblas.so"), "scipy-openblas32", "SkylakeX")


def test_a_child_is_told_library_kernels_and_to_use_one_thread() -> None:
    assert child_environment(FAST, {}) == {
        "LD_PRELOAD": "/cache/libopenblas.so",
        "OPENBLAS_CORETYPE": "SkylakeX",
        "OPENBLAS_NUM_THREADS": "1",
    }


def test_what_the_user_set_stays() -> None:
    environ = {"LD_PRELOAD": "/a.so /b.so", "OPENBLAS_CORETYPE": "Zen", "OPENBLAS_NUM_THREADS": "3"}
    assert child_environment(FAST, environ) == {
        "LD_PRELOAD": "/a.so:/b.so:/cache/libopenblas.so",
        "OPENBLAS_CORETYPE": "Zen",
        "OPENBLAS_NUM_THREADS": "3",
    }


def test_a_childs_child_preloads_the_library_once() -> None:
    once = child_environment(FAST, {})
    assert child_environment(FAST, once) == once


def test_an_unknown_cpu_lets_openblas_choose_its_kernels() -> None:
    assert child_environment(Blas(Path("/l.so"), "system"), {}) == {"LD_PRELOAD": "/l.so", "OPENBLAS_NUM_THREADS": "1"}


def test_doctor_says_what_serves_and_what_would_be_faster() -> None:
    assert advice(FAST) == "/cache/libopenblas.so from scipy-openblas32, kernels for SkylakeX."
    slow = advice(Blas(None, "reference", note="patchelf is not installed"))
    assert "patchelf is not installed" in slow
    assert "libopenblas0-pthread" in slow
    assert "unset AUTORESEARCH_BLAS" in advice(Blas(None, "off"))
