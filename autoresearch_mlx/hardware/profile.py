"""Choose sizes that fit a machine: budget, vocabulary, sequence, and the first values of train_mlx.py's knobs.

A search starts from the profile and is free to leave it.  The profiles for Macs follow logs that owners of Macs
published.  Comments name the repositories and pull requests on GitHub; parts of the logs are in ``data/``.  This
project has measured none of these Macs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.hardware.machine import Machine

Device: TypeAlias = Literal["cpu", "gpu"]
GB = 2**30


@dataclass(frozen=True, slots=True)
class Profile:
    """Sizes for one class of machines."""

    name: str
    device: Device
    why: str
    """One sentence that names the machine and the source of the sizes."""
    budget_seconds: float
    """Seconds of training in one run, counted from the end of its first step."""
    compile_seconds: float
    """Seconds that the first step, which compiles, may take in addition."""
    vocab_size: int
    seq_len: int
    eval_rows: int
    """Rows of ``seq_len`` tokens that the evaluator scores."""
    knobs: Mapping[str, Any]
    """Values of train_mlx.py's knobs, by name."""
    margin: float
    """Smallest gain in val_bpb, in bits per byte, for which a change is kept."""
    memory_limit_bytes: int | None
    """MLX's memory limit in bytes; None leaves MLX's own limit."""
    run_memory_bytes: int | None
    """Bytes of main memory that the processes of a run may use together; a run that uses more is killed."""
    enough_steps: int
    """Number of optimiser steps in one run from which a search can learn; if a run has fewer, calibration chooses
    another batch or budget."""
    least_batch: int
    """Smallest number of tokens per step that calibration may choose."""
    run_folder_bytes: int = 8 * GB
    """Bytes that a run may write into its folder: enough for the weights of two billion float32 parameters."""
    free_disk_bytes: int = GB
    """Bytes that a run must leave free on the disk, for the ledger, the commits and the system itself."""


_MEMORY_SHARE = 0.75
"""Share of main memory that a run may use if the profile sets MLX no limit; the rest is for the system, the loop and a
local model."""
_BESIDE_MLX = 2 * GB
"""Bytes of memory that a run needs besides MLX's: for Python, numpy, compiled kernels, the driver's buffers.  The
number was not measured on a Mac."""


class _Enough(NamedTuple):
    steps: int
    batch: int


# Published runs of five minutes reached these val_bpb by their number of steps: 55 gave 2.371
# (thenamangoyal/autoresearch, M1 Pro), 205 and 210 gave 1.64 and 1.62 (machinarii on an M4 Max, karpathy pull 205 on
# an M1 Max), 361 gave 1.708 (trevin-creator pull 24, M4), 751 gave 1.429 (karpathy pull 205, M4 Pro), and about 1500
# gave 1.280 (davesque, M4 Max).  The one good run with few steps was made on an M5 Max, where 312 steps of 2**15 tokens
# gave 1.320.  So 750 is the smallest number of steps that is known to be enough on a Mac of 16 GB or more.  Upstream's
# own baseline had 917 steps (karpathy issue 243) and 953 (its program.md).  On a CPU a run is a demonstration; its 100
# steps in 20 s were measured here (README).  Steps of 2**12 tokens lost in all three logs of Macs that tried them
# (trevin-creator pull 8, DDay-FG, BobMolt).  On CUDA, 2**17 won on eight H100s (ClawTeam) and on an A100 (belindamo),
# and lost to 2**18 on one H100; no log has a smaller batch.
_ENOUGH = {"cpu": _Enough(100, 2**10), "mac": _Enough(750, 2**13), "cuda": _Enough(900, 2**17)}


class _Sizes(NamedTuple):
    device: Device
    budget: float
    compile: float
    vocab: int
    seq_len: int
    eval_rows: int
    depth: int
    aspect: int
    head_dim: int
    window: str
    total_batch: int
    rows: int
    margin: float
    memory: float | None
    """Share of main memory that MLX may use; Metal recommends at most two thirds to three quarters of main memory."""
    source: str


