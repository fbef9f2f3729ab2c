"""A run that has lost is stopped while it trains; real training, at tiny size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Assignment, Measurement
from autoresearch_mlx.judge.early import EarlyRules, should_stop
from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.conditions import Conditions

pytestmark = pytest.mark.uncounted


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def corpus(cache: Path) -> Corpus:
    return tiny.corpus(cache)


@pytest.fixture
def under(corpus: Corpus, cache: Path) -> Conditions:
    return tiny.conditions(corpus, cache, budget_seconds=4.0, hidden_rows=corpus.path("hidden"))


def run(text: str, folder: Path, under: Conditions, stop: Any = None, **order: Any) -> Measurement:
    tree, files = folder / "tree", folder / "run"
    tree.mkdir(parents=True)
    files.mkdir()
    (tree / "train_mlx.py").write_text(text)
    return Pretrain(under).measure(Assignment(tree, files, 42, lambda progress: None, stop=stop, **order))


def against(curve: Sequence[tuple[float, float]], number: int, **rules: Any) -> Any:
    def stop(points: Sequence[tuple[float, float]], tokens: int | None = None) -> Mapping[str, Any] | None:
        found = should_stop(points, curve, number, "lr.matrix", 30, EarlyRules(**rules))
        return None if found is None else {"reason": found.reason, "share": found.share, "audit": found.audit}

    return stop


FAR_BETTER = ((0.0, 5.0), (0.3, 1.0), (1.0, 0.5))


@pytest.mark.slow
def test_a_clear_loser_is_stopped_and_has_no_value(tmp_path: Path, under: Conditions) -> None:
    measured = run(tiny.script(), tmp_path, under, against(FAR_BETTER, 1, after=0.3))
    assert (measured.value, measured.failure) == (None, "stopped")
    assert measured.reason.startswith("loss ") and measured.reason.endswith("% of the budget: stopped")
    assert 0.3 <= measured.extra["stop"]["share"] < 0.9
    assert measured.seconds.train is not None and measured.seconds.train < 3.9


@pytest.mark.slow
def test_one_in_eight_is_left_to_finish_as_an_audit(tmp_path: Path, under: Conditions) -> None:
    measured = run(tiny.script(), tmp_path, replace(under, budget_seconds=1.0), against(FAR_BETTER, 8, after=0.3))
    assert measured.value is not None and measured.extra["stop"]["audit"] is True


@pytest.mark.slow
def test_a_run_that_has_not_lost_goes_on(tmp_path: Path, under: Conditions) -> None:
    worse = tuple((share / 10, 50.0) for share in range(11))
    measured = run(tiny.script(), tmp_path, replace(under, budget_seconds=1.0), against(worse, 1))
    assert measured.value is not None and "stop" not in measured.extra


@pytest.mark.slow
def test_an_order_of_steps_ends_the_run_by_them_and_is_never_stopped(tmp_path: Path, under: Conditions) -> None:
    measured = run(tiny.script(), tmp_path, under, against(FAR_BETTER, 1, after=0.0), steps=5)
    assert measured.steps == 5 and measured.value is not None


@pytest.mark.slow
def test_hidden_rows_give_another_value(tmp_path: Path, under: Conditions) -> None:
    seen = run(tiny.script(), tmp_path / "a", under, steps=5)
    hidden = run(tiny.script(), tmp_path / "b", under, steps=5, split="hidden")
    assert seen.value is not None and hidden.value is not None and seen.value != hidden.value
