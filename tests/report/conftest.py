from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from report.nights import night, write_session

from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.store.ledger import read


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Return the folder of the session ``jul14`` after that night."""
    return write_session(tmp_path / "jul14", night())


@pytest.fixture
def write() -> Callable[..., Path]:
    return write_session


@pytest.fixture
def experiments(session: Path) -> tuple[Experiment, ...]:
    return read(session / "ledger.jsonl").history.experiments
