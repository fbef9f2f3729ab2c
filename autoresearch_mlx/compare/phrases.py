"""List patterns for the words with which people name a constant or a change of code in a one-line description.

Patterns are matched against the line in lower case.  The first pattern that fits decides, so a longer name comes before
a shorter name that it contains (``unembedding lr`` before ``embedding lr``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NAMES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (knob, re.compile(rf"(?<![a-z0-9_])(?:{pattern})(?![a-z0-9_])"))
    for knob, pattern in (
        ("DEVICE_BATCH_SIZE", r"device[ _]batch(?:[ _]size)?|dbs|micro-?batch"),
        ("TOTAL_BATCH_SIZE", r"(?<!eval )(?:total[ _])?batch(?:[ _]size)?|total_bs|tbs|total(?==)"),
        ("UNEMBEDDING_LR", r"(?:unembedding|unembed|unemb)[ _]lr|unemblr"),
        ("EMBEDDING_LR", r"(?<!value )(?<!value_)(?:embedding|embed|emb)[ _]lr|emblr"),
        ("SCALAR_LR", r"scalar[ _]lr|scalr"),
        ("MATRIX_LR", r"(?:matrix|muon)[ _]lr|matlr|mlr"),
        ("MUON_MOMENTUM_START", r"(?:muon )?momentum (?:ramp )?start"),
        ("MUON_MOMENTUM", r"(?:muon )?momentum ramp target"),
        ("MUON_RAMP_STEPS", r"(?:muon )?momentum (?:warmup|ramp)(?: steps)?"),
        ("MUON_MOMENTUM", r"(?:final |muon target |muon |target )?momentum|muon_momentum(?:_end)?|muon beta1"),
        ("MUON_BETA2", r"muon[ _]beta2"),
        ("ADAM_BETA1", r"adamw?[ _]beta1"),
        ("ADAM_BETA2", r"adamw?[ _]beta2"),
        ("NS_STEPS", r"(?:muon )?(?:muon_)?ns[ _]steps|newton-schulz steps"),
        ("UNEMBEDDING_WD", r"(?:lm_head|unembedding)(?: wd| weight decay)?"),
        ("VALUE_WD", r"(?:ve|value embedding) (?:wd|weight decay)"),
        ("EMBEDDING_WD", r"(?:wte|embedding|emb) (?:wd|weight decay)"),
        ("WEIGHT_DECAY", r"(?:matrix |muon )?weight[ _]decay|wd"),
        ("WARMUP_RATIO", r"(?:lr )?warmup(?:[ _]ratio)?"),
        ("WARMDOWN_RATIO", r"(?:lr )?warmdown(?:[ _]ratio)?"),
        ("FINAL_LR_FRAC", r"final[ _]lr(?:[ _](?:frac(?:tion)?|floor))?|finlr|lr floor"),
        ("HEAD_DIM", r"head[ _]dim|head(?==)"),
        ("N_KV_HEAD", r"n_kv_heads?"),
        ("SHORT_WINDOW", r"short[ _]window"),
        ("ROPE_BASE", r"rope base(?: frequency)?"),
        ("SOFTCAP", r"(?:logit )?soft-?cap|logit cap"),
        ("MLP_RATIO", r"mlp(?:[ _](?:ratio|expansion))?"),
        ("X0_LAMBDA", r"x0[ _](?:lambda|init)(?: init)?"),
        ("INIT_SCALE", r"init scale"),
        ("VE_GATE_CHANNELS", r"ve[ _]gate[ _]channels"),
        ("ASPECT_RATIO", r"aspect(?:[ _]ratio)?|ar"),
        ("DEPTH", r"depth|n_layers?"),
        ("SEED", r"(?:random )?seed"),
    )
)

REPEAT = re.compile(r"\bre-?verif|\bre-?runs?\b|no logic change|\bno changes\b|same config again|the same again")
"""Pattern of a description that says that the run repeats the incumbent; such a run shows the noise."""

CODE: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), axis, note)
    for pattern, axis, note in (
        (r"weight tying|tied? (?:weights|embeddings)", "weight_tying", "one matrix for input and output"),
        (r"swiglu|gated mlp", "mlp.gated", "a gated MLP (SwiGLU)"),
        (r"\bsilu\b", "mlp.activation", "SiLU in the MLP"),
        (r"\bgelu\b", "mlp.activation", "GELU in the MLP"),
        (r"sparse moe|experts", "mlp.experts", "several MLPs, from which a router chooses"),
        (r"cosine", "schedule.shape", "cosine instead of linear decay"),
        (
            r"(?:remove|no) (?:logit )?(?:soft-?cap|logit cap|logit soft)|remove logit",
            "softcap",
            "no cap on the logits",
        ),
        (r"grad(?:ient)?(?: norm)? clip(?:ping)?", "optimizer.clip", "a limit on the global gradient norm"),
        (r"dropout", "regularisation.dropout", "dropout on the residual stream"),
        (r"label smoothing", "loss.smoothing", "smoothed labels"),
        (r"z-loss", "loss.z", "a penalty on the size of the logits"),
        (r"multi-token|deep supervision|aux(?:iliary)? loss", "loss.auxiliary", "a second training loss"),
        (r"\bema\b|\bswa\b|averag", "averaging", "averaged weights are scored"),
        (r"nesterov(?!.*adam)", "muon.nesterov", "Nesterov momentum in Muon"),
        (r"normuon|variance reduction", "muon.variance", "Muon without its second moments"),
        (r"muon optimizer|muon\+adamw", "optimizer.muon", "Muon for the matrices"),
        (r"cautious", "weight_decay.cautious", "decay without the mask by sign"),
        (
            r"constant weight decay|weight decay schedule|wd decay",
            "weight_decay.schedule",
            "a different schedule of weight decay",
        ),
        (r"embedding weight decay|emb wd", "weight_decay.embedding", "decay on the embeddings"),
        (r"parallel attn|parallel attention", "block.parallel", "attention and MLP side by side"),
        (r"conv mixer|conv kernel|convolution", "attention.mixer", "convolutions in place of attention"),
        (r"value embed|\bves?\b", "value_embedding", "a different use of the value embeddings"),
        (r"x0 residual|\bx0\b", "residual.x0", "a different skip from the embedding"),
        (r"resid_lambda", "residual.resid", "a different weight of the residual stream"),
        (r"peri-ln|post-sub-layer norm|rms_norm|qk norm|norm-before", "norm", "a different use of norms"),
        (r"attention gate", "attention.gate", "gated attention"),
        (r"attention scale|softmax_scale", "attention.scale", "a different scale of the attention scores"),
        (r"\bgqa\b|\bmqa\b", "attention.heads", "several query heads share a key-value head"),
        (
            r"window|full[ -]attention|full causal|all-long",
            "attention.window",
            "a different attention window",
        ),
        (r"partial rope|alibi|\bnope\b", "rope", "a different use of the rotary embedding"),
        (r"bf16|float16|fp16|float32", "precision", "a different number format"),
        (r"curriculum", "data.curriculum", "sequences that grow during the run"),
        (r"init for c_proj|wte init|fan-in|init std", "init.matrix", "a different initialisation of the weights"),
        (r"all lrs|lr scale|lower lrs|\bx lrs", "lr.scale", "all rates together"),
        (r"adam eps|\beps\b", "adam.eps", "a different epsilon of Adam"),
        (r"^(?:\w+ )*baseline\b", "baseline", "as it was"),
    )
)
"""The known changes of code: for each, a pattern, an axis, and a description in our own words."""


@dataclass(frozen=True, slots=True)
class _Removals:
    """Axes whose change always removes something (``always``), and axes whose change never does (``never``)."""

    always: frozenset[str]
    never: frozenset[str]


REMOVALS = _Removals(
    always=frozenset(("muon.variance", "weight_decay.cautious", "softcap")),
    never=frozenset(
        (
            "attention.gate",
            "attention.heads",
            "attention.mixer",
            "averaging",
            "block.parallel",
            "data.curriculum",
            "loss.auxiliary",
            "loss.smoothing",
            "loss.z",
            "mlp.activation",
            "mlp.experts",
            "mlp.gated",
            "muon.nesterov",
            "optimizer.clip",
            "optimizer.muon",
            "precision",
            "regularisation.dropout",
            "schedule.shape",
            "weight_tying",
        )
    ),
)
