"""Runs that end after a number of tokens or operations: real training at tiny size, and scripts that cheat."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Measurement, Progress
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.meter import meter_of
from autoresearch_mlx.trial.spec import count, shapes_of

TOKENS = 24 * 256
"""Number of tokens in 24 steps of the small script."""


@pytest.fixture(scope="module")
def tokens(under: Conditions) -> Conditions:
    return replace(under, budget_seconds=60.0, budget_tokens=TOKENS)


def edited(before: str, after: str) -> str:
    text = tiny.script()
    assert text.count(before) == 1
    return text.replace(before, after)


def invalid(done: Measurement, reason: str) -> None:
    assert (done.failure, done.value) == ("invalid", None), done.reason
    assert reason in done.reason, done.reason


# --- tokens


LOG = "        trial.log(step, loss, tokens=passes * rows * trial.seq_len)\n"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (
            LOG,
            "        trial.tokens_served = 64\n" + LOG,
            "256 tokens were served, but the script set trial.tokens_served to 64",
        ),
        (LOG, LOG + "        if step == 4: break\n", f"stopped after 1,280 tokens of its budget of {TOKENS:,} tokens"),
        ("tokens=passes * rows", "tokens=2 * passes * rows", "the logged steps claim"),
    ],
)
def test_a_script_that_lies_about_its_tokens_is_invalid(
    before: str, after: str, reason: str, tokens: Conditions, tmp_path: Path
) -> None:
    invalid(tiny.measure(edited(before, after), tmp_path, tokens), reason)


FORGED = """\
        import json, os
        event = {'event': 'step', 'tokens': 32}
        os.write(int(os.environ['AUTORESEARCH_EVENTS_FD']), (json.dumps(event) + chr(10)).encode())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "forged",
    [
        pytest.param("        trial.tokens_served = trial._counted = 256\n", id="the harness's counts"),
        pytest.param(FORGED, id="events"),
        pytest.param(
            "        from dataclasses import replace\n"
            "        trial._spec = replace(trial._spec, steps=None, tokens=10**9)\n",
            id="the budget",
        ),
    ],
)
def test_a_forged_count_gives_no_token_more(forged: str, tokens: Conditions, tmp_path: Path) -> None:
    """The parent serves and counts the batches, so nothing that the script says or changes affects when they end."""
    done = tiny.measure(edited(LOG, LOG + forged), tmp_path, tokens)
    assert (done.failure, done.tokens) in ((None, TOKENS), ("invalid", TOKENS)), done.reason


def test_a_step_that_is_too_large_for_the_budget_is_invalid(tokens: Conditions, tmp_path: Path) -> None:
    text = tiny.script(TOTAL_BATCH_SIZE=4096, DEVICE_BATCH_SIZE=128)
    invalid(tiny.measure(text, tmp_path, tokens), "training used 8,192 tokens, and its budget is 6,144 tokens")


# --- operations


@pytest.mark.slow
def test_a_larger_model_gets_fewer_tokens_for_the_same_operations(under: Conditions, tmp_path: Path) -> None:
    flops = replace(under, budget_seconds=60.0, budget_flops=2e8)
    seen: list[Progress] = []
    small = tiny.measure(tiny.script(), tmp_path / "a", flops, seen=seen)
    large = tiny.measure(tiny.script(ASPECT_RATIO=64), tmp_path / "b", flops)
    for done in (small, large):
        assert done.failure is None, done.reason
        spent = 6 * done.extra["matrix_params"] * done.tokens  # type: ignore[operator]
        assert spent == pytest.approx(2e8, rel=0.1)
    assert small.tokens > large.tokens  # type: ignore[operator]
    shares = [p.share for p in seen if p.share is not None]
    assert shares == sorted(shares) and 0 < shares[-1] <= 1


def test_a_model_that_grows_after_it_was_counted_is_invalid(under: Conditions, tmp_path: Path) -> None:
    text = edited(
        "    rows, passes = batch_shape(trial.seq_len)\n",
        "    model.more = nn.Linear(64, 64)\n    rows, passes = batch_shape(trial.seq_len)\n",
    )
    done = tiny.measure(text, tmp_path, replace(under, budget_seconds=60.0, budget_flops=2e8))
    invalid(done, "the budget of FLOPs counts")


def test_what_the_saved_weights_say_is_held_against_what_was_told(under: Conditions, tmp_path: Path) -> None:
    meter = meter_of(replace(under, budget_seconds=60.0, budget_flops=1e6))
    meter.hear({"event": "sized", "matrix_params": 10}, 0.0)
    header = json.dumps({"head.weight": {"dtype": "F32", "shape": [300, 32], "data_offsets": [0, 0]}}).encode()
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header)
    said = meter.fault(1.0, {"tokens": 320, "steps": 1}, tmp_path / "w")
    assert said is not None and said.startswith("the saved model has 9,600 matrix parameters, but 10 were reported")


# --- counting


