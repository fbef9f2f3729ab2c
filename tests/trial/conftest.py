"""Make one tiny corpus for all tests of measurements."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_training as tiny

from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.trial.conditions import Conditions


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def corpus(cache: Path) -> Corpus:
    return tiny.corpus(cache)


@pytest.fixture(scope="session")
def under(corpus: Corpus, cache: Path) -> Conditions:
    return tiny.conditions(corpus, cache)
