"""Measure this machine in about a minute, with the children, the sandbox and the script of a normal run.

Matrix products and memory come from the probe; steps, compilation and evaluation from short runs of the shipped
training script with this machine's preset, in a temporary tree.  Every time is the parent's.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from autoresearch_mlx.assets import asset
from autoresearch_mlx.config import Resolved, Settings, TargetSettings, load_settings
from autoresearch_mlx.corpus.prepare import default_cache
from autoresearch_mlx.errors import AutoresearchError, LabError
from autoresearch_mlx.experiment import Assignment, Progress
from autoresearch_mlx.hardware.calibration import Basis, Calibration, Pace, Product, Scored, store
from autoresearch_mlx.hardware.choice import batches
from autoresearch_mlx.hardware.machine import Machine, read_machine
from autoresearch_mlx.hardware.profile import Profile, choose_profile
from autoresearch_mlx.lab import SCRIPT, Lab, find_lab
from autoresearch_mlx.ledger import now
from autoresearch_mlx.source import set_knobs
from autoresearch_mlx.targets.calibrated import basis_here, calibration_here
from autoresearch_mlx.targets.choose import build_target, settle_conditions
from autoresearch_mlx.targets.pretrain import Pretrain
from autoresearch_mlx.targets.proven import proven
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.evaluation import Evaluation
from autoresearch_mlx.trial.runner import Log, child_process_environment, python_command
from autoresearch_mlx.trial.training import Training

Say = Callable[[str], None]

_DTYPES: Mapping[str, tuple[str, ...]] = {"cpu": ("float32",), "gpu": ("bfloat16", "float16", "float32")}
"""Of the products.  On a CPU training uses float32 alone, and the BLAS has no other type."""
_SIZE = {"cpu": 1024, "gpu": 4096}
_MEMORY_MB = {"cpu": 128, "gpu": 512}
"""Well beyond every cache."""
_PROBE_SECONDS = 60.0
_FIRST_STEPS = 4
"""The first run only tells how long a step takes."""
_LEAST_STEPS, _MOST_STEPS = 4, 2000
_GROWTH = 8
"""Times as many rows as before that a further evaluation scores at most."""
_SEED = 42


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the parts may take, in seconds.  A slow step or evaluation takes longer than its part."""

    pace: float = 10.0
    """Of the preset's timed steps; half of it for each other batch."""
    evaluation: float = 12.0
    another: float = 40.0
    """After so long no third batch is timed."""


def calibrate_here(
    lab: Lab,
    settings: Settings,
    machine: Machine,
    profile: Profile,
    say: Say,
    cache: Path | None = None,
    patience: Patience | None = None,
) -> Calibration:
    """Measure, and keep it in the cache: the user's, or another one.

    Prepares text where there is none.  Raises LabError when no step could be timed or the cache cannot be
    written, and whatever settling the conditions raises.
    """
    settings = settings.model_copy(update={"target": TargetSettings()})
    conditions = settle_conditions(settings, lab, profile, say)
    target = proven(build_target(settings, conditions, machine), settings.sandbox, (), say)
    assert isinstance(target, Pretrain)
    say(f"measuring this machine, about a minute ({profile.name} profile, {profile.device})")
    found = calibrate(target.conditions, basis_here(settings, lab, machine, profile), profile, say, patience)
    cache = cache or default_cache()
    try:
        store(found, cache)
    except OSError as error:
        said = f"the calibration cannot be kept in {cache}: {error.strerror}"
        raise LabError(said, "AUTORESEARCH_CACHE names another folder") from None
    return found


def calibrate_from(start: Path, say: Say) -> Calibration:
    """Calibrate for the lab at ``start``, or for one with every default where there is none.

    Raises what finding and reading the lab and :func:`calibrate_here` raise.
    """
    lab, settings = Lab(start), Settings()
    with suppress(LabError):
        lab = find_lab(start)
        settings = load_settings(lab.root).settings
    machine = read_machine()
    profile = choose_profile(machine, settings.hardware.profile)
    return calibrate_here(lab, settings, machine, profile, say)


