"""Imitate a small model for the bench: it knows the usual tricks of the field, and nothing about the landscape.

The model reads the file in its prompt, picks one or two well-known knobs and moves them by round factors, as small
models do.  Now and then it answers in prose only.  The real agent handles its replies, with real prompts and real
repairs.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from autoresearch_mlx.lab.source import Knob, read_knobs
from autoresearch_mlx.models.wire import Ask, ModelFacts, Reply

FACTORS = (0.5, 0.67, 0.75, 1.33, 1.5, 2.0)
SHIFTS = (-0.1, -0.05, 0.05, 0.1)
TRICKS: dict[str, float] = {
    "TOTAL_BATCH_SIZE": 3,
    "DEPTH": 3,
    "MATRIX_LR": 3,
    "EMBEDDING_LR": 2,
    "WARMDOWN_RATIO": 2,
    "UNEMBEDDING_LR": 1,
    "SCALAR_LR": 1,
    "WEIGHT_DECAY": 1,
    "FINAL_LR_FRAC": 1,
    "ASPECT_RATIO": 1,
    "WINDOW_PATTERN": 1,
    "ROPE_BASE": 1,
    "X0_LAMBDA": 1,
}
"""Relative frequency with which each knob is chosen."""
PROSE = 0.1
"""Share of answers without an edit."""
PAIRS = 0.25
_FENCE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Habits:
    """A model without a server; its answers depend only on its seed and on how often it was asked."""

    name = "habits"

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 3])

    def facts(self) -> ModelFacts:
        return ModelFacts(self.name, billions=30.0, here=False)

    def ask(self, ask: Ask) -> Reply:
        prompt = "\n".join(message.content for message in ask.messages)
        knobs = next(found for fence in _FENCE.findall(prompt) if (found := read_knobs(fence)))
        text = "I would look at the data first." if self._rng.random() < PROSE else self._idea(knobs)
        return Reply(text, "stop", self.name, prompt_tokens=ask.prompt_tokens, completion_tokens=len(text) // 4)

    def release(self) -> None:
        return None

    def close(self) -> None:
        pass

    def _idea(self, knobs: dict[str, Knob]) -> str:
        names = [name for name in TRICKS if name in knobs]
        weights = np.array([TRICKS[name] for name in names])
        count = 2 if self._rng.random() < PAIRS else 1
        chosen = self._rng.choice(names, size=count, replace=False, p=weights / weights.sum())
        moved = {str(name): self._moved(knobs[str(name)]) for name in chosen}
        fields = {"title": f"move {', '.join(moved)}", "axis": None, "hypothesis": "it is worth a try", "knobs": moved}
        return f"```json\n{json.dumps(fields)}\n```"

    def _moved(self, knob: Knob) -> Any:
        value, words = knob.value, knob.words
        if knob.kind == "choice":
            return str(self._rng.choice([word for word in words if word != value]))
        low, high = (float(word) for word in words)
        if knob.kind == "pow2":
            moved: float = value * float(self._rng.choice((0.5, 2.0)))
        elif knob.kind == "int":
            moved = value + int(self._rng.choice((-1, 1))) * max(1, round(0.12 * value))
        elif knob.kind == "log" or (value > 0.15 and self._rng.random() < 0.5):
            moved = float(f"{value * float(self._rng.choice(FACTORS)):.2g}")
        else:
            moved = round(value + float(self._rng.choice(SHIFTS)), 3)
        bounded = min(max(moved, low), high)
        return int(bounded) if isinstance(value, int) else bounded
