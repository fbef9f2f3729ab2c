"""Unusual but honest variants of train_mlx.py pass every probe; each is really trained and evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Assignment
from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.sandbox.detect import Sandbox, find_sandbox

HEAD = "logits = self.lm_head(norm(x))"
WTE = "        self.lm_head = Linear(width, vocab_size)\n"
ATTEND = "        x = x + self.attention(norm(x), extra, mask)\n"
STEP = "        mx.async_eval(loss, state)\n"
LOOP = "    for step, batch in enumerate("
STREAM = "mx.bfloat16 if on_gpu() else mx.float32"
LOG = "        trial.log(step, loss, tokens=passes * rows * trial.seq_len)\n"
BUILT = "    mx.eval(model.parameters())\n    return model\n"


def shrunk(dtype: str) -> list[tuple[str, str]]:
    """Return edits with which the script saves its weights in another type, and computes in that type."""
    end = f"    model.update(tree_unflatten([(n, w.astype({dtype})) for n, w in tree_flatten(model.parameters())]))\n"
    return [(STREAM, f"mx.float32 if TRAINS else {dtype}"), ("\n\ndef groups(", f"\n\n{end}\n\ndef groups(")]


HONEST: dict[str, list[tuple[str, str]]] = {
    "an average of the weights over the last steps": [
        (LOOP, f"    average = dict(tree_flatten(model.parameters()))\n{LOOP}"),
        (STEP, f"{STEP}        average = {{n: 0.8 * average[n] + 0.2 * w for n, w in tree_flatten(model.parameters())}}\n"),
        ("\n\ndef groups(", "\n    model.update(tree_unflatten(list(average.items())))\n\n\ndef groups("),
    ],
    "a tied head": [
        (WTE, "        self.scale = mx.ones((1,))\n"),
        (HEAD, "logits = self.scale.astype(x.dtype) * (norm(x) @ self.wte.weight.astype(x.dtype).T) / x.shape[-1] ** 0.5"),
        ('            elif name == "lm_head.weight":', '            elif name == "no lm_head":'),
    ],
    "a factorised head": [
        (WTE, "        self.down = Linear(width, 8)\n        self.lm_head = Linear(8, vocab_size)\n"),
        (HEAD, "logits = self.lm_head(self.down(norm(x)))"),
    ],
    "a padded vocabulary, sliced": [
        (WTE, "        self.lm_head = Linear(width, -(-vocab_size // 64) * 64)\n"),
        (HEAD, "logits = self.lm_head(norm(x))[..., : self.wte.weight.shape[0]]"),
    ],
    "special tokens forbidden": [
        ("        return SOFTCAP * mx.tanh(logits / SOFTCAP)\n",
         "        logits = SOFTCAP * mx.tanh(logits / SOFTCAP)\n        return logits if self.training else mx.where(mx.arange(logits.shape[-1]) >= logits.shape[-1] - 4, -float('inf'), logits)\n"),
    ],
    "a causal convolution in place of attention": [
        (ATTEND, "        h = norm(x)\n        for ago in range(1, 4):\n            past = mx.concatenate([mx.zeros_like(h[:, :ago]), h[:, :-ago]], axis=1)\n"
                 "            x = x + 0.3 / ago * self.attention.c_v(past)\n"),
    ],
    "a linear recurrence in place of attention": [
        (ATTEND, "        h = self.attention.c_v(norm(x))\n        state, seen = mx.zeros_like(h[:, 0]), []\n"
                 "        for t in range(h.shape[1]):\n            state = 0.9 * state + 0.1 * h[:, t]\n            seen.append(state)\n"
                 "        x = x + self.attention.c_proj(mx.stack(seen, axis=1)) + h\n"),
    ],
    "weights and stream in bfloat16": shrunk("mx.bfloat16"),
    "weights and stream in float16": shrunk("mx.float16"),
    "a bfloat16 stream over float32 weights": [(STREAM, "mx.bfloat16")],
    "logits in bfloat16": [("            logits = logits.astype(mx.float32)\n", "            logits = logits.astype(mx.bfloat16)\n")],
    "a mixture of experts, each token to one of them": [
        ("        self.c_fc = Linear(width, int(MLP_RATIO * width))\n",
         "        self.router = Linear(width, 2)\n        self.c_fc = Linear(width, int(MLP_RATIO * width))\n        self.other = Linear(width, int(MLP_RATIO * width))\n"),
        ("        return self.c_proj(mx.square(nn.relu(self.c_fc(x))))\n",
         "        share = mx.softmax(self.router(x), axis=-1)\n        first = mx.argmax(share, axis=-1, keepdims=True) == 0\n"
         "        hidden = mx.where(first, share[..., :1] * self.c_fc(x), share[..., 1:] * self.other(x))\n        return self.c_proj(mx.square(nn.relu(hidden)))\n"),
    ],
    "dropout at training": [
        ("        self.mlp = MLP(width)\n", "        self.mlp = MLP(width)\n        self.drop = nn.Dropout(0.2)\n"),
        ("return x + self.mlp(norm(x))", "return x + self.drop(self.mlp(norm(x)))"),
    ],
    "a table of bigrams": [
        (WTE, f"{WTE}        self.bigrams = Embedding(vocab_size, vocab_size)\n"),
        (HEAD, f"{HEAD} + self.bigrams(tokens).astype(x.dtype)"),
        ('            elif name == "lm_head.weight":', '            elif name in ("lm_head.weight", "bigrams.weight"):'),
    ],
    "a value embedding on all layers": [("gated=(DEPTH - 1 - i) % 2 == 0", "gated=True")],
    "a cache of positions built at the first call": [
        ("        x = x0 = norm(", "        if '_ages' not in self:\n            self._ages = mx.arange(tokens.shape[1])\n        x = x0 = norm("),
    ],
}  # fmt: skip


TOGETHER = {
    "an average, value embeddings on all layers, a cache": [
        "an average of the weights over the last steps",
        "a value embedding on all layers",
        "a cache of positions built at the first call",
    ],
    "a tied head, a convolution, dropout": [
        "a tied head",
        "a causal convolution in place of attention",
        "dropout at training",
    ],
    "a factorised head, a recurrence": ["a factorised head", "a linear recurrence in place of attention"],
    "a padded vocabulary, experts": [
        "a padded vocabulary, sliced",
        "a mixture of experts, each token to one of them",
    ],
    "forbidden tokens, bigrams": ["special tokens forbidden", "a table of bigrams"],
}
"""Variants that change different lines, so that one training run has several; every other variant has its own run."""
SCRIPTS = {
    **{name: [edit for part in parts for edit in HONEST[part]] for name, parts in TOGETHER.items()},
    **{name: edits for name, edits in HONEST.items() if all(name not in parts for parts in TOGETHER.values())},
}


ROUNDING = 1e-5
"""Largest correction in bits per byte that counts as rounding; here it was exactly 0 for all of these scripts."""


@pytest.fixture(scope="module")
def boxed(under: Conditions) -> Conditions:
    found = find_sandbox()
    return replace(under, steps=6, sandbox=found if isinstance(found, Sandbox) else None)


def variant(edits: list[tuple[str, str]]) -> str:
    text = tiny.script(DEPTH=2)
    for before, after in edits:
        assert before in text, before
        text = text.replace(before, after, 1)
    return text.replace("def norm(", 'import os\n\nTRAINS = "AUTORESEARCH_TRAIN_SPEC" in os.environ\n\n\ndef norm(', 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_an_honest_script_passes_every_probe_and_its_correction_is_zero_within_rounding(
    name: str, boxed: Conditions, tmp_path: Path
) -> None:
    done = tiny.measure(variant(SCRIPTS[name]), tmp_path, boxed)
    assert done.failure is None, done.reason
    assert done.value is not None and done.value < 7
    assert abs(done.extra["lookahead"]) < ROUNDING
    assert done.extra["clipped"] == 0


@pytest.mark.slow
def test_the_probes_are_drawn_anew_each_time_and_the_score_stays(boxed: Conditions, tmp_path: Path) -> None:
    first, second = (tiny.measure(tiny.script(), tmp_path / str(i), boxed).value for i in range(2))
    assert second == tiny.score(first)


@pytest.mark.slow
def test_hidden_rows_are_scored_instead_on_request(boxed: Conditions, corpus: Corpus, tmp_path: Path) -> None:
    hidden = corpus.path("hidden")
    for folder in (tmp_path / "tree", tmp_path / "run"):
        folder.mkdir()
    (tmp_path / "tree" / "train_mlx.py").write_text(tiny.script())
    asked = Assignment(tmp_path / "tree", tmp_path / "run", 42, lambda progress: None, split="hidden")
    first = Pretrain(replace(boxed, hidden_rows=hidden, eval_rows=16)).measure(asked)
    again = tiny.measure(tiny.script(), tmp_path / "again", replace(boxed, val_rows=hidden, eval_rows=16))
    assert first.value is not None, first.reason
    assert again.value == tiny.score(first.value)


def test_conditions_without_hidden_rows_say_so(under: Conditions) -> None:
    with pytest.raises(ValueError, match="no hidden rows"):
        replace(under, split="hidden", hidden_rows=None).scored_rows()
