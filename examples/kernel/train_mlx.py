"""Train a very small language model.  One function of its step, ``capped_loss``, is deliberately slow.

The functions `build_model` and `train` are the same contract as in a real lab's train_mlx.py.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn

WIDTH = 32  # knob: pow2 16 128
ROWS = 2  # rows of tokens in a step
CAP = 15.0  # logits are squeezed into +-CAP
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

    It goes row by row, which costs hundreds of small operations; all rows at once would cost a few.
    """
    losses = []
    for row in range(logits.shape[0]):
        capped = cap * mx.tanh(logits[row] / cap)
        largest = mx.max(capped)
        total = mx.sum(mx.exp(capped - largest))
        losses.append(mx.log(total) + largest - mx.take(capped, targets[row]))
    return mx.stack(losses)


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
