"""One line of a stranger's log is read where it speaks plainly, and left open where it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_mlx.compare.descriptions import Described, read_description, read_descriptions


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("matrix LR 0.04 -> 0.06", {"MATRIX_LR": (0.04, 0.06)}),
        ("matrix LR 0.04→0.06 (too aggressive)", {"MATRIX_LR": (0.04, 0.06)}),
        ("reduce WARMDOWN_RATIO from 0.5 to 0.3", {"WARMDOWN_RATIO": (0.5, 0.3)}),
        ("unembedding_lr 0.004->0.008 — val_bpb regressed 1.883->2.001", {"UNEMBEDDING_LR": (0.004, 0.008)}),
        ("EMBEDDING_LR=1.0", {"EMBEDDING_LR": (None, 1.0)}),
        ("halve total batch 524K→262K (more steps)", {"TOTAL_BATCH_SIZE": (524288, 262144)}),
        ("halve batch size to 2^15", {"TOTAL_BATCH_SIZE": (65536, 32768)}),
        ("batch 2**14", {"TOTAL_BATCH_SIZE": (None, 16384)}),
        ("BATCH=256", {"DEVICE_BATCH_SIZE": (None, 256)}),
        ("RoPE base 200K (from 10K)", {"ROPE_BASE": (10000, 200000)}),
        ("x0_init 0.05 (reduce from 0.1 to 0.05; worse)", {"X0_LAMBDA": (0.1, 0.05)}),
        ("add 5% warmup", {"WARMUP_RATIO": (0.0, 0.05)}),
        ("shorten warmdown to 30 percent", {"WARMDOWN_RATIO": (None, 0.3)}),
        ("depth 9 aspect_ratio 57 (extra layer)", {"DEPTH": (None, 9), "ASPECT_RATIO": (None, 57)}),
        ("[10min] halve batch (DEVICE_BATCH_SIZE=4 TOTAL_BATCH_SIZE=2^13)", None),
        ("short window seq_len/8 (256 tokens)", {"SHORT_WINDOW": (None, 0.125)}),
        ("window SSSL->SSLL — both improved", {"WINDOW_PATTERN": ("SSSL", "SSLL")}),
        ("adam beta2 0.99 instead of 0.95", {"ADAM_BETA2": (0.95, 0.99)}),
        ("lower Muon momentum ramp start 0.85->0.83", {"MUON_MOMENTUM_START": (0.85, 0.83)}),
        ("MLP ratio 4x→3x", {"MLP_RATIO": (4, 3)}),
        ("random seed 42→137", {"SEED": (42, 137)}),
        ("lower matrix lr to 0.0025 on 3x MLP", {"MATRIX_LR": (None, 0.0025)}),
    ],
)
def test_knobs_with_from_and_to(text: str, changes: dict[str, Any] | None) -> None:
    wanted = {"DEVICE_BATCH_SIZE": (None, 4), "TOTAL_BATCH_SIZE": (None, 8192)} if changes is None else changes
    assert read_description(text).changes == wanted


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("replace ReLU^2 MLP with SwiGLU", "mlp.gated"),
        ("GELU instead of SiLU", "mlp.activation"),
        ("weight tying (shared wte/lm_head)", "weight_tying"),
        ("no logit cap", "softcap"),
        ("cosine warmdown", "schedule.shape"),
        ("gradient norm clipping max_norm=1.0", "optimizer.clip"),
        ("add checkpoint saving; no logic change, re-run confirms noise floor", "repeat"),
        ("GQA with n_kv_head=2", "attention.heads"),
        ("depth 9 aspect_ratio 57", "depth"),
    ],
)
def test_the_axis_of_a_change(text: str, axis: str) -> None:
    assert read_description(text).axis == axis


@pytest.mark.parametrize(
    "text",
    [
        "SiLU + matrix LR 0.06",
        "no logit cap + all LRs -30%",
        "init scale 3^0.5->2^0.5",
        "startup_exclude 1->2",
        "combine gpu3 findings",
        "",
    ],
)
def test_what_is_not_told_plainly_stays_open(text: str) -> None:
    told = read_description(text)
    assert (told.axis, told.changes) == ("other", {})


def test_a_log_tells_what_a_knob_was() -> None:
    log = [
        ("baseline", True),
        ("warmdown 0.7", True),
        ("warmdown 0.8", False),
        ("matrix LR to 0.05", False),
        ("matrix LR 0.04 -> 0.03", True),
        ("matrix LR to 0.02", False),
        ("halve batch", False),
    ]
    assert [told.changes for told in read_descriptions(log)] == [
        {},
        {"WARMDOWN_RATIO": (None, 0.7)},
        {"WARMDOWN_RATIO": (0.7, 0.8)},
        {"MATRIX_LR": (0.04, 0.05)},
        {"MATRIX_LR": (0.04, 0.03)},
        {"MATRIX_LR": (0.03, 0.02)},
        {},
    ]


def test_a_baseline_that_tells_its_values_changes_nothing_but_is_remembered() -> None:
    first, second = read_descriptions([("baseline DEPTH=12 TOTAL_BATCH_SIZE=2^18", True), ("DEPTH=14", False)])
    assert first == Described("baseline", {}, "as it was")
    assert second.changes == {"DEPTH": (12, 14)}


@given(st.text(max_size=80))
def test_no_text_breaks_it(text: str) -> None:
    told = read_description(text)
    assert all(was != now for was, now in told.changes.values())
