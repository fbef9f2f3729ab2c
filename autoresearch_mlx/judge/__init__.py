"""Decides by statistics alone: runs in, a verdict or "measure again" out.  Reads no file, no clock, draws no number."""

from autoresearch_mlx.judge.evidence import Again, Decision
from autoresearch_mlx.judge.margin import Margin, incumbent_value, mean_value

__all__ = ["Again", "Decision", "Margin", "incumbent_value", "mean_value"]