def before_first_run(lab: Lab, resolved: Resolved, tag: str | None, say: Say, machine: Machine | None = None) -> None:
    """Calibrate where a session is about to begin on a GPU that nobody has measured yet, and say what for.

    ``machine`` is this one by default.  On a CPU only `doctor --calibrate` does: there a whole first
    experiment takes less.  What goes wrong is said,
    and the profile's own values hold.
    """
    settings = resolved.settings
    begun = [known for known in lab.tags() if known == (tag or lab.current())]
    if begun or settings.target.kind != "pretrain" or settings.hardware.calibrate == "never":
        return
    machine = machine or read_machine()
    profile = choose_profile(machine, settings.hardware.profile)
    found, why = calibration_here(settings, lab, machine, profile)
    if found is not None or profile.device != "gpu":
        return
    say(f"{why or 'this machine was never measured'}: measuring it once, about a minute; --no-calibrate skips that")
    try:
        calibrate_here(lab, settings, machine, profile, say)
    except AutoresearchError as error:
        say(f"not calibrated: {error}; the values of the profile hold")


def calibrate(
    conditions: Conditions, basis: Basis, profile: Profile, say: Say, patience: Patience | None = None
) -> Calibration:
    """The measurements alone.  Raises LabError when not a single step could be timed."""
    began, patience = time.monotonic(), patience or Patience()
    if (busy := _busy()) is not None:
        say(busy)
    with tempfile.TemporaryDirectory() as folder:
        runs = _Runs(conditions, Path(folder), profile, say)
        paces = tuple(_paces(runs, profile, patience, began))
    if all(pace.seconds is None for pace in paces):
        said = f"no step of the shipped script could be timed: {paces[0].failure}"
        raise LabError(said, "`autoresearch-mlx doctor` tells whether MLX works here")
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
        scored=runs.scored(),
        matrix_params=runs.matrix_params,
        info=info,
    )


def _busy() -> str | None:
    """What other programs do to the figures, where they keep half of the cores or more."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < cores / 2:
        return None
    return f"other programs keep {load:.1f} of {cores} cores busy: this machine will look slower than it is"


# --- the probe


def _probe(conditions: Conditions, say: Say) -> tuple[tuple[Product, ...], float | None, Mapping[str, Any]]:
    """Products by type, memory in GB/s, and what MLX says of the device; what does not work is left out."""
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


def run_probe(environment: Mapping[str, str], size: int, dtype: str, *more: str) -> dict[str, Any]:
    """What the probe prints.  Raises OSError, ValueError, SubprocessError."""
    command = python_command("-m", "autoresearch_mlx.hardware.probe", "--size", str(size), "--dtype", dtype, *more)
    environment = child_process_environment(environment)
    limit = _PROBE_SECONDS
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# --- runs of the training script


def _paces(runs: _Runs, profile: Profile, patience: Patience, began: float) -> Iterator[Pace]:
    """The preset's batch, then smaller ones: one more in any case, a third where neither gives enough steps."""
    timed: list[Pace] = []
    for rows, tokens in batches(profile):
        enough = any(p.seconds and profile.budget_seconds / p.seconds >= profile.enough_steps for p in timed)
        if len(timed) >= 2 and (enough or time.monotonic() - began > patience.another):
            return
        timed.append(runs.pace(rows, tokens, patience if not timed else replace(patience, pace=patience.pace / 2)))
        yield timed[-1]


