"""A session as a curve, and when two curves may be compared directly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from autoresearch_mlx.compare.curves import of_history, of_log
from autoresearch_mlx.compare.log import of_reference
from autoresearch_mlx.compare.measured_under import comparable, of_session
from autoresearch_mlx.compare.reference import find
from autoresearch_mlx.experiment import Experiment, History, Measurement


def trained(tokens: int | None, size: int | None = 10) -> Measurement:
    return Measurement(1.0, 42, tokens=tokens, extra={} if size is None else {"num_params": size})


def test_sums_run_from_the_baseline_on(experiment: Callable[..., Experiment]) -> None:
    runs = [
        replace(experiment(0, "keep", 2.0), measurements=(trained(1000), trained(500))),
        replace(experiment(1, "crash", None), measurements=(Measurement(None, 1, "crash"),)),
        replace(experiment(2, "discard", 2.1), measurements=(trained(1000),)),
        replace(experiment(3, "keep", 1.5), measurements=(trained(1000, None),)),
    ]
    points = of_history(History(tuple(runs), "val_bpb", "min"))
    assert [p.best for p in points] == [2.0, 2.0, 2.0, 1.5]
    assert [p.gain_percent for p in points] == [0, 0, 0, 25]
    assert [p.hours for p in points] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert [p.tokens for p in points] == [1500, 1500, 2500, 3500]
    assert [p.flops for p in points] == [90_000, 90_000, 150_000, None]  # 6 N a token; N is unknown at last


def test_the_h100s_curve_in_hours_of_training() -> None:
    points = of_log(of_reference(find("h100")), budget_seconds=300)
    assert (points[0].best, points[-1].best) == (0.9979, 0.969686)
    assert points[-1].hours == pytest.approx(126 / 12)
    assert points[-1].gain_percent == pytest.approx(2.83, abs=0.005)
    assert points[-1].flops is None


def record(**other: Any) -> dict[str, Any]:
    machine: dict[str, Any] = {"chip": "Apple M4 Pro", "gpu_cores": 16, "mlx": "0.32.4"}
    machine |= {name: other.pop(name) for name in ("chip", "gpu_cores", "mlx") if name in other}
    machine["gpu"] = machine["chip"]
    known = {"source": "climbmix", "data_sha256": "ab" * 32, "vocab_size": 8192, "eval_rows": 64, "device": "gpu"}
    return of_session({"conditions": {**known, "seq_len": 2048, "budget_seconds": 300.0, **other}}, machine)


def test_sessions_on_one_corpus_with_one_budget_on_one_kind_of_machine_compare() -> None:
    assert comparable(record(), record()) == (True, ())
    assert comparable(record(), record(mlx="0.32.9")) == (True, ())


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"budget_seconds": 600.0}, "budget differs (300 s; 600 s)"),
        ({"budget_kind": "match-tokens", "budget_tokens": 500}, "budget differs (300 s; match-tokens:500)"),
        ({"chip": "Apple M4"}, "machine differs"),
        ({"chip": None}, "machine not known on one side"),
        ({"gpu_cores": 20}, "GPU cores differ (16; 20)"),
        ({"mlx": "0.33.0"}, "MLX differs (0.32; 0.33)"),
        ({"eval_rows": 40}, "validation rows differ"),
        ({"seq_len": 1024}, "length of a row differs"),
        ({"data_sha256": "cd" * 32}, "tokenizer differs"),
    ],
)
def test_what_differs_is_named(other: dict[str, Any], reason: str) -> None:
    fits, reasons = comparable(record(), record(**other))
    assert not fits and any(each.startswith(reason) for each in reasons)


def test_what_nobody_says_does_not_match() -> None:
    assert comparable({}, {})[0] is False
    fits, reasons = comparable(of_reference(find("h100")).conditions, of_reference(find("M4-pr24")).conditions)
    assert not fits and "tokenizer not known on one side" in reasons
    assert of_session({"conditions": {"run": "make"}}, {}) == {}
