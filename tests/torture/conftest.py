"""Count what was killed, and what was lost by that."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
from torture.audit import audit
from torture.labs import BETTER, TAG, run

from autoresearch_mlx.lab.lab import Lab

SEED = int(os.environ.get("TORTURE_SEED") or date.today().toordinal())
"""Seed of all random choices, which is a new one each day unless TORTURE_SEED sets it."""


@dataclass
class Toll:
    """Counts of kills, lost experiments and doubled experiments in one test; the summary at the end adds them up."""

    counts: dict[str, int]
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))

    def after(self, lab: Lab, death: str, *options: str) -> None:
        """Make one ordinary run after a death: it continues, and nothing is lost, counted twice or left behind."""
        self.counts["kills"] += 1
        self.goes_on(lab, f"a death at {death}", *options)

    def goes_on(self, lab: Lab, what: str, *options: str) -> None:
        done = run(lab, *(options or ("--agent", BETTER, "--experiments", self.chance.choice("01"))))
        where = f"after {what} (TORTURE_SEED={SEED})"
        assert done.returncode == 0, f"{where}: {done.stderr}"
        self.check(lab, where)

    def check(self, lab: Lab, where: str) -> None:
        found = audit(lab.root, TAG)
        self.counts["lost"] += len(found.lost)
        self.counts["doubled"] += len(found.doubled)
        ledger = (lab.folder(TAG) / "ledger.jsonl").read_text().splitlines()
        assert not found.problems(), f"{where}: {found.problems()}\n" + "\n".join(line[:200] for line in ledger[-8:])


@pytest.fixture
def toll(request: pytest.FixtureRequest) -> Toll:
    counts = {"kills": 0, "lost": 0, "doubled": 0, "seed": SEED}
    request.node.user_properties.append(("torture", counts))
    return Toll(counts)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lab"
