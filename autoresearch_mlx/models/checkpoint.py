"""Read the facts about a model from the files of its checkpoint: size, parameters, context.  No weights are read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.models.wire import ModelFacts

_THINKING = ("<think>", "enable_thinking", "reasoning_effort")
"""Words that only the chat templates of thinking models contain."""
_HEADER_LIMIT = 100 * 2**20
"""Longest header in bytes that the safetensors format allows."""


def read_facts(model: str, folder: Path) -> ModelFacts:
    """Return the facts about the model whose checkpoint is in ``folder``; a fact that is not in the files is None.

    Raises EndpointError (refused) when config.json is missing or cannot be read.
    """
    config = _config(folder)
    weights = sorted(folder.glob("*.safetensors"))
    parameters = _said_parameters(folder) or _counted_parameters(weights, config)
    return ModelFacts(
        model=model,
        billions=parameters / 1e9 if parameters else None,
        context_tokens=_context(config),
        size_bytes=sum(path.stat().st_size for path in weights) or None,
        thinks=_thinks(folder),
        enforces_schema=False,
        here=True,
    )


def _config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else f"it is not valid JSON: {error}"
        hint = "give the folder of an MLX model, with config.json, tokenizer.json and *.safetensors in it"
        raise EndpointError("refused", f"{path} cannot be read: {said}", hint) from None
    if not isinstance(config, dict):
        raise EndpointError("refused", f"{path} does not contain a JSON object", "download the model again")
    return config


def _context(config: Mapping[str, Any]) -> int | None:
    """Return the context length in tokens; None if it is unknown.

    If a model also reads images or sound, its config has the context length in a section for text.
    """
    text = config.get("text_config")
    for section in (config, text if isinstance(text, dict) else {}):
        tokens = section.get("max_position_embeddings")
        if isinstance(tokens, int) and tokens > 0:
            return tokens
    return None


def _thinks(folder: Path) -> bool | None:
    """Return whether the chat template belongs to a thinking model; None without a template."""
    template = ""
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        path = folder / name
        if path.is_file():
            template += path.read_text(encoding="utf-8", errors="replace")
    if "{%" not in template:
        return None
    return any(mark in template for mark in _THINKING)


def _said_parameters(folder: Path) -> int | None:
    """Return the number of parameters that mlx_lm wrote into the index; None if there is no such number.

    This number is also correct for quantised weights.
    """
    try:
        said = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        total = said["metadata"]["total_parameters"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return total if isinstance(total, int) and total > 0 else None


def _counted_parameters(weights: list[Path], config: Mapping[str, Any]) -> int | None:
    """Return the number of elements of all tensors; None if it cannot be computed.

    In a quantised layer, the packed numbers are counted; scales and biases are not counted.
    """
    shapes = {name: shape for path in weights for name, shape in _shapes(path)}
    total = 0
    for name, shape in shapes.items():
        layer, _, part = name.rpartition(".")
        packed = f"{layer}.scales" in shapes
        if not packed or part not in ("weight", "scales", "biases"):
            total += math.prod(shape)
        elif part == "weight":
            bits = _bits(config, layer)
            if bits is None:
                return None
            total += math.prod(shape) * 32 // bits
    return total or None


def _bits(config: Mapping[str, Any], layer: str) -> int | None:
    """Return the bits of a number in a quantised layer; None if they are unknown.  Layers may have different bits."""
    settings = config.get("quantization") or config.get("quantization_config")
    if not isinstance(settings, dict):
        return None
    own = settings.get(layer)
    bits = own.get("bits") if isinstance(own, dict) else settings.get("bits")
    return bits if isinstance(bits, int) and bits > 0 else None


def _shapes(path: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield the name and shape of each tensor in a safetensors file; yield nothing for a damaged file.

    The file begins with eight bytes that give the length of a JSON header.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _HEADER_LIMIT else None
    except (OSError, ValueError):
        return
    for name, tensor in header.items() if isinstance(header, dict) else ():
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        if isinstance(shape, list) and all(isinstance(n, int) for n in shape):
            yield name, shape
