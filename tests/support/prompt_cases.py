"""Two sessions for which to write prompts: a small one of any program, and a night of ``train_mlx.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from autoresearch_mlx.experiment import Context, Experiment, History, Measurement, Seconds
from autoresearch_mlx.lab.source import describe, set_knobs

ROOT = Path(__file__).resolve().parents[2]
SOLVER = "X = 4.0  # knob: lin 0 10\nY = 2  # knob: int 0 8\n"


def experiment(number: int, status: str, value: float | None, **fields: Any) -> Experiment:
    """Return one finished experiment; ``why`` says how its run failed, ``ran`` has further figures of its run."""
    why, ran = fields.pop("why", ""), fields.pop("ran", {})
    failure = status if status in ("crash", "timeout", "invalid") else None
    measured = (Measurement(value, 42, failure, why, **ran),) if value is not None or ran or failure else ()
    knobs = fields.pop("knobs", {})
    plain = Experiment(
        number=number,
        status=status,  # type: ignore[arg-type]
        value=value,
        gain=None,
        commit=f"c{number}",
        base=None,
        ref=None,
        title=describe(knobs) or "a change of code",
        axis=None,
        knobs=knobs,
        agent="knobs",
        reason=why,
        started="",
        finished="",
        measurements=measured,
    )
    return replace(plain, **fields)


def small(**changes: Any) -> Context:
    """Return a solver's session whose score a command prints: a baseline, one win, one loss."""
    history = (
        experiment(0, "keep", 11.0, title="baseline", axis="baseline", reason="baseline: score 11"),
        experiment(1, "keep", 10.25, base="c0", gain=0.75, knobs={"X": (4.5, 4.0)}),
        experiment(2, "discard", 14.25, base="c1", gain=-4.0, knobs={"X": (4.0, 5.5)}),
    )
    context = Context(
        number=3,
        program="Make the score small.\n",
        files={"solver.py": SOLVER},
        history=History(history, "score", "min"),
        hardware="x86_64, 8 GB",
        seed=42,
    )
    return replace(context, **changes)


def night(**changes: Any) -> Context:
    """Return twenty-six experiments of the training script, with everything that a prompt can contain."""
    script = (ROOT / "train_mlx.py").read_text()
    commits = _commits(script)
    context = Context(
        number=27,
        program=(ROOT / "program.md").read_text(),
        files=commits["c13"],
        history=History(_night(), "val_bpb", "min"),
        hardware="Apple M4, 16 GB; 300 s of training per experiment on the gpu",
        seed=42,
        notes=("try the width too", "leave the tokenizer and the softcap alone"),
        sigma=0.0018,
        read=lambda commit: commits.get(commit, {}),
        log_tail=lambda e: _LOGS.get(e.number, ""),
    )
    return replace(context, **changes)


_MEMORY = "killed by the system (signal 9): most often out of memory"
_GELU = "AttributeError: module 'mlx.core' has no attribute 'gelu'"
_LOGS = {
    24: "Traceback (most recent call last):\n"
    '  File "train_mlx.py", line 121, in __call__\n'
    "    return self.c_proj(mx.gelu(self.c_fc(x)))\n"
    "AttributeError: module 'mlx.core' has no attribute 'gelu'\n",
    9: "step 12\nlibc++abi: terminating due to uncaught exception of type std::runtime_error: out of memory\n",
}


@cache
def _commits(script: str) -> Mapping[str, Mapping[str, str]]:
    best = set_knobs(script, {"TOTAL_BATCH_SIZE": 8192, "DEPTH": 5, "EMBEDDING_LR": 0.8})
    gelu = best.replace("mx.square(nn.relu(self.c_fc(x)))", "mx.gelu(self.c_fc(x))")
    texts = {"c0": script, "c3": set_knobs(script, {"TOTAL_BATCH_SIZE": 8192}), "c13": best, "c24": gelu}
    texts["c5"] = set_knobs(texts["c3"], {"DEPTH": 5})
    texts["c9"] = set_knobs(texts["c3"], {"DEPTH": 11})
    return {commit: {"train_mlx.py": text} for commit, text in texts.items()}


