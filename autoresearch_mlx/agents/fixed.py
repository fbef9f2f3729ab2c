"""An author of one edit that is already written: the baseline, or the user's own file in ``try``."""

from __future__ import annotations

from autoresearch_mlx.experiment import Context, Proposal


class Fixed:
    """Proposes the same thing whenever it is asked."""

    def __init__(self, name: str, proposal: Proposal) -> None:
        self.name = name
        self._proposal = proposal

    def propose(self, context: Context) -> Proposal:
        return self._proposal
