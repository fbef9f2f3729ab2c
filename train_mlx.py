"""Train a small GPT on this machine for a fixed time.  This is the one file that the research loop edits.

    python train_mlx.py             trains alone and prints val_bpb at the end
    autoresearch-mlx run            edits this file, measures, keeps or reverts, all night

Everything here may change: the architecture, the optimiser, the schedule, the batch.  What is fixed lies outside, in
the harness: the data and its order, the seed, the clock and the evaluation.  The evaluation loads the saved weights in
another process and asks `build_model(...)` for logits.  The harness needs two functions, `build_model` and `train`.

The model is the one that karpathy/autoresearch trains on an H100: a GPT-2 with the improvements of the speedruns.  Its
knobs have upstream's names, so that a change of a knob can be carried over by name.
"""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any
from zlib import crc32

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_map, tree_unflatten

from autoresearch_mlx.trial import harness

# ----------------------------------------------------------------------------------------------------------------------
# Knobs.  A comment `# knob: KIND ...` gives the range that a search may use; words before it say what the knob does.

# fmt: off
# Model
DEPTH = 4                   # transformer layers                                        # knob: int 1 12
ASPECT_RATIO = 64           # width = DEPTH x ASPECT_RATIO, rounded up to whole heads   # knob: lin 32 128
HEAD_DIM = 128              # width of one attention head                               # knob: choice 32 64 128
WINDOW_PATTERN = "L"        # per layer, repeated: L full, S short; the last is L       # knob: choice L SL SSSL
SHORT_WINDOW = 0.5          # span of an S layer as a share of the sequence             # knob: log 0.0625 0.5
MLP_RATIO = 4.0             # hidden width of the MLP over the model's width            # knob: lin 2 6
ROPE_BASE = 10000.0         # longest wavelength of the rotary embedding                # knob: log 1000 1000000
SOFTCAP = 15.0              # logits are squeezed into +-SOFTCAP ...                    # knob: log 5 60
CAP_LOGITS = True           # ... if this is set                                        # knob: choice True False
VE_GATE_CHANNELS = 32       # channels that decide how much value embedding enters      # knob: choice 8 16 32 64
VE_GATE_SCALE = 2.0         # largest factor on the value embedding                     # knob: lin 0.5 4

# Batch
TOTAL_BATCH_SIZE = 2**14    # tokens per optimiser step                                 # knob: pow2 1024 131072
DEVICE_BATCH_SIZE = 8       # rows per forward pass; fewer rows, more passes per step   # knob: pow2 1 64

# Learning rates (those of AdamW are multiplied by (width / 768)^-0.5)
EMBEDDING_LR = 0.6          # token and value embeddings, AdamW                         # knob: log 0.05 3
UNEMBEDDING_LR = 0.004      # output head, AdamW                                        # knob: log 0.0005 0.05
MATRIX_LR = 0.04            # matrices inside the blocks, Muon                          # knob: log 0.004 0.2
SCALAR_LR = 0.5             # per-layer scalars, AdamW                                  # knob: log 0.05 2
WARMUP_RATIO = 0.0          # share of the run spent raising the rate                   # knob: lin 0 0.3
WARMDOWN_RATIO = 0.5        # share of the run spent lowering it                        # knob: lin 0.1 1
FINAL_LR_FRAC = 0.0         # rate at the very end, as a share of the peak              # knob: lin 0 0.3

# Optimiser
ADAM_BETAS = (0.8, 0.95)    # decay of AdamW's first and second moments
WEIGHT_DECAY = 0.2          # decay of matrices, cautious; falls to 0 over the run      # knob: lin 0 0.8
EMBEDDING_WD = 0.0          # decay of the token embedding, decoupled                   # knob: lin 0 0.01
VALUE_WD = 0.0              # decay of the value embeddings                             # knob: lin 0 0.01
UNEMBEDDING_WD = 0.0        # decay of the output head                                  # knob: lin 0 0.05
MUON_MOMENTUM = 0.95        # Muon's momentum after the ramp                            # knob: lin 0.85 0.98
MUON_MOMENTUM_START = 0.85  # Muon's momentum at step 0                                 # knob: lin 0.6 0.95
MUON_RAMP_STEPS = 300       # steps from the first momentum to the second               # knob: log 20 1000
MUON_BETA2 = 0.95           # decay of the row-wise second moment (NorMuon)             # knob: lin 0.8 0.99
NS_STEPS = 5                # iterations of the orthogonalisation, at most 5            # knob: int 2 5