class _Runs:
    """Short runs of the shipped script, one after the other, and what they told."""

    def __init__(self, conditions: Conditions, folder: Path, profile: Profile, say: Say) -> None:
        self.start: float | None = None
        self.compile: float | None = None
        self.matrix_params: int | None = None
        self._conditions, self._folder, self._say = conditions, folder, say
        self._text = set_knobs(asset(SCRIPT).read_text(encoding="utf-8"), profile.knobs)
        self._token_seconds: float | None = None
        """Of one token in training, as far as it is known."""
        self._scored: list[tuple[int, float]] = []
        self._count = 0

    def scored(self) -> Scored | None:
        """The largest and the smallest evaluation; None where none ended well."""
        if not self._scored:
            return None
        most, least = max(self._scored), min(self._scored)
        return Scored(most[0], most[1], least[0], least[1])

    def pace(self, rows: int, tokens: int, patience: Patience) -> Pace:
        """One batch: a run of few steps where nothing is known yet, then one of as many as fit into the time."""
        if self._token_seconds is None:
            least = min(8, self._conditions.eval_rows)
            short = self._run(rows, tokens, _FIRST_STEPS, least)
            if short.seconds is None:
                return short
            self._token_seconds = short.seconds / tokens
        steps = int(patience.pace / (self._token_seconds * tokens))
        steps = min(max(steps, _LEAST_STEPS), _MOST_STEPS)
        return self._run(rows, tokens, steps, self._more_rows(patience.evaluation))

    def _more_rows(self, seconds: float) -> int | None:
        """Rows of one more evaluation that fits into the time; None once all were scored.

        Start-up is most of a small one.  So a second, larger one is made in any case, to tell it from the rows, and
        others follow for as long as there are runs.
        """
        if not self._scored:
            return None
        rows, spent = max(self._scored)
        first_rows, first_spent = min(self._scored)
        each = (spent - first_spent) / (rows - first_rows) if rows > first_rows else spent / rows
        fit = rows * _GROWTH if each <= 0 else rows + int((seconds - spent) / each)
        least = 2 * rows if len(self._scored) == 1 else 0
        wanted = min(self._conditions.eval_rows, max(least, min(rows * _GROWTH, fit)))
        return wanted if wanted > rows else None

    def _run(self, rows: int, tokens: int, steps: int, eval_rows: int | None) -> Pace:
        assignment = self._assign(rows, tokens, beats := _Beats())
        conditions = replace(self._conditions, steps=steps)
        training, log = Training(conditions, assignment), assignment.folder / "log.txt"
        with Log(log) as file:
            ended = training.run(file)
        failure = training.failure(ended, log)
        spent = training.seconds(ended)
        done = training.facts.get("steps") or 0
        if failure is not None or not spent["train"] or done < 2:
            said = failure[1] if failure is not None else f"it ended after {done} steps"
            self._say(f"{tokens:,} tokens a step, {rows} rows a pass: {said}")
            return Pace(rows, tokens, failure=said)
        self.start = spent["start"] if self.start is None else min(self.start, spent["start"] or self.start)
        self.compile = self.compile or spent["compile"]
        self.matrix_params = self.matrix_params or training.facts.get("matrix_params")
        seconds = spent["train"] / (done - 1)
        pace = Pace(rows, tokens, done - 1, seconds, *beats.spread(), _memory(training, ended.peak_memory_mb))
        self._say(_in_words(pace))
        if eval_rows is not None:
            self._evaluate(conditions, assignment, eval_rows)
        return pace

    def _assign(self, rows: int, tokens: int, watch: _Beats) -> Assignment:
        """A fresh tree with the script at this batch, and a fresh folder."""
        self._count += 1
        tree, run = (self._folder / f"{self._count}-{name}" for name in ("tree", "run"))
        tree.mkdir()
        run.mkdir()
        text = set_knobs(self._text, {"DEVICE_BATCH_SIZE": rows, "TOTAL_BATCH_SIZE": tokens})
        (tree / self._conditions.script).write_text(text, encoding="utf-8")
        return Assignment(tree, run, _SEED, watch)

    def _evaluate(self, conditions: Conditions, assignment: Assignment, rows: int) -> None:
        evaluation, log = Evaluation(replace(conditions, eval_rows=rows), assignment), assignment.folder / "log.txt"
        with Log(log) as file:
            ended = evaluation.run(file)
        failure = evaluation.failure(ended, log)
        if failure is not None or not evaluation.seconds:
            self._say(f"evaluation of {rows} rows: {failure[1] if failure else 'not measured'}")
            return
        self._scored.append((rows, evaluation.seconds))
        self._say(f"evaluation of {rows:,} of {conditions.eval_rows:,} rows: {evaluation.seconds:.1f} s")


class _Beats:
    """Hears when steps are told of, by the parent's clock, and makes step times of the gaps."""

    def __init__(self) -> None:
        self._heard: list[tuple[float, int]] = []

    def __call__(self, progress: Progress) -> None:
        if progress.phase != "train" or progress.step is None:
            return
        if not self._heard or progress.step > self._heard[-1][1]:
            self._heard.append((time.monotonic(), progress.step))

    def spread(self) -> tuple[float | None, float | None]:
        """Median step time, and half the range of the middle half; the first gap holds the start and is left out."""
        gaps = [(b - a) / (m - n) for (a, n), (b, m) in pairwise(self._heard[1:])]
        if len(gaps) < 4:
            return (median(gaps) if gaps else None), None
        low, middle, high = quantiles(gaps, n=4)
        return middle, (high - low) / 2


def _memory(training: Training, outside: float | None) -> float | None:
    inside = training.facts.get("peak_memory_mb")
    return float(inside) if inside else outside


def _in_words(pace: Pace) -> str:
    assert pace.seconds is not None
    rate = pace.tokens / pace.seconds
    noise = ""
    if pace.median is not None and pace.spread is not None:
        noise = f", median {1000 * pace.median:,.0f} +- {1000 * pace.spread:,.0f} ms"
    said = f"{1000 * pace.seconds:,.0f} ms a step over {pace.steps} steps{noise}"
    return f"{pace.tokens:,} tokens a step, {pace.rows} rows a pass: {said}, {rate:,.0f} tokens/s"