# total_batch is in tokens, and rows is the number of rows of one microbatch.  On Macs total_batch = rows * seq_len,
# because without gradient accumulation the whole step compiles (fblissjr/autoresearch-mlx).  Evaluation scores 524,288
# tokens on small Macs, three times as many on other Macs (trevin-creator/autoresearch-mlx), and forty times as many on
# CUDA (upstream).  In published logs, repeated runs of one file on a Mac differed by 0.001 to 0.03; the margin lies in
# this range.  The judge measures the spread on each machine.
# fmt: off
_TABLE = {
    #                 device budget compile vocab  seq   eval depth asp head win    batch  rows margin  memory
    # Measured on two cores of a Xeon.  Of vocabularies of 512, 1024 and 2048, 1024 gave the lowest val_bpb after 15 s.
    # docs/log.md has the measurements of batch and head size.
    "cpu":       _Sizes("cpu",  20,  30,   1024,  256,   192,  2,  64, 128, "L",    2**11,   8, 0.010, 0.5,
                        "a tiny model, so that an experiment takes under half a minute"),
    # On an 8 GB M3 Air, 12 experiments at depth 2 and 2**13 lowered val_bpb from 1.856 to 1.676, within 1.8 GB
    # (SingggggYee/autoresearch-mlx).
    # An A18 Pro cannot allocate over 4 GiB at once (trevin-creator pull 26), and half the sequence length halves the
    # logits.
    "mac-8gb":   _Sizes("gpu", 300,  60,   8192, 1024,   512,  2,  64, 128, "L",    2**13,   8, 0.003, 0.5,
                        "depth and batch follow a public log of an 8 GB M3"),
    # The numbers in parentheses are pull requests of trevin-creator.  2**13 beat 2**14 on an M5 (11), on a 16 GB Mac
    # (15) and on an unnamed chip (8).  On that chip 2**12 lost to 2**13, and depths 5 and 6 lost to 4.  Depth 3 lost to
    # 4 on a 32 GB M2 (31); but depth 2 beat 4 on 16 GB at 2**16 (15).
    "mac-base":  _Sizes("gpu", 300,  60,   8192, 2048,   256,  4,  64, 128, "L",    2**13,   4, 0.003, 0.6,
                        "depth and batch follow public logs of base chips with 16 to 32 GB"),
    # Depth 4 beat 2 and 5, and 2**14 beat 2**13 and 2**15, on a 20-core M4 Pro (reowens/autoresearch-mlx).
    "mac-pro":   _Sizes("gpu", 300,  60,   8192, 2048,   768,  4,  64, 128, "L",    2**14,   8, 0.003, 0.65,
                        "depth and batch follow a public log of an M4 Pro"),
    # Each halving from 2**16 to 2**14 gained, and depths 5 and 6 lost to 4, on an M4 Max (davesque/autoresearch-mlx); 4
    # beat 2, 6 and 8 on another (ncdrone/autoresearch-ANE).  One log says otherwise: 6 beat 4 at equal width and 2**16
    # (machinarii/autoresearch-mlx-muon).
    "mac-max":   _Sizes("gpu", 300,  60,   8192, 2048,   768,  4,  64, 128, "L",    2**14,   8, 0.003, 0.7,
                        "depth and batch follow public logs of the M4 Max"),
    # 1.2413, the best val_bpb in these logs, was reached with 2**15 on an M3 Ultra (trevin-creator pull 6).  Nobody
    # compared depths on an Ultra.  An M2 Ultra reached 140 K tokens/s at depth 4 and 41 K at depth 8 (fblissjr), which
    # is few for 50 M parameters in 300 s.
    "mac-ultra": _Sizes("gpu", 300,  60,   8192, 2048,   768,  4,  64, 128, "L",    2**15,  16, 0.003, 0.7,
                        "the batch follows a public log of an M3 Ultra"),
    # karpathy/autoresearch's own constants; the same file varied by 0.0005 (sd) between jobs on an H200.
    "cuda":      _Sizes("gpu", 300,  60,   8192, 2048, 10240,  8,  64, 128, "SSSL", 2**19, 128, 0.001, None,
                        "upstream's own constants for one H100, so that results can be compared"),
}
# fmt: on
_FURTHER: Mapping[str, Mapping[str, Any]] = {
    # Without the cap a step takes a tenth less time on a CPU, where tanh is slow.  The output layer's learning rate is
    # three times the shipped rate, which is meant for runs of a hundred times as many tokens (docs/log.md).
    "cpu": {"CAP_LOGITS": False, "UNEMBEDDING_LR": 0.012},
}
"""Values of the knobs that a profile sets besides the sizes."""


