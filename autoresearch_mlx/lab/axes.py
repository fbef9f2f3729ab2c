"""The axis of a knob: the kind of strategy that a change of this constant belongs to.

One small table, so that a change made here by ``knobs`` and one read from somebody's CUDA log fall
under the same word.  The knob names are those of karpathy/autoresearch's ``train.py`` where it has
them.
"""

from __future__ import annotations

_AXES: dict[str, tuple[str, ...]] = {
    "depth": ("DEPTH", "N_LAYER"),
    "width": ("ASPECT_RATIO", "N_EMBD", "WIDTH"),
    "mlp": ("MLP_RATIO",),
    "attention.heads": ("HEAD_DIM", "N_HEAD", "N_KV_HEAD"),
    "attention.window": ("WINDOW_PATTERN", "SHORT_WINDOW"),
    "rope": ("ROPE_BASE",),
    "softcap": ("SOFTCAP",),
    "batch": ("TOTAL_BATCH_SIZE",),
    "batch.device": ("DEVICE_BATCH_SIZE",),
    "lr.matrix": ("MATRIX_LR",),
    "lr.embedding": ("EMBEDDING_LR",),
    "lr.unembedding": ("UNEMBEDDING_LR",),
    "lr.scalar": ("SCALAR_LR",),
    "weight_decay.matrix": ("WEIGHT_DECAY",),
    "weight_decay.embedding": ("EMBEDDING_WD",),
    "weight_decay.value": ("VALUE_WD",),
    "weight_decay.unembedding": ("UNEMBEDDING_WD",),
    "adam.betas": ("ADAM_BETAS",),
    "schedule.warmup": ("WARMUP_RATIO", "WARMUP_STEPS"),
    "schedule.warmdown": ("WARMDOWN_RATIO",),
    "schedule.final": ("FINAL_LR_FRAC",),
    "muon.momentum": ("MUON_MOMENTUM", "MUON_MOMENTUM_START", "MUON_RAMP_STEPS"),
    "muon.beta2": ("MUON_BETA2",),
    "muon.ns_steps": ("NS_STEPS",),
    "residual.x0": ("X0_LAMBDA",),
    "residual.resid": ("RESID_LAMBDA",),
    "init.matrix": ("INIT_SCALE",),
    "init.embedding": ("EMBEDDING_INIT_STD",),
    "init.unembedding": ("UNEMBEDDING_INIT_STD",),
    "value_embedding": ("VE_GATE_CHANNELS", "VE_GATE_SCALE"),
}


def axis_of(knob_name: str) -> str:
    """``DEPTH`` -> ``depth``; a name that the table lacks -> ``knob.<name lower>``.

    A name qualified by its file (``model.py:DEPTH``) counts as the bare name.
    """
    name = knob_name.rsplit(":", 1)[-1]
    if "SEED" in name.split("_"):
        return "seed"
    return next((axis for axis, names in _AXES.items() if name in names), f"knob.{name.lower()}")
