"""Run the edited model in a process that sees inputs only, and answer with logits:

    python -P -m autoresearch_mlx.trial.logits SPEC ASKS ANSWERS MEMORY

SPEC is a ModelSpec as JSON; the other arguments are inherited descriptors (see ``exchange``).  The process builds the
model with ``build_model`` of the edited file, loads the trained weights, and answers each call with logits.  The
process never reports a score, so the edited code in it can only change the logits.
"""

from __future__ import annotations

import importlib.util
import json
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from autoresearch_mlx.trial.exchange import ASK, BITS, Frame, Invalid
from autoresearch_mlx.trial.harness import set_device
from autoresearch_mlx.trial.spec import ModelSpec


def main(text: str, asks: int, answers: int, descriptor: int) -> None:
    spec = ModelSpec(**json.loads(text))
    frame = Frame(spec.rows_per_call, spec.seq_len, spec.vocab_size)
    memory = mmap.mmap(descriptor, frame.size)
    ask = os.read(asks, ASK.size)  # the device and the edited file wait for the first question: see evaluator.greet
    set_device(spec.device, spec.memory_limit_bytes)
    if spec.device == "cpu":
        # On a CPU, MLX builds each fused kernel, such as nn.relu, with the system's C++ compiler.  That takes half a
        # second in every evaluation, because this process may keep no cache, and the pass itself takes milliseconds.
        mx.disable_compile()
    try:
        model = load(spec)
        while ask != b"":
            slot, rows = ASK.unpack(ask)
            kind = respond(model, frame, memory, slot, rows)
            say(answers, {"slot": slot, "logits": kind})
            ask = os.read(asks, ASK.size)
    except Invalid as failure:
        say(answers, {"invalid": str(failure)})


def load(spec: ModelSpec) -> Any:
    """Return the edited file's model with the trained weights.  Raises Invalid if the weights do not fit."""
    path = Path(spec.script)
    found = importlib.util.spec_from_file_location("train_mlx", path)
    if found is None or found.loader is None:
        raise Invalid(f"{path.name} cannot be imported")
    module = importlib.util.module_from_spec(found)
    sys.modules["train_mlx"] = module
    found.loader.exec_module(module)
    mx.random.seed(spec.seed)
    model = module.build_model(spec.vocab_size, spec.seq_len)
    try:
        model.load_weights(spec.weights, strict=True)
    except ValueError as error:
        raise Invalid(f"weights: the trained weights do not fit build_model: {error}") from None
    model.eval()
    return model


def respond(model: Callable[[mx.array], Any], frame: Frame, memory: mmap.mmap, slot: int, rows: int) -> str:
    """Compute the logits of one call, [rows, seq_len, vocab_size], write them into ``memory``, and return their type.

    The type is float32, float16 or bfloat16; logits of any other type are converted to float32.  Raises Invalid for
    logits of a wrong shape.
    """
    inputs = frame.inputs(memory, slot, rows)
    logits = model(mx.array(inputs))
    expected = (*inputs.shape, frame.vocab_size)
    if not isinstance(logits, mx.array) or logits.shape != expected:
        shape = getattr(logits, "shape", type(logits).__name__)
        raise Invalid(f"shape: logits are {shape}, expected {expected}")
    kind = str(logits.dtype).removeprefix("mlx.core.")
    if kind not in BITS:
        kind, logits = "float32", logits.astype(mx.float32)
    bits = np.array(logits.view(mx.uint16) if kind == "bfloat16" else logits, copy=False)
    np.copyto(frame.logits(memory, slot, rows, kind), bits)
    return kind


def say(answers: int, words: dict[str, Any]) -> None:
    os.write(answers, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
