"""Decide by statistics alone: turn runs into a verdict, or into a request to measure again.  Nothing here reads a file
or a clock, or draws a random number."""

from autoresearch_mlx.judge.evidence import Again, Decision
from autoresearch_mlx.judge.margin import Margin, incumbent_value, mean_value, verdict_on_failure

__all__ = ["Again", "Decision", "Margin", "incumbent_value", "mean_value", "verdict_on_failure"]
