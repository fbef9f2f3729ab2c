"""Wilson's interval agrees with published values, even if all cases or no cases are right."""

from __future__ import annotations

import pytest

from autoresearch_mlx.judge.intervals import wilson


@pytest.mark.parametrize(
    ("share", "n", "low", "high"), [(1.0, 8, 0.6756, 1.0), (0.5, 10, 0.2366, 0.7634), (0.0, 4, 0.0, 0.4899)]
)
def test_the_interval_is_wilsons(share: float, n: int, low: float, high: float) -> None:
    assert wilson(share, n, 0.95) == pytest.approx((low, high), abs=1e-4)