# Initial values
INIT_SCALE = 1.0            # bound of the matrices' values over sqrt(3 / width)        # knob: log 0.3 2
EMBEDDING_INIT_STD = 1.0    # standard deviation of the token embedding                 # knob: log 0.1 3
UNEMBEDDING_INIT_STD = 0.001  # standard deviation of the output head                 # knob: log 0.0001 0.03
RESID_LAMBDA = 1.0          # how much of the stream a layer passes on                  # knob: lin 0.7 1.2
X0_LAMBDA = 0.1             # how much of the embedding is added again at each layer    # knob: lin 0 0.4
# fmt: on


# ----------------------------------------------------------------------------------------------------------------------
# Model


def on_gpu() -> bool:
    """Return whether MLX computes on a GPU."""
    return bool(mx.default_device() == mx.Device(mx.gpu))


def norm(x: mx.array) -> mx.array:
    """RMSNorm without a gain (arXiv:1910.07467)."""
    return mx.fast.rms_norm(x, None, 1e-6)


def numpy_exp(x: mx.array) -> mx.array:
    """Return e^x for float32 x on a CPU.

    On x86, MLX's own exp takes 12 ns a number, because it computes the numbers one at a time.  With that exp, softmax
    and loss took half of a training step.  numpy's exp takes 1 ns a number.
    """
    return mx.array(np.exp(np.array(x, copy=False)))


exp: Any = mx.custom_function(numpy_exp)
exp.vjp(lambda x, upstream, output: upstream * output)  # the gradient of exp is exp itself


def attend(q: mx.array, k: mx.array, v: mx.array, mask: Any) -> mx.array:
    """Return softmax(q k^T / sqrt(D)) v for q, k, v [B, H, T, D]; on a GPU, one fused kernel does this."""
    if on_gpu():
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=HEAD_DIM**-0.5, mask=mask)
    length = q.shape[2]
    scores = ((q * HEAD_DIM**-0.5) @ k.swapaxes(-1, -2)).astype(mx.float32)
    scores = mx.where(mask[:length, :length], scores, -math.inf)
    weights = exp(scores - mx.stop_gradient(mx.max(scores, axis=-1, keepdims=True)))
    return ((weights @ v) / mx.sum(weights, axis=-1, keepdims=True)).astype(q.dtype)


class Linear(nn.Module):
    """y = x W^T.  The weight is a float32 master copy, cast to the stream's type on use.

    In bfloat16, with 8 significant bits, an update of less than 1/256 of a weight would be rounded away.
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.weight = mx.zeros((width_out, width_in))

    def __call__(self, x: mx.array) -> mx.array:
        return x @ self.weight.astype(x.dtype).T


class Embedding(nn.Module):
    """A table [vocab_size, width] of float32 rows.  Maps int32 tokens [B, T] to rows [B, T, width]."""

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.weight = mx.zeros((vocab_size, width))

    def __call__(self, tokens: mx.array) -> mx.array:
        return self.weight[tokens]


class Attention(nn.Module):
    """Causal self-attention: rotary positions (arXiv:2104.09864), normalised queries and keys (arXiv:2010.04245)."""

    def __init__(self, width: int, gated: bool) -> None:
        super().__init__()
        self.heads = width // HEAD_DIM
        self.c_q, self.c_k, self.c_v = Linear(width, width), Linear(width, width), Linear(width, width)
        self.c_proj = Linear(width, width)
        if gated:
            self.ve_gate = Linear(min(VE_GATE_CHANNELS, width), self.heads)

    def __call__(self, x: mx.array, value_embedding: mx.array | None, mask: Any) -> mx.array:
        B, T, C = x.shape
        q, k, v = (f(x).reshape(B, T, self.heads, HEAD_DIM) for f in (self.c_q, self.c_k, self.c_v))
        if value_embedding is not None:
            # The gate's weights start at zero, where sigmoid is 1/2: the embedding first enters with half of the scale.
            gate = VE_GATE_SCALE * mx.sigmoid(self.ve_gate(x[..., : self.ve_gate.weight.shape[1]]))
            v = v + gate[..., None] * value_embedding.reshape(B, T, self.heads, HEAD_DIM)
        q, k, v = (z.transpose(0, 2, 1, 3) for z in (q, k, v))  # [B, H, T, D]
        q, k = (norm(mx.fast.rope(z, HEAD_DIM, traditional=False, base=ROPE_BASE, scale=1.0, offset=0)) for z in (q, k))
        y = attend(q, k, v, mask)
        return self.c_proj(y.transpose(0, 2, 1, 3).reshape(B, T, C))


class MLP(nn.Module):
    """Two matrices around a squared ReLU (Primer, arXiv:2109.08668)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = Linear(width, int(MLP_RATIO * width))
        self.c_proj = Linear(int(MLP_RATIO * width), width)

    def __call__(self, x: mx.array) -> mx.array:
        return self.c_proj(mx.square(nn.relu(self.c_fc(x))))


