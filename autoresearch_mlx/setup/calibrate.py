"""Measure this machine in about a minute, with the child processes, the sandbox and the script of a normal run.

The probe times matrix products and memory.  Short runs of the shipped training script give the times of steps,
compilation and evaluation (:mod:`autoresearch_mlx.setup.timing`).  These runs use this machine's preset and a
temporary folder.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import AutoresearchError, LabError
from autoresearch_mlx.hardware.calibration import Basis, Calibration, Product, store
from autoresearch_mlx.hardware.fit import other_head
from autoresearch_mlx.hardware.machine import Machine, read_machine
from autoresearch_mlx.hardware.profile import Profile, choose_profile
from autoresearch_mlx.hardware.surroundings import machine_for
from autoresearch_mlx.lab.config import Resolved, Settings, TargetSettings, load_settings
from autoresearch_mlx.lab.lab import Lab, find_lab
from autoresearch_mlx.setup.timing import Patience, Runs, pace_of_head, paces_of
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.targets.confine import confine
from autoresearch_mlx.targets.contract import Place
from autoresearch_mlx.targets.corpus.prepare import default_cache
from autoresearch_mlx.targets.pretrain.calibrated import basis_here, calibration_here
from autoresearch_mlx.targets.pretrain.kind import PretrainKind
from autoresearch_mlx.targets.pretrain.peak import run_probe
from autoresearch_mlx.targets.registry import kind_of
from autoresearch_mlx.trial.conditions import Conditions

Say = Callable[[str], None]

_DTYPES: Mapping[str, tuple[str, ...]] = {"cpu": ("float32",), "gpu": ("bfloat16", "float16", "float32")}
"""Number types of the matrix products to time.  On a CPU only float32 is timed, because training on a CPU uses only
float32."""
_SIZE = {"cpu": 1024, "gpu": 4096}
"""Number of rows of the matrices, which are square."""
_MEMORY_MB = {"cpu": 128, "gpu": 512}
"""Size in MiB of the array that is read and written to measure the bandwidth; it is far larger than any cache."""


def calibrate_here(
    lab: Lab,
    settings: Settings,
    machine: Machine,
    profile: Profile,
    say: Say,
    cache: Path | None = None,
    patience: Patience | None = None,
) -> Calibration:
    """Measure this machine; write the calibration into ``cache`` (by default the user's cache) and return it.

    If the lab's text is not prepared yet, it is prepared first.  Raises LabError when no step could be timed or the
    cache cannot be written, and LockedError while another command measures on the GPU.  Raises ConfigError for wrong
    settings, and CorpusError for unusable text.
    """
    timed = settings.budget.model_copy(update={"seconds": "auto"})
    settings = settings.model_copy(update={"target": TargetSettings(), "budget": timed})
    kind, place = PretrainKind(), Place(settings, lab, machine, profile, say)
    conditions = kind.settle(place)
    target = confine(kind.build(conditions, place), settings.sandbox, (), say)
    say(f"measuring this machine, about a minute ({profile.name} profile, {profile.device})")
    with machine_for(lab.root, "calibration", settings.machine, conditions.device == "gpu", default_cache(), say):
        found = calibrate(target.conditions, basis_here(settings, lab, machine, profile), profile, say, patience)
    cache = cache or default_cache()
    try:
        store(found, cache)
    except OSError as error:
        said = f"the calibration cannot be kept in {cache}: {error.strerror}"
        raise LabError(said, "set AUTORESEARCH_CACHE to another folder") from None
    return found


def calibrate_from(start: Path, say: Say) -> Calibration:
    """Measure this machine for the lab at ``start``, or with default settings if there is no lab.

    Raises the errors of :func:`calibrate_here`.
    """
    lab, settings = Lab(start), Settings()
    with suppress(LabError):
        lab = find_lab(start)
        settings = load_settings(lab.root).settings
    machine = read_machine()
    profile = choose_profile(machine, settings.hardware.profile)
    return calibrate_here(lab, settings, machine, profile, say)


def before_first_run(lab: Lab, resolved: Resolved, tag: str | None, say: Say, machine: Machine | None = None) -> None:
    """Before the first run of a session, calibrate a machine whose GPU has no valid calibration, and print a message.

    Nothing is measured when the settings name a budget or a profile.  Nothing is measured on a CPU either, because
    there a whole experiment takes less time than a calibration.  If the calibration fails, a message says why, and the
    profile's values are used.  ``machine`` is this machine by default.  Raises ConfigError for a target that cannot be
    loaded.
    """
    settings = resolved.settings
    begun = [known for known in lab.tags() if known == (tag or lab.current())]
    if begun or not kind_of(settings, lab.root).calibrates(settings):
        return
    machine = machine or read_machine()
    profile = choose_profile(machine, settings.hardware.profile)
    found, why = calibration_here(settings, lab, machine, profile)
    if found is not None or profile.device != "gpu":
        return
    told = "the machine is measured now, in about a minute; --no-calibrate skips the measurement"
    say(f"{why or 'this machine was never measured'}: {told}")
    try:
        calibrate_here(lab, settings, machine, profile, say)
    except AutoresearchError as error:
        say(f"not calibrated: {error}; the values of the profile are used")


def calibrate(
    conditions: Conditions, basis: Basis, profile: Profile, say: Say, patience: Patience | None = None
) -> Calibration:
    """Measure this machine and return the calibration.  Raises LabError when no step could be timed."""
    began, patience = time.monotonic(), patience or Patience()
    if (busy := _busy()) is not None:
        say(busy)
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(conditions, Path(folder), profile, say)
        paces = tuple(paces_of(runs, profile, patience, began))
        head = other_head(profile)
        other = pace_of_head(runs, head, paces, patience) if head is not None else None
    if all(pace.seconds is None for pace in paces):
        said = f"no step of the shipped script could be timed: {paces[0].failure}"
        raise LabError(said, "`autoresearch-mlx doctor` checks whether MLX works here")
    products, bandwidth, info = _probe(conditions, say)
    return Calibration(
        date=now(),
        basis=basis,
        took_seconds=round(time.monotonic() - began, 1),
        products=products,
        bandwidth_gbs=bandwidth,
        start_seconds=runs.start,
        compile_seconds=runs.compile,
        paces=paces,
        other_head=other,
        scored=runs.scored(),
        matrix_params=runs.matrix_params,
        info=info,
    )


def _busy() -> str | None:
    """Return a warning if the load is at least half the number of cores; else None."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < cores / 2:
        return None
    return f"the load is {load:.1f} on {cores} cores: other programs make this machine look slower than it is"


# --- the probe


def _probe(conditions: Conditions, say: Say) -> tuple[tuple[Product, ...], float | None, Mapping[str, Any]]:
    """Return three facts: the rates of matrix products, the memory's GB/s, and MLX's description of the device.

    A product that cannot be timed is left out.  If the first product cannot be timed, the memory's GB/s is None.
    """
    products: list[Product] = []
    bandwidth: float | None = None
    info: Mapping[str, Any] = {}
    size = _SIZE[conditions.device]
    for at, dtype in enumerate(_DTYPES[conditions.device]):
        more = ["--info", "--bandwidth", str(_MEMORY_MB[conditions.device])] if at == 0 else []
        try:
            found = run_probe(conditions.environment, size, dtype, *more)
            products.append(Product(dtype, size, float(found["gflops"])))
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            say(f"products of {dtype}: not measured ({type(error).__name__})")
            continue
        bandwidth, info = found.get("bandwidth_gbs", bandwidth), found.get("info", info)
        say(f"products of {size} x {size}, {dtype}: {products[-1].gflops:,.0f} GFLOP/s")
    if bandwidth is not None:
        say(f"memory: {bandwidth:,.1f} GB/s, read and written")
    return tuple(products), bandwidth, info
