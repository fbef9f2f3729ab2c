"""Decide whether the model and a training run fit into memory together; on a Mac, both use the main memory."""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.experiment import History
from autoresearch_mlx.models.wire import ModelFacts

GB = 2**30
LOADED = 1.2
"""Ratio of a loaded model's memory to the size of its weights.  The model also needs a key-value cache and buffers."""
RESERVE = 0.25
"""Share of main memory left to the system and other programs; Metal recommends to use at most 0.75 of it."""

FREE_RESERVE = 0.05
"""Share of main memory that must stay free while a run and a loaded model use the rest."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether the model and a run fit into memory together.

    ``fits`` is None if a size is unknown.  ``words`` give the sizes, or name the unknown sizes.
    """

    fits: bool | None
    words: str


def run_bytes(history: History) -> int | None:
    """Return the largest memory peak of the last measured runs, in bytes; None before any peak was measured."""
    recent = [m.peak_memory_mb for e in history.experiments[-8:] for m in e.measurements if m.peak_memory_mb]
    return int(max(recent) * 2**20) if recent else None


def room_beside(facts: ModelFacts, history: History, office: Office) -> Fit:
    """Decide whether a model on this machine may answer while an experiment is measured.

    Some servers neither report the model's size nor can unload the model.  Then the model counts as loaded already, and
    a run must fit into the memory that is free now.
    """
    found = fit(facts, history, office)
    run = run_bytes(history)
    if found.fits is not None or run is None or facts.unloads:
        return found
    import psutil

    free, reserve = psutil.virtual_memory().available, FREE_RESERVE * psutil.virtual_memory().total
    sizes = f"run {run / GB:.1f} GB against {free / GB:.1f} GB free beside the model"
    return Fit(run + reserve <= free, sizes)


def fit(facts: ModelFacts, history: History, office: Office) -> Fit:
    """Decide whether the model and a run together fit into the machine's memory, less the reserve for the system."""
    run, model, memory = run_bytes(history), facts.size_bytes, office.memory_bytes
    if run is None or model is None or memory is None:
        unknown = [name for name, size in (("run", run), ("model", model), ("machine", memory)) if size is None]
        return Fit(None, f"the memory of the {' and the '.join(unknown)} is unknown")
    needed, there = model * LOADED + run, memory * (1 - RESERVE)
    sizes = f"model {model * LOADED / GB:.1f} + run {run / GB:.1f} GB against {there / GB:.1f} of {memory / GB:.0f} GB"
    return Fit(needed <= there, sizes)
