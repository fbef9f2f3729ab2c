"""Whether the model and a training run fit into one memory, which on a Mac they share."""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.prompt.brief import Form
from autoresearch_mlx.experiment import History
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.models.wire import ModelFacts

BLOCKS_FROM = 14.0
"""Parameters in units of 1e9."""
MOST_MISMATCHES = 2
"""So many experiments in a row whose blocks fit nowhere, and the whole file is asked for instead."""


def first_form(settings: AgentSettings, facts: ModelFacts) -> Form:
    """By the settings, else by the model's size; a model of unknown size elsewhere counts as large."""
    if settings.format != "auto":
        return settings.format
    if facts.billions is None:
        return "whole" if facts.here else "blocks"
    return "blocks" if facts.billions >= BLOCKS_FROM else "whole"


def form_now(settings: AgentSettings, facts: ModelFacts, history: History, agent: str) -> Form:
    """The first form, or ``whole`` once this agent's blocks did not fit several times in a row."""
    form = first_form(settings, facts)
    if settings.format != "auto" or form == "whole":
        return form
    missed = 0
    for e in history.experiments:
        if e.talk.get("agent", e.agent) != agent or "mismatches" not in e.talk:
            continue
        missed = missed + 1 if e.talk["mismatches"] else 0
        if missed >= MOST_MISMATCHES:
            return "whole"
    return form


GB = 2**30
LOADED = 1.2
"""A loaded model over its weights' size: the cache of keys and values, and buffers."""
RESERVE = 0.25
"""Share of main memory for the system and what else is open; Metal recommends no more than three quarters."""


@dataclass(frozen=True, slots=True)
class Fit:
    """``fits`` is None where a size is unknown; ``words`` say the sum either way."""

    fits: bool | None
    words: str


def run_bytes(history: History) -> int | None:
    """The largest peak of the last measured runs."""
    recent = [m.peak_memory_mb for e in history.experiments[-8:] for m in e.measurements if m.peak_memory_mb]
    return int(max(recent) * 2**20) if recent else None


def fit(facts: ModelFacts, history: History, office: Office) -> Fit:
    """Model and run together against what the machine can give them."""
    run, model, memory = run_bytes(history), facts.size_bytes, office.memory_bytes
    if run is None or model is None or memory is None:
        unknown = [name for name, size in (("run", run), ("model", model), ("machine", memory)) if size is None]
        return Fit(None, f"memory of the {' and the '.join(unknown)} unknown")
    needed, there = model * LOADED + run, memory * (1 - RESERVE)
    sizes = f"model {model * LOADED / GB:.1f} + run {run / GB:.1f} GB against {there / GB:.1f} of {memory / GB:.0f} GB"
    return Fit(needed <= there, sizes)