class Block(nn.Module):
    """Attention, then MLP.  Alternate layers add a learned embedding of the token to the values (arXiv:2410.17897)."""

    def __init__(self, vocab_size: int, width: int, gated: bool) -> None:
        super().__init__()
        self.attention = Attention(width, gated)
        self.mlp = MLP(width)
        if gated:
            self.value_embedding = Embedding(vocab_size, width)

    def __call__(self, x: mx.array, tokens: mx.array, mask: Any) -> mx.array:
        extra = self.value_embedding(tokens).astype(x.dtype) if "value_embedding" in self else None
        x = x + self.attention(norm(x), extra, mask)
        return x + self.mlp(norm(x))


class GPT(nn.Module):
    """Maps int32 tokens [B, T] to logits [B, T, vocab_size], which are float32 when they are scored.

    The input of each layer is `resid_lambda * stream + x0_lambda * embedding`, with both factors learned (an idea from
    github.com/KellerJordan/modded-nanogpt).  So late layers can read the token itself, and early layers need not
    preserve it.
    """

    def __init__(self, vocab_size: int, seq_len: int) -> None:
        super().__init__()
        width = math.ceil(DEPTH * ASPECT_RATIO / HEAD_DIM) * HEAD_DIM
        self.wte = Embedding(vocab_size, width)
        self.blocks = [Block(vocab_size, width, gated=(DEPTH - 1 - i) % 2 == 0) for i in range(DEPTH)]
        self.lm_head = Linear(width, vocab_size)
        self.resid_lambdas = mx.full((DEPTH,), RESID_LAMBDA)
        self.x0_lambdas = mx.full((DEPTH,), X0_LAMBDA)
        # A leading underscore keeps these two attributes out of the parameters.
        self._dtype = mx.bfloat16 if on_gpu() else mx.float32
        self._masks = window_masks(seq_len)

    def __call__(self, tokens: mx.array) -> mx.array:
        x = x0 = norm(self.wte(tokens).astype(self._dtype))
        for i, block in enumerate(self.blocks):
            # Scalars in the stream's own type: one float32 factor would promote the whole stream.
            x = self.resid_lambdas[i].astype(x.dtype) * x + self.x0_lambdas[i].astype(x.dtype) * x0
            x = block(x, tokens, self._masks[i])
        logits = self.lm_head(norm(x))
        if not self.training:
            logits = logits.astype(mx.float32)
        if not CAP_LOGITS:
            return logits
        # A soft limit (Gemma 2, arXiv:2408.00118), so that no single logit can dominate the loss and its gradient.
        return SOFTCAP * mx.tanh(logits / SOFTCAP)


def window_masks(seq_len: int) -> list[Any]:
    """Return one mask per layer.

    On a GPU, MLX uses its fused attention kernel for the mask "causal", but not for a mask that is an array.  So an S
    layer takes longer than an L layer.
    """
    ago = mx.arange(seq_len)[:, None] - mx.arange(seq_len)[None, :]
    short = (ago >= 0) & (ago < max(1, round(SHORT_WINDOW * seq_len)))
    pattern = [WINDOW_PATTERN[i % len(WINDOW_PATTERN)] for i in range(DEPTH)]
    full = "causal" if on_gpu() else ago >= 0
    return [short if kind == "S" else full for kind in pattern[:-1]] + [full]


