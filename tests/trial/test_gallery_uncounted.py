"""Work that a budget of tokens or operations does not count is recognised by the time that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Experiment, History, Measurement, Usual, Verdict
from autoresearch_mlx.judge.judge import UNCOUNTED_HELD, UNCOUNTED_SAID, Case, Judge
from autoresearch_mlx.trial.conditions import Conditions

BATCHES = "groups(trial.batches(rows), passes)"
LOG = "        trial.log("
OFTEN = 4
SEVERAL_PASSES = [
    (f"enumerate({BATCHES})", f"enumerate(group for group in {BATCHES} for _ in range({OFTEN}))"),
    (LOG, f"        if step % {OFTEN} == {OFTEN - 1}:\n    {LOG}"),
]
BLOCK = "            x = block(x, tokens, self._masks[i])\n"
STEP = "            loss = whole_step(*batch[0], now)\n"
INSIDE = f"            for _ in range(4):\n    {STEP}                mx.eval(state)\n"
LAYER_USED_AGAIN = [(BLOCK, f"            for _ in range(12):\n    {BLOCK}")]
INSIDE_A_STEP = [(STEP, INSIDE)]
HEAD = "        self.lm_head = Linear(width, vocab_size)\n"
HIDDEN_BY_IDLE_WEIGHTS = [
    *INSIDE_A_STEP,
    (HEAD, f"{HEAD}        self.idle = mx.zeros((8 * width, 8 * width))\n"),
    ('            elif name == "lm_head.weight":', '            elif name in ("lm_head.weight", "idle"):'),
]


@pytest.fixture(scope="module")
def counted(under: Conditions) -> Conditions:
    """Measure a script with a budget of tokens."""
    return replace(under, budget_tokens=32 * 256, budget_seconds=60.0)


def baseline(counted: Conditions, folder: Path) -> Usual:
    done = tiny.measure(tiny.script(), folder, counted)
    assert done.failure is None and done.tokens, done.reason
    assert "operation_time" not in done.extra, "the baseline has nothing to compare with"
    cpu, matrix = done.extra["train_cpu_seconds"], done.extra["matrix_params"]
    return Usual(token_cpu=cpu / done.tokens, matrix_params=matrix, evaluate_cpu=done.extra["evaluate_cpu_seconds"])


@pytest.fixture(scope="module")
def usual(counted: Conditions, tmp_path_factory: pytest.TempPathFactory) -> Usual:
    return baseline(counted, tmp_path_factory.mktemp("baseline"))


def edited(edits: list[tuple[str, str]]) -> str:
    text = tiny.script()
    for before, after in edits:
        assert before in text, before
        text = text.replace(before, after, 1)
    return text


def attempts(text: str, counted: Conditions, usual: Usual, folder: Path) -> Iterator[float]:
    """Yield the script's time for each operation, from up to three runs.

    Other programs can slow a baseline, a training or an evaluation, so each later run has a baseline of its own.
    """
    for name, own in (("a", None), ("b", "baseline-b"), ("c", "baseline-c")):
        beside = usual if own is None else baseline(counted, folder / own)
        done = tiny.measure(text, folder / name, counted, usual=beside)
        assert done.failure is None and done.tokens == 32 * 256, done.reason
        yield done.extra["operation_time"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "edits",
    [
        pytest.param(SEVERAL_PASSES, id="several passes over a batch, logged as one step"),
        pytest.param(INSIDE_A_STEP, id="several passes inside a step"),
        pytest.param(LAYER_USED_AGAIN, id="a layer used again"),
        pytest.param(HIDDEN_BY_IDLE_WEIGHTS, id="several passes beside weights that no product uses"),
    ],
)
def test_work_that_is_not_counted_takes_time(
    edits: list[tuple[str, str]], counted: Conditions, usual: Usual, tmp_path: Path
) -> None:
    times = attempts(edited(edits), counted, usual, tmp_path)
    assert any(time > UNCOUNTED_SAID for time in times)


@pytest.mark.slow
def test_an_honest_script_takes_the_time_that_it_took(counted: Conditions, usual: Usual, tmp_path: Path) -> None:
    """The judge uses the shortest time of an experiment's runs, because other programs can only add to a time."""
    times = attempts(tiny.script(MATRIX_LR=0.03), counted, usual, tmp_path)
    assert any(time < UNCOUNTED_HELD for time in times)


@pytest.mark.slow
def test_a_budget_of_seconds_needs_no_such_measure(under: Conditions, usual: Usual, tmp_path: Path) -> None:
    assert "operation_time" not in tiny.measure(tiny.script(), tmp_path, under, usual=usual).extra


@pytest.mark.slow
def test_a_run_that_is_ended_by_its_own_count_of_steps_is_measured_too(
    under: Conditions, usual: Usual, tmp_path: Path
) -> None:
    """A repeat may end after as many steps as an earlier run, but no step may take more time than it did there."""
    done = tiny.measure(edited(INSIDE_A_STEP), tmp_path, replace(under, steps=24), usual=usual)
    assert done.extra["operation_time"] > UNCOUNTED_SAID


def decided(taken: float, accepted: bool = False, incumbent: float = 1.0) -> Verdict:
    """Return the verdict on a gain; ``taken`` and ``incumbent`` are times, as multiples of the baseline's."""

    def run(value: float, **extra: float) -> Measurement:
        return Measurement(value, 42, tokens=1000, extra=extra)

    def kept(number: int, value: float, taken: float) -> Experiment:
        measured = run(value, train_cpu_seconds=taken, matrix_params=100)
        return Experiment(
            number, "keep", value, None, "c", None, None, "kept", None, {}, "", "", "", "", measurements=(measured,)
        )

    history = History((kept(0, 2.1, 1.0), kept(1, 2.0, incumbent)), "val_bpb", "min")
    found = Judge(margin=0.01, mode="margin").decide(
        history, Case(2, [run(1.9, operation_time=taken)], accepted=accepted)
    )
    assert isinstance(found, Verdict)
    return found


def test_a_keep_says_how_much_was_not_counted_and_much_of_it_waits_for_a_person() -> None:
    assert "times the baseline's time" not in decided(1.2).reason
    said = decided(1.3)
    assert said.status == "keep" and said.reason.endswith(
        "; a run took 1.3 times the baseline's time for each token and matrix weight, which this budget does not count"
    )
    assert decided(1.5).held, "two passes over each batch"
    held = decided(4.0)
    assert (held.status, held.held) == ("discard", True)
    assert "but a run took 4.0 times the baseline's time for each token" in held.reason
    assert held.reason.endswith("`autoresearch-mlx accept 2` keeps it")
    assert decided(4.0, accepted=True).status == "keep"


def test_what_the_incumbent_takes_already_needs_no_second_consent() -> None:
    assert decided(4.0, incumbent=3.9).status == "keep"
    assert decided(2.0, incumbent=1.6).held, "small steps add up"
