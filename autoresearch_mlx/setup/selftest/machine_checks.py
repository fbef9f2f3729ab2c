"""Check the machine: MLX's results, the sandbox, memory limits, the command that prevents sleep, clocks and speed."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from autoresearch_mlx.hardware.awake import kept_awake, works
from autoresearch_mlx.hardware.machine import describe
from autoresearch_mlx.hardware.speed import Speed, probe_arguments
from autoresearch_mlx.hardware.state.advice import SLOWER
from autoresearch_mlx.setup.selftest.check import Doing, Ground, Output, Result
from autoresearch_mlx.setup.selftest.outputs import run_program
from autoresearch_mlx.setup.selftest.scene import device_of, scene_of
from autoresearch_mlx.trial.disturbance import SLEEP_SECONDS, Clocks, read_clocks, slept
from autoresearch_mlx.trial.runner import Log, child_process_environment, python_command, run_child, trusted_environment
from autoresearch_mlx.trial.sandbox.limits import Limits, Watch
from autoresearch_mlx.trial.sandbox.selftest import check_sandbox

_PRODUCT_SECONDS = 60.0
_SHOWN = 3
GB = 2**30


def check_text(ground: Ground, doing: Doing) -> Result:
    """Check that there is text to train on; text that was never prepared is first turned into rows of tokens."""
    began = time.monotonic()
    scene = scene_of(ground, doing)
    c = scene.conditions
    said = f"vocabulary {c.vocab_size:,}, rows of {c.seq_len:,} tokens, ready after {time.monotonic() - began:.1f} s"
    return Result("ok", f"{said}; {describe(scene.machine)}; profile {scene.profile.name}")


# --- MLX


def check_products(ground: Ground, doing: Doing) -> Result:
    """Check that MLX's results for random matrices agree with numpy's."""
    doing("comparing MLX's results with numpy's")
    device = device_of(ground.start)
    command = python_command("-m", "autoresearch_mlx.setup.selftest.device", device.name)
    try:
        done = subprocess.run(
            command,
            env=trusted_environment(device.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PRODUCT_SECONDS,
        )
    except subprocess.TimeoutExpired as late:
        said = str(late.stdout or "").strip().splitlines()
        return Result("fail", f"MLX did not end within {_PRODUCT_SECONDS:g} s, after {len(said)} comparisons")
    return judge_products(done.stdout, done.returncode, done.stderr, device.name)


def judge_products(printed: str, returncode: int, errors: str, device: str) -> Result:
    """Return the result of :func:`check_products`, from the lines that the program ``device.py`` printed."""
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    wrong = [f"{each['name']}: off by {each['off']:.2g}" for each in lines if not each["off"] <= each["allowed"]]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        return Result("fail", f"{len(wrong)} of {len(lines)} results are wrong: {'; '.join(wrong[:_SHOWN])}{more}")
    if returncode != 0 or not lines:
        last = (errors.strip().splitlines() or [f"exit code {returncode}"])[-1]
        return Result("fail", f"MLX failed after {len(lines)} comparisons: {last}")
    worst = max(lines, key=lambda each: each["off"] / each["allowed"])
    return Result(
        "ok",
        f"{len(lines)} results agree with numpy's on the {device} (the worst: {worst['name']}, {worst['off']:.1g})",
    )


def check_the_sandbox(ground: Ground, doing: Doing) -> Result:
    """Check that in the sandbox every forbidden access fails, and that MLX computes a matrix product there."""
    scene = scene_of(ground, doing)
    sandbox = scene.conditions.sandbox
    if sandbox is None:
        why = str(scene.conditions.machine.get("sandbox", "none")).removeprefix("none (").removesuffix(")")
        return Result("note", f"there is no sandbox, so edited code runs with your rights: {why}")
    doing("trying the sandbox")
    done = check_sandbox(sandbox, scene.conditions)
    if not done.holds:
        return Result("fail", f"{sandbox.words} {done.verdict()}")
    untried = [f"{name}: {words}" for name, ok, words in done.findings if ok is None]
    rest = f"; not tried: {'; '.join(untried[:_SHOWN])}" if untried else ""
    return Result("ok", f"{sandbox.words}: {done.words()}{rest}")


# --- memory

_STEP_MB = 32
_HOG = f"""\
import sys, time
import numpy as np
held, most = [], int(sys.argv[1])
while 32 * len(held) < most:
    held.append(np.ones({_STEP_MB} * 2**20, np.uint8))
    time.sleep(0.02)