def build_model(vocab_size: int, seq_len: int) -> GPT:
    """Return the model with fresh weights; it maps int32 tokens [B, T] to logits [B, T, vocab_size]."""
    model = GPT(vocab_size, seq_len)
    # The random key of a weight depends on its name, so that a new layer does not change the other layers' values.
    root = np.array(mx.random.randint(0, 2**31 - 1, ())).item()
    fresh = [(name, initial(name, w, mx.random.key(root ^ crc32(name.encode())))) for name, w in flat(model).items()]
    model.update(tree_unflatten(fresh))
    mx.eval(model.parameters())
    return model


def initial(name: str, weight: mx.array, key: mx.array) -> mx.array:
    """Return the first values of one weight."""
    if name == "wte.weight":
        return EMBEDDING_INIT_STD * mx.random.normal(weight.shape, key=key)
    if name == "lm_head.weight":
        return UNEMBEDDING_INIT_STD * mx.random.normal(weight.shape, key=key)
    if name.endswith(("c_q.weight", "c_k.weight", "c_v.weight", "c_fc.weight", "value_embedding.weight")):
        # U(-b, b) has variance b^2 / 3, so the standard deviation is 1 / sqrt(inputs), and products keep their size.
        bound = INIT_SCALE * math.sqrt(3 / weight.shape[1])
        return mx.random.uniform(-bound, bound, weight.shape, key=key)
    # Output projections start at zero, so each block adds nothing at first.  Gates start at zero too, and the lambdas
    # at the values of their knobs.
    return weight


def flat(model: nn.Module) -> dict[str, mx.array]:
    """Return the trainable weights by their dotted names."""
    return dict(tree_flatten(model.trainable_parameters()))


# ----------------------------------------------------------------------------------------------------------------------
# Optimiser

# Coefficients of the five steps of Polar Express (arXiv:2505.16932).  Each step applies a x + b x^3 + c x^5 to all
# singular values at once, by matrix products alone.  In five steps, these polynomials drive values in (0, 1] towards 1
# as far as possible.  Muon's first version used one polynomial, (3.4445, -4.7750, 2.0315), five times.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalise(g: mx.array) -> mx.array:
    """Return the nearest semi-orthogonal matrix of each matrix in the stack [N, rows, columns]; float32 throughout."""
    tall = g.shape[-2] > g.shape[-1]  # x x^T is smaller when x is wide
    x = g.swapaxes(-1, -2) if tall else g
    # The Frobenius norm is at least the largest singular value, so all values are now in [0, 1]; 1.02 covers rounding.
    x = x / (1.02 * mx.sqrt(mx.sum(mx.square(x), axis=(-2, -1), keepdims=True)) + 1e-6)
    for a, b, c in POLAR_EXPRESS[:NS_STEPS]:
        s = x @ x.swapaxes(-1, -2)
        x = a * x + (b * s + c * (s @ s)) @ x
    return x.swapaxes(-1, -2) if tall else x


def even_rows(g: mx.array, second: mx.array) -> tuple[mx.array, mx.array]:
    """Even out the sizes of the rows of `g`, or of the columns if `g` is wide (NorMuon, arXiv:2510.05491).

    `second` is the running mean of the mean squares.  Returns the new `g`, with the old norm, and the new `second`.
    """
    axis = -1 if g.shape[-2] >= g.shape[-1] else -2
    power = mx.mean(mx.square(g), axis=axis, keepdims=True)
    second = MUON_BETA2 * second + (1 - MUON_BETA2) * power
    scale = mx.rsqrt(mx.maximum(second, 1e-10))
    before = mx.sqrt(mx.sum(power, axis=(-2, -1), keepdims=True))
    after = mx.sqrt(mx.sum(power * mx.square(scale), axis=(-2, -1), keepdims=True))
    return g * scale * (before / mx.maximum(after, 1e-10)), second