def _ran(steps: int, rate: float, memory: float, *losses: float) -> dict[str, Any]:
    shares = [round((i + 0.5) / 20, 3) for i in range(20)]
    points = tuple((s, round(losses[0] + (losses[1] - losses[0]) * s**0.3, 4)) for s in shares) if losses else ()
    seconds = Seconds(2.0, 5.0, 300.0, 30.0)
    return {"steps": steps, "tokens_per_second": rate, "peak_memory_mb": memory, "curve": points, "seconds": seconds}


def _night() -> tuple[Experiment, ...]:
    """Return a baseline and the experiments after it; the judge's margin is 0.003."""
    margin = "gain 0.0041 against the incumbent's 1.7 (margin 0.003): keep"
    done = [
        experiment(0, "keep", 1.812345, title="baseline", axis="baseline", ran=_ran(420, 22900.0, 4096.0, 8.1, 4.9)),
        experiment(1, "discard", 1.815002, base="c0", gain=-0.002657, knobs={"MATRIX_LR": (0.04, 0.05)}),
        experiment(2, "discard", 1.812001, base="c0", gain=0.000344, knobs={"NS_STEPS": (5, 4)}),
        experiment(3, "keep", 1.75501, base="c0", gain=0.057335, knobs={"TOTAL_BATCH_SIZE": (16384, 8192)}),
        experiment(4, "discard", 1.761, base="c3", gain=-0.00599, knobs={"TOTAL_BATCH_SIZE": (8192, 4096)}),
        experiment(5, "keep", 1.74402, base="c3", gain=0.01099, knobs={"DEPTH": (4, 5)}),
        experiment(6, "discard", 1.7502, base="c5", gain=-0.00618, knobs={"DEPTH": (5, 6)}),
        experiment(7, "discard", 1.7444, base="c5", gain=-0.00038, knobs={"SOFTCAP": (15.0, 20.0)}),
        experiment(8, "duplicate", None, base="c5", knobs={"DEPTH": (5, 6)}, reason="the same as experiment 6"),
        experiment(9, "crash", None, base="c5", knobs={"DEPTH": (5, 11)}, why=_MEMORY),
    ]
    for number, name, was, now, value in _LATER:
        knobs = {name: (was, now)}
        status = "keep" if number == 13 else "discard"
        gain = round((1.74402 if number <= 13 else 1.7371) - value, 6)
        base = "c5" if number <= 13 else "c13"
        ran = _ran(830 + number, 22700.0, 4230.0, 8.2, value * 2.62)
        done.append(experiment(number, status, value, base=base, gain=gain, knobs=knobs, ran=ran, reason=margin))
    gelu = {"title": "GELU in place of the squared ReLU", "axis": "activation"}
    ran = _ran(851, 22800.0, 4231.0, 8.2, 4.55)
    x0 = {"X0_LAMBDA": (0.1, 0.05)}
    done += [
        experiment(24, "crash", None, base="c13", why=_GELU, **gelu),
        experiment(25, "discard", 1.7399, base="c13", gain=-0.0028, title="SiLU | gate", axis="activation"),
        experiment(26, "discard", 1.7369, base="c13", gain=0.0002, knobs=x0, reason=margin, ran=ran),
    ]
    return tuple(done)


_LATER = (
    (10, "WARMDOWN_RATIO", 0.5, 0.7, 1.7451),
    (11, "MATRIX_LR", 0.04, 0.03, 1.7462),
    (12, "MUON_BETA2", 0.95, 0.9, 1.7443),
    (13, "EMBEDDING_LR", 0.6, 0.8, 1.7371),
    (14, "EMBEDDING_LR", 0.8, 1.0, 1.7388),
    (15, "UNEMBEDDING_LR", 0.004, 0.006, 1.7375),
    (16, "FINAL_LR_FRAC", 0.0, 0.05, 1.7369),
    (17, "ROPE_BASE", 10000.0, 200000.0, 1.7391),
    (18, "WEIGHT_DECAY", 0.2, 0.15, 1.7368),
    (19, "MLP_RATIO", 4.0, 5.0, 1.7402),
    (20, "ASPECT_RATIO", 64, 77, 1.7455),
    (21, "MUON_RAMP_STEPS", 300, 100, 1.7352),
    (22, "WARMUP_RATIO", 0.0, 0.05, 1.7432),
    (23, "SCALAR_LR", 0.5, 0.3, 1.7377),
)
