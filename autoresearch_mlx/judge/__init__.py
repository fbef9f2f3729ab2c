"""Pure statistics: runs in, a verdict or "measure again" out.  No ledger, no clock, no chance."""

from autoresearch_mlx.judge.margin import Margin, incumbent_value, mean_value
from autoresearch_mlx.judge.values import Again, Decision

__all__ = ["Again", "Decision", "Margin", "incumbent_value", "mean_value"]
