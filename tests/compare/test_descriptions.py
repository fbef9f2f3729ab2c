"""A line of another person's log is read if it is clear, and gets no knobs if it is not."""

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
        "D_MODEL 512->384 + DEPTH 8->9",
        "EXPAND 2->1 WARMDOWN_RATIO 0.5->0.7",
        "window warmup in 3 phases (128, 256, 512)",
        "weight tying std=1.0 lm_head shared",
        "DEPTH 8->9; MATRIX_LR 0.04->0.03",
        "DEPTH 8->9 (also MATRIX_LR 0.03)",
        "DEPTH 8->9 (AdamW LR x1.5)",
        "depth=6 dim=512",
        "matrix LR 0.04 -> 0.06, grad_accum=2",
        "revert DEPTH 9->8",
        "ADAM_BETAS=(0.9, 0.95) + FOO 3->4",
        "no weight tying",
        "without warmup 0.05",
        "SwiGLU off",
        "replace z-loss by a cap",
        "cosine -> linear",
        "warmup 100 steps",
        "warmdown over the last 150 steps",
        "shorten lr warmdown window to 10 percent",
        "fix warmdown_iters 1200->150 (was training always in decay)",
        "x0_lambdas init 0.2->0.4 at d20",
        "MATRIX_LR -30%",
        "2x MATRIX_LR",
        "MATRIX_LR 0.04/0.06/0.08",
        "MATRIX_LR 0.03-0.05 sweep",
        "MATRIX_LR 0.04 vs 0.06",
        "batch 2^19 -> 64",
        "increase depth by 2",
        "WEIGHT_DECAY 0.2 -> 0.1 for embeddings only",
        "gradient clipping only to Muon",
        "adam beta2 0.95 -> 0.99 for value embeddings",
        "add WD 0.01 to embeddings",
        "halve value embedding LR",
        "value embedding LR 0.6 -> 0.3",
        "anneal weight decay 0.2 -> 0",
        "DEPTH 8->9; lr 0.03",
        "DEPTH 8->9 - MATRIX_LR 0.03",
        "DEPTH 8->9 (lr also 0.03)",
        "depth 9 (was 8); batch halved",
        "depth 8->9 for the encoder",
        "ramp batch 2^15 -> 2^17 during training",
        "rerun with depth 9",
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


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("HEAD_DIM 128->64 (evidence: HEAD_DIM=64 is common)", {"HEAD_DIM": (128, 64)}),
        ("WARMDOWN 0.1->0.05 worse (needs some cooldown for convergence)", {"WARMDOWN_RATIO": (0.1, 0.05)}),
        ("Reduce MATRIX_LR from 0.04 to 0.02 to improve stability. [^^^^", {"MATRIX_LR": (0.04, 0.02)}),
        ("depth 4->6 — val_bpb regressed 2.014->2.614, too few steps in 5min budget", {"DEPTH": (4, 6)}),
        ("batch 2^17 -> 2^16 (2557 steps, 10.4 GB vs 12.1 GB)", {"TOTAL_BATCH_SIZE": (131072, 65536)}),
        ("global batch 2^19→2^18 no better", None),
        ("softcap 15→30 (Worse (unclear why))", {"SOFTCAP": (15, 30)}),
    ],
)
def test_remarks_belong_to_no_change(text: str, changes: dict[str, Any] | None) -> None:
    assert read_description(text).changes == (changes or {})


def test_an_aside_adds_to_the_line_and_never_overwrites_it() -> None:
    told = read_description("DEPTH 8->9 (ASPECT_RATIO=57, DEPTH=12 was slower)")
    assert told.changes == {"DEPTH": (8, 9), "ASPECT_RATIO": (None, 57)}
    assert read_description("warmdown 0.5 -> 0.7 (MATRIX_LR=0.04)", {"MATRIX_LR": 0.04}).changes.keys() == {
        "WARMDOWN_RATIO"
    }


def test_a_batch_that_counts_rows_has_its_own_value_before() -> None:
    known = {"TOTAL_BATCH_SIZE": 262144, "DEVICE_BATCH_SIZE": 128}
    assert read_description("BATCH=64 (fits in memory)", known).changes == {"DEVICE_BATCH_SIZE": (128, 64)}
    assert read_description("BATCH=64 (fits in memory)", {"TOTAL_BATCH_SIZE": 262144}).changes == {
        "DEVICE_BATCH_SIZE": (None, 64)
    }


def test_what_a_kept_line_of_several_changes_moved_is_no_longer_known() -> None:
    log = [
        ("baseline DEPTH=4", True),
        ("depth 6 with GQA", True),
        ("depth 8", False),
        ("SiLU + depth up", True),
        ("depth 8", False),
    ]
    assert [told.changes for told in read_descriptions(log)][2::2] == [{"DEPTH": (6, 8)}, {"DEPTH": (None, 8)}]


def test_a_change_of_code_is_made_once() -> None:
    log = [("baseline", True), ("SwiGLU MLP", True), ("SwiGLU MLP", False)]
    assert [told.axis for told in read_descriptions(log)] == ["baseline", "mlp.gated", "other"]


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


PLAIN = [
    "matrix LR 0.04 -> 0.06",
    "halve total batch 524K→262K (more steps)",
    "WARMDOWN_RATIO=0.7 (slightly worse)",
    "depth 9 aspect_ratio 57",
    "SwiGLU MLP",
    "weight tying (shared wte/lm_head)",
    "gradient clipping max_norm=1.0",
    "cosine warmdown",
    "parallel attn+MLP (much worse)",
    "add 5% warmup",
    "label smoothing 0.1",
    "remove cautious WD mask (much worse)",
    "Nesterov momentum in Muon",
]
BEFORE = ["revert ", "undo ", "no ", "without ", "remove ", "EXPAND 2->1 ", "foo=2, ", "bigger vocab + ", "instead of "]
BEHIND = [
    *(" + FOO 3->4", ", foo_bar=2", " and mystery mode", "; GRAD_ACCUM 2->4", " (also DROPOUT 0.1)", " / lr 0.01"),
    *(
        " with flash attention",
        " & new tokenizer",
        " FOO=3",
        " width 512->640",
        " for value embeddings",
        " plus qk norm",
    ),
    *("; bf16 weights", " - switched to AdamW", ": also new data", " (added dropout)", "; replaced the loader"),
    *(" in the first 100 steps", " - ADAM_EPS=1e-6", " every other layer", " after step 100 only", " [with EXPAND=2]"),
]


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_line_with_anything_more_is_left_open(text: str) -> None:
    known = {"DEPTH": 8, "MATRIX_LR": 0.04, "WARMDOWN_RATIO": 0.5}
    assert read_description(text, known).axis != "other"
    lines = [*(more + text for more in BEFORE), *(text + more for more in BEHIND)]
    assert [line for line in lines if read_description(line, known).axis != "other"] == []


@pytest.mark.parametrize(
    "text",
    ["depth 8->9 at batch 2^13", "depth 8->9 (batch 2^13)", "depth 8->9; lr 0.03 was better", "DEPTH 8->9; depth 9"],
)
def test_the_settings_that_a_change_was_tried_with_belong_to_its_comment(text: str) -> None:
    assert read_description(text).changes == {"DEPTH": (8, 9)}


@given(st.text(max_size=80))
def test_no_text_breaks_it(text: str) -> None:
    told = read_description(text)
    assert all(was != now for was, now in told.changes.values())