class Optimiser:
    """Muon (kellerjordan.github.io/posts/muon) for the matrices of the blocks, AdamW (arXiv:1711.05101) for the rest.

    Matrices of one shape are stacked and updated together.  All state is float32.  Values that change from step to step
    are passed in as an array, because a Python number would be frozen into the compiled step.
    """

    def __init__(self, params: dict[str, mx.array]) -> None:
        self.groups: dict[tuple[int, ...], list[str]] = {}
        self.adam: dict[str, tuple[float, float, tuple[float, float]]] = {}
        width = params["wte.weight"].shape[1]
        scale = (width / 768) ** -0.5  # upstream tuned AdamW's rates at width 768
        for name, p in params.items():
            if name == "wte.weight":
                self.adam[name] = (EMBEDDING_LR * scale, EMBEDDING_WD, ADAM_BETAS)
            elif name.endswith("value_embedding.weight"):
                self.adam[name] = (EMBEDDING_LR * scale, VALUE_WD, ADAM_BETAS)
            elif name == "lm_head.weight":
                self.adam[name] = (UNEMBEDDING_LR * scale, UNEMBEDDING_WD, ADAM_BETAS)
            elif name == "resid_lambdas":  # multiplied through all layers, so their rate is small
                self.adam[name] = (SCALAR_LR * 0.01, 0.0, ADAM_BETAS)
            elif p.ndim == 1:
                self.adam[name] = (SCALAR_LR, 0.0, (0.96, ADAM_BETAS[1]))
            else:
                self.groups.setdefault(p.shape, []).append(name)
        self.state: dict[str, mx.array] = {}
        for name in self.adam:
            self.state[f"{name}.first"] = mx.zeros(params[name].shape)
            self.state[f"{name}.second"] = mx.zeros(params[name].shape)
        for (rows, columns), names in self.groups.items():
            self.state[f"{rows}x{columns}.momentum"] = mx.zeros((len(names), rows, columns))
            side = (rows, 1) if rows >= columns else (1, columns)
            self.state[f"{rows}x{columns}.second"] = mx.zeros((len(names), *side))

    def update(self, params: dict[str, mx.array], grads: dict[str, mx.array], now: mx.array) -> dict[str, mx.array]:
        """Return the new parameters.

        `now` [4] is the learning-rate factor, Muon momentum, weight-decay factor, and the step counted from 1.
        """
        rate, momentum, decay, step = now[0], now[1], now[2], now[3]
        new = {}
        for name in self.adam:
            new[name] = self._adamw(name, params[name], grads[name], rate, step)
        for names in self.groups.values():
            p, g = (mx.stack([source[name] for name in names]) for source in (params, grads))
            new.update(zip(names, self._muon(p, g, rate, momentum, decay), strict=True))
        return new

    def _adamw(self, name: str, p: mx.array, g: mx.array, rate: mx.array, step: mx.array) -> mx.array:
        lr, decay, (beta1, beta2) = self.adam[name]
        first = beta1 * self.state[f"{name}.first"] + (1 - beta1) * g
        second = beta2 * self.state[f"{name}.second"] + (1 - beta2) * mx.square(g)
        self.state[f"{name}.first"], self.state[f"{name}.second"] = first, second
        first, second = first / (1 - beta1**step), second / (1 - beta2**step)
        return p * (1 - rate * lr * decay) - rate * lr * first / (mx.sqrt(second) + 1e-10)

    def _muon(self, p: mx.array, g: mx.array, rate: mx.array, momentum: mx.array, decay: mx.array) -> mx.array:
        _, rows, columns = p.shape
        key = f"{rows}x{columns}"
        buffer = momentum * self.state[f"{key}.momentum"] + (1 - momentum) * g
        self.state[f"{key}.momentum"] = buffer
        g = orthogonalise((1 - momentum) * g + momentum * buffer)  # Nesterov
        g, self.state[f"{key}.second"] = even_rows(g, self.state[f"{key}.second"])
        # Rows of a tall semi-orthogonal matrix have a mean norm below 1; the factor makes it 1, as in a square matrix.
        lr = rate * MATRIX_LR * max(1.0, rows / columns) ** 0.5
        # Cautious decay (arXiv:2411.16085): a weight decays only where decay and step have the same sign.
        agrees = (g * p > 0).astype(p.dtype)
        return p - lr * g - lr * decay * WEIGHT_DECAY * p * agrees


