"""Simulate five-minute runs: a knob file, a true value for each configuration, crashes and noise.

Each seed draws its own landscape of a family, so that no search is tuned to one optimum.  The families share what
published logs of karpathy/autoresearch show (branch exp/H100/mar8, and the 11,000 trials of arXiv:2603.24647).  The
file that a search starts from is already fairly good.  Most changes of one knob lose a little, and a few directions
(batch, depth, one or two learning rates) gain much.  A run that needs too much memory crashes.  The best learning rates
depend on the batch.  Values are bits per byte, and lower is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.knob_file import BY_NAME, DRAWN, ROWS, START_VALUES, KnobFile, Row, unit

Values = Mapping[str, Any]
SEQUENCE = 2048
START = 0.998


# The optimum of one knob depends on another: deeper models are best narrower, and larger batches need higher rates.
COUPLED = (
    ("MATRIX_LR", "TOTAL_BATCH_SIZE"),
    ("EMBEDDING_LR", "TOTAL_BATCH_SIZE"),
    ("ASPECT_RATIO", "DEPTH"),
    ("TOTAL_BATCH_SIZE", "DEPTH"),
    ("UNEMBEDDING_LR", "EMBEDDING_LR"),
    ("FINAL_LR_FRAC", "WARMDOWN_RATIO"),
    ("WEIGHT_DECAY", "MATRIX_LR"),
)
COMPUTE_KNOBS = ("DEPTH", "ASPECT_RATIO", "HEAD_DIM", "TOTAL_BATCH_SIZE", "DEVICE_BATCH_SIZE")
LEADERS = ("DEPTH", "TOTAL_BATCH_SIZE", "EMBEDDING_LR", "MATRIX_LR", "WARMDOWN_RATIO", "ROPE_BASE", "X0_LAMBDA")


@dataclass(frozen=True, slots=True)
class Family:
    """The parameters with which one kind of landscape is drawn; distances are fractions of a knob's range."""

    name: str
    says: str
    far: int = 4
    """Number of knobs that start far from their optimum."""
    reach: tuple[float, float] = (0.12, 0.35)
    near: float = 0.03
    coupling: float = 0.3
    headroom: tuple[float, float] = (1.5, 2.5)
    """Range from which a landscape draws how often the first configuration's memory may double before a run fails."""
    fragile: float = 0.4
    """Training diverges if the matrix learning rate is this far above its optimum."""
    noise: float = 0.1
    """Sigma of one run, as a share of the typical gain of an improving step."""
    compute: bool = False
    """Whether depth, width and batch follow a law of fixed compute, instead of each having a separate optimum."""


FAMILIES = (
    Family("interacting", "optima that move with other knobs", coupling=0.8),
    Family("cliff", "memory and divergence close by", headroom=(0.1, 0.6), fragile=0.12, coupling=0.4),
    Family("noisy", "sigma is half the typical gain", noise=0.5),
    Family("far", "a file tuned for another machine", far=7, reach=(0.25, 0.5), headroom=(0.5, 1.5), noise=0.2),
    Family("late", "a tuned file: small gains only", far=3, reach=(0.06, 0.12), near=0.015, noise=0.3),
    Family("compute", "fixed compute shared by size, tokens and steps", compute=True, headroom=(0.5, 1.5), noise=0.25),
)


@dataclass(frozen=True, slots=True)
class ComputeLaw:
    """A law of fixed compute: five minutes allow a fixed number of operations, so a larger model sees fewer tokens.

    Parameters and tokens each lower the loss by a power law (arXiv:2203.15556), the best batch grows with the tokens,
    and the best learning rate grows with the batch and falls with the width.  The value is not a sum over single knobs.
    """

    size: float
    """Number of doublings of the parameters between the start and the best size."""
    batch: float
    """Number of doublings between the start's batch and the best batch for the start's number of tokens."""
    speed: float
    """How much speed a small device batch costs."""

    def cost(self, values: Values) -> float:
        here, start = _scale(values), _scale(START_VALUES)
        size = here.parameters - start.parameters - self.size
        idle = math.log2(1 + self.speed * 64 / values["DEVICE_BATCH_SIZE"])
        idle += math.log2(1 + 0.1 * 128 / values["HEAD_DIM"])
        loss = 0.06 * (2 ** (-0.3 * size) + 2 ** (0.3 * (size + idle)))
        batch = here.batch - start.batch - self.batch + 0.5 * size
        return loss + 0.02 * (2 ** (0.5 * batch) + 2 ** (-0.5 * batch) - 2)

    def rate_shift(self, values: Values) -> float:
        """Return how far the best matrix learning rate moves with these values, as a share of its two decades."""
        here, start = _scale(values), _scale(START_VALUES)
        return 0.15 * (0.5 * (here.batch - start.batch) - 0.5 * (here.width - start.width))


@dataclass(frozen=True, slots=True)
class _Scale:
    """Logarithms to base 2 of the sizes that the law needs."""

    parameters: float
    width: float
    batch: float


def _scale(values: Values) -> _Scale:
    width = math.log2(model_width(values))
    return _Scale(math.log2(values["DEPTH"]) + 2 * width, width, math.log2(values["TOTAL_BATCH_SIZE"]))


