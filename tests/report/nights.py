"""Make one night on a made-up Mac, written with the real ledger: a session folder with every kind of ending."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoresearch_mlx.experiment import Experiment, Failure, Measurement, Seconds
from autoresearch_mlx.store.ledger import Ledger

MACHINE = {
    "chip": "Apple M4 Pro",
    "system": "Darwin",
    "device": "gpu",
    "memory_gb": 24.0,
    "mlx": "0.32.2",
    "blas": None,
}


def measured(value: float, seed: int = 42, number: int = 0) -> Measurement:
    return Measurement(
        value=value,
        seed=seed,
        seconds=Seconds(1.12, 0.87, 20.03, 4.41),
        steps=231,
        tokens=1_892_352,
        tokens_per_second=94_476.0,
        peak_memory_mb=2210.4,
        machine=MACHINE,
        log=f"runs/{number:04d}-{seed - 41}/log.txt",
        extra={"loss": 2.91, "num_params": 11_534_336},
    )


def failed(failure: Failure, reason: str, number: int, seconds: Seconds) -> Measurement:
    log = f"runs/{number:04d}-1/log.txt"
    return Measurement(None, 42, failure, reason, seconds, machine=MACHINE, log=log)


def experiment(number: int, status: Any, title: str, **fields: Any) -> Experiment:
    fixed: dict[str, Any] = {
        "value": None,
        "gain": None,
        "commit": f"{number:02d}c0ffee" * 5,
        "base": "00c0ffee" * 5,
        "ref": f"refs/autoresearch/jul14/{number}",
        "axis": None,
        "knobs": {},
        "agent": "knobs",
        "reason": "",
        "started": f"2026-07-14T23:{number:02d}:00+02:00",
        "finished": f"2026-07-14T23:{number:02d}:29+02:00",
    }
    return Experiment(number=number, status=status, title=title, **{**fixed, **fields})


def night() -> list[Experiment]:
    loop = {"propose": 0.31, "commit": 0.12, "measure": 26.91, "settle": 0.22}
    again = {"propose": 0.31, "commit": 0.12, "measure": 53.4, "settle": 0.2}
    crash = "ValueError: [matmul] Last dimension of first input with shape (16,256) must match second"
    return [
        experiment(
            0, "keep", "baseline", value=2.512345, base=None, agent="", reason="baseline: val_bpb 2.512345",
            measurements=(measured(2.512345),), seconds=loop,
        ),
        experiment(
            1, "keep", "MATRIX_LR 0.04 -> 0.028", value=2.431022, gain=0.081323, axis="lr.matrix",
            knobs={"MATRIX_LR": (0.04, 0.028)}, rationale="A shorter run wants\na smaller step.",
            reason="gain 0.081323 against the incumbent's 2.512345 (margin 0.002): keep",
            measurements=(measured(2.431522, 42, 1), measured(2.430522, 43, 1)), seconds=again,
        ),
        experiment(
            2, "discard", "WINDOW_PATTERN SSSL -> L, full attention in every layer: 試してみる", value=2.436022,
            gain=-0.005, axis="attention.window", knobs={"WINDOW_PATTERN": ("SSSL", "L")},
            reason="loss 0.005000 against the incumbent's 2.431022 (margin 0.002): discard",
            measurements=(measured(2.436022, 42, 2),),
        ),
        experiment(
            3, "crash", "DEPTH 4 -> 6", axis="depth", knobs={"DEPTH": (4, 6)}, reason=crash,
            measurements=(failed("crash", crash, 3, Seconds(1.1, 0.4)),), finished="2026-07-14T23:03:02+02:00",
        ),
        experiment(
            4, "duplicate", "MATRIX_LR 0.04 -> 0.028", axis="lr.matrix", finished="2026-07-14T23:04:01+02:00",
            reason="the same as experiment 1 (keep, val_bpb 2.431022): MATRIX_LR 0.04 -> 0.028",
        ),
        experiment(
            5, "timeout", "TOTAL_BATCH_SIZE 2**14 -> 2**17", axis="batch", reason="no step within 60 s",
            knobs={"TOTAL_BATCH_SIZE": (2**14, 2**17)}, agent="hybrid",
            measurements=(failed("timeout", "no step within 60 s", 5, Seconds(1.1, 60.0)),),
        ),
        experiment(
            6, "interrupted", "", commit=None, base=None, ref=None, agent="", reason="the process that ran it ended",
            started="", finished="",
        ),
    ]  # fmt: skip


def write_session(folder: Path, experiments: list[Experiment], **record: Any) -> Path:
    folder.mkdir()
    ledger = Ledger(folder)
    facts = {"tag": folder.name, "target": "pretrain", "metric": "val_bpb", "direction": "min", **record}
    ledger.append("session", **facts)
    for e in experiments:
        ledger.append("started", number=e.number, base=e.base, time=e.started)
        ledger.finish(e)
    return folder
