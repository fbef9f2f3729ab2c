"""Prepare the checks of training and evaluation: find the device, the text and the settings, and make short runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Assignment, Progress
from autoresearch_mlx.hardware.blas import child_environment, find_blas
from autoresearch_mlx.hardware.machine import Machine, read_machine
from autoresearch_mlx.hardware.profile import Profile, choose_profile
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.config import BudgetSettings, DataSettings, Settings, TargetSettings, load_settings
from autoresearch_mlx.lab.lab import SCRIPT, Lab, find_lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.setup.selftest.check import Doing, Ground
from autoresearch_mlx.targets.contract import Place
from autoresearch_mlx.targets.corpus.prepare import default_cache
from autoresearch_mlx.targets.pretrain.kind import PretrainKind
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.evaluation import Evaluation
from autoresearch_mlx.trial.runner import Log
from autoresearch_mlx.trial.training import Training

SEED = 42


def settings_here(start: Path) -> Settings:
    """Return the settings of the lab at ``start``; without a lab, the default settings.  Raises ConfigError."""
    try:
        lab = find_lab(start)
    except LabError:
        return Settings()
    return load_settings(lab.root).settings


@dataclass(frozen=True, slots=True)
class Device:
    """The device on which a training computes, and the environment that a training gets."""

    machine: Machine
    profile: Profile
    environment: Mapping[str, str]

    @property
    def name(self) -> Literal["cpu", "gpu"]:
        return self.profile.device


def device_of(start: Path) -> Device:
    """Return the device that a training of the lab at ``start`` would use.  Raises ConfigError or BlasError."""
    settings, machine = settings_here(start), read_machine()
    profile = choose_profile(machine, settings.hardware.profile)
    return Device(machine, profile, child_environment(find_blas(default_cache(), machine)))


@dataclass(frozen=True, slots=True)
class Scene:
    """What a training on this machine needs: profile, conditions (with the text to train on) and script."""

    machine: Machine
    profile: Profile
    conditions: Conditions
    text: str
    """The shipped training script with this machine's preset."""


def scene_of(ground: Ground, doing: Doing) -> Scene:
    """Return the scene of a check; if the text to train on was never prepared, prepare it first.

    The text comes from Python's own library or from the folder that the lab names; nothing is downloaded.  Raises
    CorpusError or ConfigError.
    """
    here = settings_here(ground.start)
    data = here.data if here.data.source == "folder" else DataSettings(source="stdlib")
    own = {"target": TargetSettings(), "data": data, "budget": BudgetSettings()}
    hardware = here.hardware.model_copy(update={"calibrate": "never"})
    settings = here.model_copy(update={**own, "hardware": hardware})
    machine = read_machine()
    profile = choose_profile(machine, settings.hardware.profile)
    place = Place(settings, Lab(ground.folder), machine, profile, doing)
    kind = PretrainKind()
    conditions = kind.build(kind.settle(place), place).conditions
    return Scene(machine, profile, conditions, set_knobs(asset(SCRIPT).read_text(encoding="utf-8"), profile.knobs))


@dataclass(frozen=True, slots=True)
class Trained:
    """The results of a short training."""

    assignment: Assignment
    seconds: Mapping[str, float | None]
    """Seconds by phase."""
    steps: int
    tokens: int
    loss: float


class Broken(Exception):
    """Raised when a training or an evaluation of a check has failed; the message says how."""


def train(conditions: Conditions, text: str, folder: Path) -> Trained:
    """Run the training script ``text`` in the new folder ``folder``.  Raises Broken if the training fails."""
    tree, run = folder / "tree", folder / "run"
    tree.mkdir(parents=True)
    run.mkdir()
    (tree / conditions.script).write_text(text, encoding="utf-8")
    assignment = Assignment(tree, run, SEED, _silent)
    training, log = Training(conditions, assignment), run / "log.txt"
    with Log(log) as file:
        ended = training.run(file)
    if (failure := training.failure(ended, log)) is not None:
        blamed = training.blame(ended, log)
        said = blamed.words or failure[1]
        raise Broken(f"{said}; {blamed.next_step}" if blamed.next_step else said)
    facts: Mapping[str, Any] = training.facts
    return Trained(assignment, training.seconds(ended), facts["steps"], facts["tokens"], float(facts["loss"]))


@dataclass(frozen=True, slots=True)
class Scored:
    """The result of one evaluation."""

    value: float
    """Bits per byte without the correction for looking ahead.  This correction is a random estimate, and would hide
    small differences."""
    seconds: float


def score(conditions: Conditions, trained: Trained, rows: int) -> Scored:
    """Evaluate the weights of a training on at most ``rows`` rows.  Raises Broken if the evaluation fails."""
    ordered = replace(conditions, eval_rows=min(rows, conditions.eval_rows))
    evaluation, log = Evaluation(ordered, trained.assignment), trained.assignment.folder / "log.txt"
    with Log(log) as file:
        ended = evaluation.run(file)
    if (failure := evaluation.failure(ended, log)) is not None:
        blamed = evaluation.blame(ended, log)
        raise Broken(f"{failure[1]}; {blamed.next_step}" if blamed.next_step else failure[1])
    assert evaluation.value is not None and evaluation.seconds is not None
    return Scored(evaluation.value - float(evaluation.facts["lookahead"]), evaluation.seconds)


def _silent(progress: Progress) -> None:
    return None