def test_tables_are_looked_up_and_all_else_is_multiplied() -> None:
    shapes = {"wte.weight": (300, 32), "head.weight": (300, 32), "norm": (32,), "mlp.weight": (32, 128)}
    assert count(shapes, 300) == {"num_params": 2 * 9600 + 32 + 4096, "matrix_params": 9600 + 4096, "tables": 1}


def test_a_name_makes_no_table_and_tied_weights_give_the_logits() -> None:
    assert count({"wte": (300, 32), "mlp_embedding": (32, 128)}, 300)["matrix_params"] == 9600 + 4096
    assert count({"wte": (300, 32), "head_wte": (304, 32)}, 300)["matrix_params"] == 9600


@pytest.mark.parametrize(
    ("shapes", "counted"),
    [
        pytest.param({"wte": (300, 32), "unembedding": (300, 32), "pad": (1, 300)}, 9600 + 300, id="a renamed head"),
        pytest.param({"wte": (300, 32), "a_embedding": (300, 32), "head": (300, 32)}, 2 * 9600, id="one table more"),
        pytest.param({"wte": (300, 32), "head": (9600,)}, 9600, id="a head laid out flat"),
        pytest.param({"wte": (300, 32), **{str(i): (32,) for i in range(300)}}, 9600 + 9600, id="a head row by row"),
        pytest.param({"wte": (300, 32), "wte_head": (400, 24), "pad": (8, 300)}, 2400 + 9600, id="another shape"),
    ],
)
def test_a_name_makes_no_product_free(shapes: dict[str, tuple[int, ...]], counted: int) -> None:
    assert count(shapes, 300, tables=1)["matrix_params"] == counted


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 8, b"\x02" + bytes(7) + b"[]", b"\x0d" + bytes(7) + b'{"a": {"b":1}']
)
def test_what_is_no_file_of_weights_has_no_shapes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(ValueError):
        shapes_of(tmp_path / "w")


# --- the parent's own checks


def heard(under: Conditions, *events: tuple[float, dict[str, Any]], **budget: Any) -> Any:
    meter = meter_of(replace(under, **{"budget_seconds": 1000.0, "budget_tokens": 3200, **budget}))
    for spent, event in events:
        meter.hear(event, spent)
    return meter


def step(tokens: Any) -> dict[str, Any]:
    return {"event": "step", "tokens": tokens}


TRAIN = (0.0, {"event": "train", "tokens": 0})


def test_the_time_that_is_left_follows_from_the_pace(under: Conditions) -> None:
    meter = heard(under, TRAIN, (2.0, step(320)))
    assert meter.share(2.0) == pytest.approx(0.1)
    assert meter.left(2.0) == pytest.approx(18.0)
    assert meter.left(3.0) == pytest.approx(17.0)
    assert heard(under, TRAIN).left(1.0) is None


def test_a_run_much_slower_than_its_first_pace_is_killed(under: Conditions) -> None:
    meter = heard(under, TRAIN, (2.0, step(320)), (100.0, step(640)))
    assert meter.overstayed(109.0) is None
    assert "within 110 s, 4 times the time predicted from its first steps, plus 30 s; killed" in meter.overstayed(111.0)


def test_a_run_that_hides_its_pace_is_killed_at_the_cap(under: Conditions) -> None:
    meter = heard(under, TRAIN, (500.0, step(32)), (900.0, step(33)))
    assert "within 1000 s, the longest that a run may take; killed" in meter.overstayed(1001.0)


def test_a_run_that_trains_no_more_is_killed(under: Conditions) -> None:
    meter = heard(under, TRAIN, (1.0, step(32)))
    assert meter.overstayed(600.0) is None
    assert meter.overstayed(602.0) == "training used no new token for 600 s; killed"


@pytest.mark.parametrize("told", ["many", None, True, -5, 1.5, float("nan"), 10**400, [1]])
def test_what_is_no_count_is_passed_over(told: Any, under: Conditions) -> None:
    meter = heard(under, TRAIN, (1.0, step(320)), (2.0, step(told)))
    assert meter.share(2.0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"tokens": 3200}, "did not report its numbers"),
        ({"tokens": 3199, "steps": 3}, "cannot be whole rows of 32"),
        ({"tokens": 3200, "steps": 101}, "cannot be whole rows of 32"),
        ({"tokens": 3200, "steps": 0}, "cannot be whole rows of 32"),
        ({"tokens": 2848, "steps": 10}, "training stopped after 2,848 tokens of its budget of 3,200 tokens"),
        ({"tokens": 3552, "steps": 10}, "training used 3,552 tokens"),
    ],
)
def test_facts_that_do_not_fit_the_budget_are_named(facts: dict[str, Any], said: str, under: Conditions) -> None:
    assert said in heard(under, TRAIN).fault(1.0, facts, Path("none"))
    assert heard(under, TRAIN).fault(1.0, {"tokens": 3200, "steps": 100}, Path("none")) is None
