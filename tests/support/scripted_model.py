"""A checkpoint of a few hundred kilobytes that a real ``mlx_lm.server`` serves and whose weights hold scripted replies.

The model has one layer, whose attention and MLP give zeros, so the reply depends only on a table that says which token
follows which.  A reply is a chain of tokens, one for each of its lines; the chat template decides which chain begins.
The text of a reply comes out byte for byte at any temperature.  Prompts are cut into tokens of four characters, so that
the server counts about as many as a real model's tokenizer.

    write_model(tmp_path / "model", ["reply to experiment 1", ["to experiment 2", "and when that was refused"]])
    write_model(tmp_path / "model", ["first", "second"], by_turn())
    write_model(tmp_path / "model", ["first", "second"], by_count("measured"))
    write_model(tmp_path / "model", replies, markers={"Say what you would try": "Three ideas: ..."})
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 128
"""Length of a token's code, which is a vector of random signs and nearly orthogonal to all other codes."""
END, UNKNOWN, PROBE = "<|end|>", "<|unknown|>", "a ,b"
"""Special tokens; mlx_lm decodes PROBE, and trims the spaces of every reply if it does not get PROBE back."""


def by_experiment(line: str = "This is experiment ") -> str:
    """Pick reply N (from 1) if the user's messages say ``This is experiment N.``; else pick by turn.

    The last such line counts.  A reply that is a list has one text for each turn of the conversation; the last text is
    repeated.
    """
    return f"(said.split({_quoted(line)})[-1].split('.')[0] | int) - 1 if {_quoted(line)} in said else turn"


def by_turn() -> str:
    """Pick reply k for the question that comes after k answers, whatever the messages say."""
    return "turn"


def by_count(text: str) -> str:
    """Pick reply k if the user's messages contain ``text`` k times."""
    return f"said.count({_quoted(text)})"


def write_model(
    folder: Path,
    replies: Sequence[str | Sequence[str]],
    pick: str | None = None,
    *,
    markers: Mapping[str, str] | None = None,
    context: int = 32768,
) -> Path:
    """Write config, weights and tokenizer; return ``folder``.

    ``pick`` comes from one of the functions above, ``by_experiment()`` by default.  If a marker occurs in the last
    message, the answer is that marker's reply. If no reply is left, the server answers with an error that says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[reply] if isinstance(reply, str) else list(reply) for reply in replies]
    chains = {f"<|reply {n}.{k}|>": text for n, row in enumerate(rows) for k, text in enumerate(row)}
    chains |= {f"<|marked {n}|>": text for n, text in enumerate((markers or {}).values())}
    vocabulary = {token: i for i, token in enumerate([END, UNKNOWN, PROBE, *chains])}
    following = _add_chains(vocabulary, chains)
    template = _template([len(row) for row in rows], pick or by_experiment(), list(markers or {}))
    _write(folder / "tokenizer.json", _tokenizer(vocabulary, [END, UNKNOWN, *chains]))
    _write(folder / "tokenizer_config.json", _tokenizer_config(template, context))
    _write(folder / "config.json", _config(len(vocabulary), context))
    _write_weights(folder / "model.safetensors", len(vocabulary), following)
    return folder


def _add_chains(vocabulary: dict[str, int], chains: Mapping[str, str]) -> dict[int, int]:
    """Give every line of every reply a token of its own; return which token follows which."""
    following = {}
    for start, text in chains.items():
        last = vocabulary[start]
        for line in text.splitlines(keepends=True):
            # Two lines may be equal; a number that the decoder removes again keeps them apart.
            following[last] = vocabulary[f"\ue000{len(vocabulary)}\ue001{line}"] = len(vocabulary)
            last = following[last]
    return following


def _template(lengths: Sequence[int], row: str, markers: Sequence[str]) -> str:
    """Return the Jinja template, which gives the messages as they are and then the token that begins the answer."""
    branches = [(f"{_quoted(text)} in messages[-1]['content']", f"<|marked {n}|>") for n, text in enumerate(markers)]
    missing = "{{ raise_exception('the script has no reply ' ~ (row + 1)) }}"
    branches.append((f"row < 0 or row >= {len(lengths)}", missing))
    branches.append(("true", "{{ '<|reply ' ~ row ~ '.' ~ [turn, lengths[row] - 1] | min ~ '|>' }}"))
    choice = "".join(f"{{% {'elif' if n else 'if'} {test} %}}{start}" for n, (test, start) in enumerate(branches))
    return (
        "{% for m in messages %}{{ m['role'] ~ ': ' ~ m['content'] ~ '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}"
        "{% set turn = messages | selectattr('role', 'equalto', 'assistant') | list | length %}"
        "{% set said = messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('\\n') %}"
        f"{{% set lengths = {list(lengths)} %}}{{% set row = {row} %}}{choice}{{% endif %}}{{% endif %}}"
    )


def _quoted(text: str) -> str:
    """Return the text as a literal of Jinja."""
    return json.dumps(text, ensure_ascii=False)


def _tokenizer(vocabulary: Mapping[str, int], special: Sequence[str]) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": vocabulary[token], "content": token, **flags} for token in special],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": r"[\s\S]{1,4}"},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"Regex": "\\A\ue000[0-9]+\ue001"}, "content": ""},
                {"type": "Fuse"},
            ],
        },
        "model": {"type": "WordLevel", "vocab": dict(vocabulary), "unk_token": UNKNOWN},
    }


def _tokenizer_config(template: str, context: int) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "chat_template": template,
    }


def _config(size: int, context: int) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": size,
        "hidden_size": WIDTH,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "max_position_embeddings": context,
        "tie_word_embeddings": False,
        "eos_token_id": 0,
        "torch_dtype": "float32",
    }


def _write_weights(path: Path, size: int, following: Mapping[int, int]) -> None:
    """Write weights in which each token that has a successor has its own code; all other tokens share the code of
    END, so END follows them."""
    import mlx.core as mx

    signs = np.random.default_rng(0).choice(np.float32([-1, 1]), (size, WIDTH))
    codes = np.stack([signs[i if i in following else 0] for i in range(size)])
    head = np.zeros((size, WIDTH), np.float32)
    head[0] = codes[0]
    for token, successor in following.items():
        head[successor] = codes[token]
    layer, ones = "model.layers.0.", np.ones(WIDTH, np.float32)
    weights = {"model.embed_tokens.weight": codes, "lm_head.weight": 4 * head, "model.norm.weight": ones}
    for name, rows, columns in (("q", 8, WIDTH), ("k", 8, WIDTH), ("v", 8, WIDTH), ("o", WIDTH, 8)):
        weights[f"{layer}self_attn.{name}_proj.weight"] = np.zeros((rows, columns), np.float32)
    for name, rows, columns in (("gate", 8, WIDTH), ("up", 8, WIDTH), ("down", WIDTH, 8)):
        weights[f"{layer}mlp.{name}_proj.weight"] = np.zeros((rows, columns), np.float32)
    for name in ("input_layernorm", "post_attention_layernorm"):
        weights[f"{layer}{name}.weight"] = ones
    for name in ("q_norm", "k_norm"):
        weights[f"{layer}self_attn.{name}.weight"] = np.ones(8, np.float32)
    mx.save_safetensors(str(path), {name: mx.array(array) for name, array in weights.items()}, {"format": "mlx"})


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