@dataclass(frozen=True, slots=True)
class Landscape:
    """One drawn objective: ``true`` is hidden from every search, and ``measure`` gives what a run would report."""

    family: Family
    optimum: Mapping[str, float]
    slope: Mapping[str, tuple[float, float]]
    """Bits per byte lost if a knob is below its optimum by its whole range, and if it is above by as much."""
    coupling: Mapping[tuple[str, str], float]
    options: Mapping[str, float]
    """Bits per byte that each window pattern costs."""
    memory_limit: float
    law: ComputeLaw | None = None
    sigma: float = 0.0

    def true(self, values: Values) -> float | None:
        """Return the value without noise, in bits per byte, or None if the run would fail."""
        if self.fails(values):
            return None
        return START + self._cost(values) - self._cost(START_VALUES)

    def measure(self, values: Values, rng: np.random.Generator) -> float | None:
        value, shock = self.true(values), rng.normal()
        return None if value is None else value + self.sigma * shock

    @property
    def knobs(self) -> KnobFile:
        """The knob file that a search starts from."""
        return DRAWN

    def memory_mb(self, values: Values) -> float:
        """Return the peak memory of a run, in MB; the limit is always at 80 GB."""
        return float(80_000 * 2 ** (memory(values) - self.memory_limit))

    def fails(self, values: Values) -> bool:
        too_hot = self._offset("MATRIX_LR", values) > self.family.fragile
        uneven = values["TOTAL_BATCH_SIZE"] < values["DEVICE_BATCH_SIZE"] * SEQUENCE
        return uneven or too_hot or memory(values) > self.memory_limit

    def _offset(self, name: str, values: Values) -> float:
        if self.law and name == "MATRIX_LR":
            return unit(name, values[name]) - self.optimum[name] - self.law.rate_shift(values)
        moved = sum(
            share * (unit(other, values[other]) - unit(other, START_VALUES[other]))
            for (knob, other), share in self.coupling.items()
            if knob == name
        )
        return unit(name, values[name]) - self.optimum[name] - moved

    def _cost(self, values: Values) -> float:
        total = self.options[values["WINDOW_PATTERN"]] + (self.law.cost(values) if self.law else 0.0)
        for name, (below, above) in self.slope.items():
            if self.law and name in COMPUTE_KNOBS:
                continue
            offset = self._offset(name, values)
            # The loss is quadratic near the optimum, straight further out, and steeper on one side.
            total += (above if offset > 0 else below) * 0.1 * (math.hypot(1, offset / 0.1) - 1)
        return total


def memory(values: Values) -> float:
    """Return log2 of a run's memory, less a constant.  Activations grow with depth, width and device batch."""
    return math.log2(values["DEPTH"] * model_width(values) * values["DEVICE_BATCH_SIZE"])


def model_width(values: Values) -> int:
    """Return the width: depth times aspect ratio, rounded to whole heads."""
    heads = max(1, round(values["DEPTH"] * values["ASPECT_RATIO"] / values["HEAD_DIM"]))
    return int(heads * values["HEAD_DIM"])


def draw(family: Family, seed: int) -> Landscape:
    """Draw the landscape of this family with this seed; its first configuration never fails."""
    rng = np.random.default_rng([seed, *family.name.encode()])
    numeric = [row for row in ROWS if row.kind != "choice"]
    chosen = set(rng.choice(LEADERS, size=family.far, replace=False))
    slope = {row.name: _slope(row.name in chosen, rng) for row in numeric}
    landscape = Landscape(
        family,
        optimum={row.name: _optimum(row, row.name in chosen, family, rng) for row in numeric},
        slope=slope,
        coupling={pair: float(family.coupling * rng.uniform(-1, 1)) for pair in COUPLED},
        options=dict(zip(BY_NAME["WINDOW_PATTERN"].choices, 0.004 * rng.random(4), strict=True)),
        memory_limit=memory(START_VALUES) + float(rng.uniform(*family.headroom)),
        law=_law(rng) if family.compute else None,
    )
    # The start must not fail: if a random optimum makes the start diverge, that optimum is moved up towards the start.
    if landscape.fails(START_VALUES):
        room = unit("MATRIX_LR", START_VALUES["MATRIX_LR"]) - family.fragile / 2
        landscape = replace(landscape, optimum={**landscape.optimum, "MATRIX_LR": room})
    return replace(landscape, sigma=family.noise * typical_gain(landscape))


def _law(rng: np.random.Generator) -> ComputeLaw:
    size, batch = rng.choice((-1, 1), size=2) * rng.uniform(1, 2.5, size=2)
    return ComputeLaw(float(size), float(batch), float(rng.uniform(0.02, 0.2)))


def typical_gain(landscape: Landscape) -> float:
    """Return the median gain, in bits per byte, over all steps of one knob from the start that gain anything."""
    gains = []
    for row in ROWS:
        for value in _steps(row):
            after = landscape.true({**START_VALUES, row.name: value})
            if after is not None and after < START:
                gains.append(START - after)
    return float(np.median(gains))


def _steps(row: Row) -> list[Any]:
    if row.kind == "choice":
        return [c for c in row.choices if c != row.start]
    if row.kind == "pow2":
        return [v for v in (row.start // 2, row.start * 2) if row.low <= v <= row.high]
    if row.kind == "log":
        ratio = (row.high / row.low) ** 0.08
        return [row.start / ratio, row.start * ratio]
    step = max(1, round(0.08 * (row.high - row.low))) if row.kind == "int" else 0.08 * (row.high - row.low)
    return [v for v in (row.start - step, row.start + step) if row.low <= v <= row.high]


def _optimum(row: Row, far: bool, family: Family, rng: np.random.Generator) -> float:
    here = row.unit(row.start)
    distance = rng.uniform(*family.reach) if far else abs(rng.normal(0, family.near))
    sign = rng.choice((-1, 1)) if distance < here < 1 - distance else (1 if here < 0.5 else -1)
    return float(here + sign * distance)


def _slope(far: bool, rng: np.random.Generator) -> tuple[float, float]:
    # Few knobs matter much.  For about half of all knobs, a value that is too high costs more than one that is too low.
    level = rng.lognormal(math.log(0.05 if far else 0.02), 0.6)
    tilt = rng.uniform(0.6, 1.6)
    return float(level / tilt), float(level * tilt)
