"""Train a very small language model.  One function of its step, ``capped_loss``, is deliberately slow.

The functions `build_model` and `train` follow the same contract as in a real lab's train_mlx.py.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn

WIDTH = 32  # knob: pow2 16 128
ROWS = 3  # rows of tokens in a step
CAP = 15.0  # logits are squeezed into +-CAP
ROWS_AT_ONCE = 8  # rows of the loss that are computed together  # knob: pow2 1 256
LR = 0.1  # knob: log 0.001 1


class Model(nn.Module):
    """Maps int32 tokens [B, T] to logits [B, T, vocab_size]; each token sees only itself."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, WIDTH)
        self.inner = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, vocab_size)

    def __call__(self, tokens: mx.array) -> mx.array:
        x = self.table(tokens)
        return self.head(x + mx.tanh(self.inner(x)))


def capped_loss(logits: mx.array, targets: mx.array, cap: float) -> mx.array:
    """Return the cross-entropy of capped logits [N, V] and targets [N], in nats: one number for each row.

    It takes a few rows at a time, which costs many small operations; all rows at once would cost few operations.
    """
    parts = []
    for start in range(0, logits.shape[0], ROWS_AT_ONCE):
        some = targets[start : start + ROWS_AT_ONCE]
        capped = cap * mx.tanh(logits[start : start + ROWS_AT_ONCE] / cap)
        largest = mx.max(capped, axis=-1, keepdims=True)
        total = mx.sum(mx.exp(capped - largest), axis=-1)
        parts.append(mx.log(total) + largest[:, 0] - mx.take_along_axis(capped, some[:, None], axis=-1)[:, 0])
    return mx.concatenate(parts)


def build_model(vocab_size: int, seq_len: int) -> nn.Module:
    """Return the model with fresh weights."""
    model = Model(vocab_size)
    mx.eval(model.parameters())
    return model


def loss_of(model: nn.Module, x: mx.array, y: mx.array) -> mx.array:
    """Return the mean cross-entropy in nats, for int32 x and y [B, T]."""
    logits = model(x)
    return mx.mean(capped_loss(logits.reshape(-1, logits.shape[-1]), y.reshape(-1), CAP))


def train(model: nn.Module, trial: Any) -> None:
    """Train by plain gradient descent until `trial.batches` ends."""
    mx.disable_compile()  # on a CPU, compiling calls a C++ compiler for seconds
    gradient = nn.value_and_grad(model, loss_of)
    for step, (x, y) in enumerate(trial.batches(ROWS)):
        loss, grads = gradient(model, x, y)
        model.update(nn.utils.tree_map(lambda w, g: w - LR * g, model.parameters(), grads))
        mx.async_eval(loss, model.parameters())
        trial.log(step, loss, tokens=x.size)


if __name__ == "__main__":
    from autoresearch_mlx.trial import harness

    harness.main(build_model, train)