time.sleep(5)
"""
_LIMIT_MB = 512
_ARRAY_MB = 256
_ARRAY = """\
import json, sys
import mlx.core as mx
import psutil
device, limit, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
mx.set_default_device(mx.gpu if device == "gpu" else mx.cpu)
if limit:
    mx.set_memory_limit(limit)
    mx.set_cache_limit(limit // 4)
before = psutil.Process().memory_info().rss
array = mx.ones((size * 2**18,))
mx.eval(array)
try:
    info = mx.device_info() if device == "gpu" else {}
except (AttributeError, RuntimeError, ValueError):
    info = {}
print(json.dumps({
    "mlx_mb": mx.get_active_memory() / 2**20, "seen_mb": (psutil.Process().memory_info().rss - before) / 2**20,
    "recommended": info.get("max_recommended_working_set_size"), "buffer": info.get("max_buffer_length"),
}))
"""


def check_memory(ground: Ground, doing: Doing) -> Result:
    """Check that a process that uses too much memory is ended, and that the memory of MLX's arrays is counted."""
    doing("watching a process that takes too much memory")
    watch = Watch(Limits(memory_bytes=_LIMIT_MB * 2**20))
    with Log(ground.folder / "hog.txt") as log:
        ended = run_child(
            python_command("-c", _HOG, str(3 * _LIMIT_MB)),
            cwd=ground.folder,
            environment=child_process_environment({}),
            log=log,
            allowed=lambda: None,
            watch=watch,
        )
    if ended.exceeded is None:
        peak = f"saw {ended.peak_memory_mb:.0f} MB" if ended.peak_memory_mb else "saw none of this memory"
        said = f"a process with a limit of {_LIMIT_MB} MB took {3 * _LIMIT_MB} MB and was not ended"
        return Result("fail", f"{said}; the self-test {peak}")
    doing("counting the memory of an array of MLX")
    device = device_of(ground.start)
    limit = device.profile.memory_limit_bytes if device.name == "gpu" else None
    done = subprocess.run(
        python_command("-c", _ARRAY, device.name, str(limit or 0), str(_ARRAY_MB)),
        env=trusted_environment(device.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PRODUCT_SECONDS,
    )
    if done.returncode != 0:
        return Result("fail", f"MLX made no array of {_ARRAY_MB} MB: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return judge_memory(json.loads(done.stdout), ended.seconds, limit)


def judge_memory(array: Mapping[str, Any], seconds: float, limit: int | None) -> Result:
    """Return the result of :func:`check_memory`.

    ``array`` has the sizes that MLX and the system report for an array of ``_ARRAY_MB`` MB.  ``seconds`` is the time
    until a process with too much memory was ended.  ``limit`` is MLX's limit in bytes; None means no limit.
    """
    said = [f"a process over its limit of {_LIMIT_MB} MB was ended after {seconds:.1f} s"]
    said.append(
        f"an array of {_ARRAY_MB} MB: MLX counts {array['mlx_mb']:.0f} MB, the system {array['seen_mb']:.0f} MB"
    )
    state, recommended = "ok", array.get("recommended")
    if limit is not None:
        said.append(f"MLX may use {limit / GB:.1f} GB")
    if limit is not None and recommended:
        said.append(f"Metal recommends at most {recommended / GB:.1f} GB")
        state = "note" if limit > recommended else state
    if not 0.9 * _ARRAY_MB <= array["mlx_mb"] <= 2 * _ARRAY_MB:
        state = "fail"
    elif array["seen_mb"] < 0.5 * _ARRAY_MB:
        said.append("so the watch on a run's memory does not see MLX's arrays")
        state = "note"
    return Result(state, "; ".join(said))  # type: ignore[arg-type]


# --- sleep

_SEEN_SECONDS = 3.0
"""Seconds within which the system must list a new helper, or must no longer list a helper that has ended.  A helper
is a command that keeps the machine awake."""
_LISTS = {"Darwin": ("pmset", "-g", "assertions"), "Linux": ("systemd-inhibit", "--list", "--no-pager")}
_HOLDERS = {"Darwin": r"pid (\d+)\(caffeinate\)", "Linux": r"autoresearch-mlx\s+\d+\s+\S+\s+(\d+)\s"}


def check_awake(ground: Ground, doing: Doing, system: str = "") -> Result:
    """Check the helper, a command that keeps the machine awake: the system must list the helper while it runs."""
    system = system or platform.system()
    command = _LISTS.get(system)
    if command is None or shutil.which(command[0]) is None:
        return Result("absent", "this system has no command that keeps the machine awake")
    doing(f"asking {command[0]} who keeps the machine awake")
    before, trouble = run_program(command)
    if works(system) is False:
        why = f": {trouble}" if trouble else ""
        return Result("note", f"{command[0]} does not work here, so the machine is not kept awake{why}", (before,))
    if trouble:
        return Result("fail", f"`{before.command}` {trouble}", (before,))
    known = holders(before.text, system)
    with kept_awake(system=system):
        during, appeared = _until(command, system, lambda found: bool(found - known))
    after, gone = _until(command, system, lambda found: not found - known)
    if not appeared:
        return Result("fail", f"the helper was started, and `{during.command}` does not list it", (during,))
    if not gone:
        return Result("fail", f"the helper was ended, and `{after.command}` still lists it", (during, after))
    return Result("ok", f"`{during.command}` lists the helper while it runs, and not afterwards", (during,))


def holders(text: str, system: str) -> set[str]:
    """Return the ids of the processes in the system's list ``text`` that run the same command as our helper."""
    return set(re.findall(_HOLDERS[system], text))


def _until(command: Sequence[str], system: str, so: Any) -> tuple[Output, bool]:
    """Repeat a command that lists processes until the list satisfies the function ``so``, a few seconds at most.

    Returns the last output, and True if its list satisfies ``so``.
    """
    end = time.monotonic() + _SEEN_SECONDS
    while True:
        output, _ = run_program(command)
        if (good := so(holders(output.text, system))) or time.monotonic() > end:
            return output, good
        time.sleep(0.2)


_NAP = {"Darwin": ("pmset", "sleepnow"), "Linux": ("systemctl", "suspend")}
_WAKE_SECONDS = 180.0
_TICK_SECONDS = 1.0
_OFF_SECONDS = 0.05


def check_clocks(ground: Ground, doing: Doing, system: str = "") -> Result:
    """Check that a sleep of the machine is noticed, by comparing a clock that counts sleep with a clock that does not.

    Without --sleep, the two clocks must agree.  With --sleep, the machine is also put to sleep for a moment.
    """
    before, wall = read_clocks(), time.time()
    if before.total is None:
        return Result("note", "this system has no clock that counts sleep, so a sleep during a run is not noticed")
    time.sleep(_TICK_SECONDS)
    after = read_clocks()
    assert after.total is not None
    apart = abs((after.total - before.total) - (after.awake - before.awake))
    if apart > _OFF_SECONDS:
        return Result("fail", f"within {_TICK_SECONDS:g} s without sleep the two clocks drifted apart by {apart:.2f} s")
    if not ground.may_sleep:
        return Result("ok", "both clocks agree while the machine is awake; --sleep also tries a short sleep")
    return _nap(doing, system or platform.system(), before, wall)


def _nap(doing: Doing, system: str, before: Clocks, wall: float) -> Result:
    command = _NAP.get(system)
    if command is None:
        return Result("absent", f"no command is known that puts {system} to sleep")
    doing("the machine goes to sleep now: wake it after about ten seconds")
    output, trouble = run_program(command)
    if trouble:
        return Result("note", f"`{output.command}` {trouble}, so no sleep was tried")
    end = read_clocks().awake + _WAKE_SECONDS
    while (seconds := slept(before, read_clocks())) == 0 and read_clocks().awake < end:
        time.sleep(0.2)
    if not seconds:
        return Result("fail", f"`{output.command}` ran, but no sleep of {SLEEP_SECONDS:g} s or more was noticed")
    passed = time.time() - wall
    return Result("ok", f"a sleep of {seconds:.1f} s was noticed; the check took {passed:.1f} s by the wall clock")


# --- speed


def check_speed(ground: Ground, doing: Doing) -> Result:
    """Check that the speed probe gives nearly the same figure in several runs."""
    device = device_of(ground.start)
    speed = Speed(python_command(*probe_arguments(device.name)), trusted_environment(device.environment))
    found: list[float] = []
    for number in range(1, ground.probes + 1):
        doing(f"speed probe {number} of {ground.probes}")
        rate = speed.probe()
        if rate is None:
            return Result("fail", f"speed probe {number} of {ground.probes} gave no figure")
        found.append(rate)
    return judge_speed(found, device.name)


def judge_speed(found: Sequence[float], device: str) -> Result:
    middle = median(found)
    low, high = min(found) / middle - 1, max(found) / middle - 1
    said = f"{len(found)} probes on the {device}: {middle:,.0f} GFLOP/s ({100 * low:+.0f} to {100 * high:+.0f} %)"
    if max(-low, high) > SLOWER:
        load = f" (the load is {os.getloadavg()[0]:.1f})" if hasattr(os, "getloadavg") else ""
        return Result("note", f"{said}; perhaps another program uses the machine{load}, or the machine is warm")
    return Result("ok", said)
