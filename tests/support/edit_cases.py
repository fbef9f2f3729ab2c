"""Replies for the tests of edits, made from the real training script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from conftest import ROOT

from autoresearch_mlx.agents.edits.reply import Edit, read_reply

PATH = "train_mlx.py"
SCRIPT = (ROOT / PATH).read_text(encoding="utf-8")
FILES = {PATH: SCRIPT}

SMALL = '''\
"""A small part of the training script."""

import math

import mlx.core as mx
import mlx.nn as nn

# fmt: off
DEPTH = 4                   # transformer layers                  # knob: int 1 12
MLP_RATIO = 4.0             # hidden width over the model's       # knob: lin 2 6
WINDOW_PATTERN = "L"        # per layer, repeated                 # knob: choice L SL SSSL
TOTAL_BATCH_SIZE = 2**14    # tokens per optimiser step           # knob: pow2 1024 131072
MATRIX_LR = 0.04            # matrices inside the blocks, Muon    # knob: log 0.004 0.2
ADAM_BETAS = (0.8, 0.95)    # decay of AdamW's first and second moments
TIED = False
# fmt: on


class Linear(nn.Module):
    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.weight = mx.zeros((width_out, width_in))


class MLP(nn.Module):
    """Two matrices around a squared ReLU (Primer, arXiv:2109.08668)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = Linear(width, int(MLP_RATIO * width))
        self.c_proj = Linear(int(MLP_RATIO * width), width)

    def __call__(self, x: mx.array) -> mx.array:
        return self.c_proj(mx.square(nn.relu(self.c_fc(x))))


def lr_factor(progress: float) -> float:
    if progress < 0.5:
        return 1.0
    return MATRIX_LR * math.sqrt(progress) * DEPTH
'''
"""A script that is short enough to be read thousands of times."""

ACTIVATION = "        return self.c_proj(mx.square(nn.relu(self.c_fc(x))))"
GENTLER = "        return self.c_proj(nn.silu(self.c_fc(x)))"


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def fenced(code: str, info: str = "python") -> str:
    return f"```{info}\n{code}{'' if code.endswith(chr(10)) else chr(10)}```\n"


def fields(**more: Any) -> str:
    return json.dumps({"title": "gentler activation", "axis": "mlp", "hypothesis": "smooth", **more})


def only(text: str, files: Mapping[str, str] = FILES) -> Edit:
    """Return the single edit of a reply, after checking the rules for every edit."""
    (edit,) = read_reply(text, files)
    return edit


def new_text(text: str, original: str = SCRIPT) -> str:
    """Return the new text of the training script; the reply must be valid."""
    edit = only(text, {PATH: original})
    assert not edit.problem
    assert list(edit.files) == [PATH]
    return edit.files[PATH]


def problem(text: str, original: str = SCRIPT) -> str:
    """Return the problem of a reply, which must be invalid."""
    edit = only(text, {PATH: original})
    assert edit.problem
    assert not edit.files
    return edit.problem