# ----------------------------------------------------------------------------------------------------------------------
# Schedules: functions of the progress through the budget, from 0 to 1


def lr_factor(progress: float) -> float:
    """Return the learning rate as a share of its peak: it rises, stays level, and falls in a straight line.

    arXiv:2405.18392 compares this schedule with cosine decay.
    """
    if progress < WARMUP_RATIO:
        return progress / WARMUP_RATIO
    if progress < 1 - WARMDOWN_RATIO or WARMDOWN_RATIO <= 0:
        return 1.0
    left = (1 - progress) / WARMDOWN_RATIO
    return left + (1 - left) * FINAL_LR_FRAC


def muon_momentum(step: int) -> float:
    """Return Muon's momentum, which is lower at first, while gradients change quickly from step to step."""
    ramp = min(1.0, step / max(1, MUON_RAMP_STEPS))
    return MUON_MOMENTUM_START + ramp * (MUON_MOMENTUM - MUON_MOMENTUM_START)


# ----------------------------------------------------------------------------------------------------------------------
# Training


def loss_of(model: GPT, x: mx.array, y: mx.array) -> mx.array:
    """Return the mean of logsumexp(logits) - logits[target] in nats, for int32 x and y [B, T].

    On a GPU this is one fused kernel.
    """
    logits = model(x)
    if on_gpu():
        return mx.mean(mx.fast.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1)))
    logits = logits.astype(mx.float32)
    largest = mx.stop_gradient(mx.max(logits, axis=-1, keepdims=True))
    total = mx.sum(exp(logits - largest), axis=-1, keepdims=True)
    return mx.mean(mx.log(total) + largest - mx.take_along_axis(logits, y[..., None], axis=-1))


def batch_shape(seq_len: int) -> tuple[int, int]:
    """Return the number of rows per forward pass, and the number of forward passes per optimiser step."""
    rows = min(DEVICE_BATCH_SIZE, max(1, TOTAL_BATCH_SIZE // seq_len))
    passes = max(1, TOTAL_BATCH_SIZE // (rows * seq_len))
    return rows, passes


def train(model: GPT, trial: harness.Trial) -> None:
    """Train until `trial.batches` ends, when the budget is used up."""
    rows, passes = batch_shape(trial.seq_len)
    optimiser = Optimiser(flat(model))
    gradient = nn.value_and_grad(model, loss_of)
    state = [model.state, optimiser.state]

    def apply(grads: Any, now: mx.array) -> None:
        model.update(tree_unflatten(list(optimiser.update(flat(model), dict(tree_flatten(grads)), now).items())))

    def whole_step(x: mx.array, y: mx.array, now: mx.array) -> mx.array:
        loss, grads = gradient(model, x, y)
        apply(grads, now)
        return loss

    # Compiling fuses kernels, which saves time on a GPU.  On a CPU, it calls a C++ compiler for seconds and gains
    # nothing; the same is true of the functions that MLX compiles itself, such as nn.relu.
    if on_gpu():
        whole_step = mx.compile(whole_step, inputs=state, outputs=state)
    else:
        mx.disable_compile()

    for step, batch in enumerate(groups(trial.batches(rows), passes)):
        now = mx.array([lr_factor(trial.progress), muon_momentum(step), 1 - trial.progress, step + 1])
        if passes == 1:
            loss = whole_step(*batch[0], now)
        else:
            total = None
            for x, y in batch:
                part = gradient(model, x, y)
                total = part if total is None else tree_map(mx.add, total, part)
                mx.eval(total)  # otherwise the graphs of all passes stay in memory at once
            loss, grads = tree_map(lambda z: z / passes, total)
            apply(grads, now)
        # Start the computation without waiting, so that the device works while Python prepares the next step.
        mx.async_eval(loss, state)
        trial.log(step, loss, tokens=passes * rows * trial.seq_len)


def groups(batches: Iterator[tuple[mx.array, mx.array]], size: int) -> Iterator[list[tuple[mx.array, mx.array]]]:
    """Yield lists of `size` batches, one for each optimiser step; an incomplete last list is dropped."""
    while len(group := list(islice(batches, size))) == size:
        yield group


if __name__ == "__main__":
    harness.main(build_model, train)