def choose_profile(machine: Machine, wanted: str = "auto") -> Profile:
    """Return the profile that fits a machine, or the profile named ``wanted``.

    A Mac whose memory is unknown gets the smallest Mac's profile.  A profile that was asked for by name still uses the
    device that this machine has.  Raises ConfigError for an unknown name.
    """
    name = _tier(machine) if wanted == "auto" else wanted
    if name not in _TABLE:
        raise ConfigError(f"there is no hardware profile {name!r}", f"profiles: auto, {', '.join(_TABLE)}")
    sizes = _TABLE[name]
    subject = _subject(machine) if wanted == "auto" else f"{name}, as asked for"
    return Profile(
        name=name,
        device=sizes.device if wanted == "auto" else "cpu" if machine.gpu is None else "gpu",
        why=f"{subject}: {sizes.source}{'; not measured by us' if name.startswith('mac-') else ''}.",
        budget_seconds=sizes.budget,
        compile_seconds=sizes.compile,
        vocab_size=sizes.vocab,
        seq_len=sizes.seq_len,
        eval_rows=sizes.eval_rows,
        knobs={
            "DEPTH": sizes.depth,
            "ASPECT_RATIO": sizes.aspect,
            "HEAD_DIM": sizes.head_dim,
            "WINDOW_PATTERN": sizes.window,
            "TOTAL_BATCH_SIZE": sizes.total_batch,
            "DEVICE_BATCH_SIZE": sizes.rows,
            **_FURTHER.get(name, {}),
        },
        margin=sizes.margin,
        memory_limit_bytes=_share(machine.memory_bytes, sizes.memory),
        run_memory_bytes=_run_memory(machine, sizes),
        enough_steps=_ENOUGH[name.partition("-")[0]].steps,
        least_batch=_ENOUGH[name.partition("-")[0]].batch,
    )


def _run_memory(machine: Machine, sizes: _Sizes) -> int | None:
    """Return the bytes of main memory that a run may use; None if the machine's memory is unknown.

    A Mac's GPU uses main memory too, so on a Mac the limit is MLX's limit plus :data:`_BESIDE_MLX`.
    """
    limit = _share(machine.memory_bytes, sizes.memory) if sizes.device == "gpu" else None
    return _share(machine.memory_bytes, _MEMORY_SHARE) if limit is None else limit + _BESIDE_MLX


def _tier(machine: Machine) -> str:
    if machine.gpu is None:
        return "cpu"
    if machine.gpu.kind == "cuda":
        return "cuda"
    memory = (machine.memory_bytes or 0) / GB
    if memory < 12:
        return "mac-8gb"
    # An M1 Pro with 16 GB ran into memory pressure at larger batches (thenamangoyal/autoresearch).
    words = set((machine.chip or "").split()) if memory >= 20 else set()
    return next((f"mac-{word.lower()}" for word in ("Ultra", "Max", "Pro") if word in words), "mac-base")


def _subject(machine: Machine) -> str:
    if machine.gpu is None:
        return "No GPU that MLX can use"
    if machine.gpu.kind == "cuda":
        return machine.gpu.name or "An NVIDIA GPU"
    memory = f" with {machine.memory_bytes / GB:.0f} GB" if machine.memory_bytes else ""
    return (machine.chip or "An Apple chip") + memory


def _share(memory_bytes: int | None, share: float | None) -> int | None:
    return int(memory_bytes * share) if memory_bytes and share else None
