"""Let a model drop or reorder proposals before they are measured; the model cannot edit them or decide a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoresearch_mlx import terms
from autoresearch_mlx.agents.team.brief import Brief
from autoresearch_mlx.agents.team.chief import Voice
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Context, Proposal

MOST_DROPS = 3
"""Number of proposals in a row that the critic may drop; the critic cannot drop the proposal after these."""
_LONGEST = 200
_SYSTEM = "You review proposals for experiments before they are run. You answer with JSON only."


@dataclass(slots=True)
class Critic:
    """Reviews each proposal once.  If the critic does not answer, or its answer cannot be read, nothing changes."""

    voice: Voice
    say: Callable[[str], None]
    dropped: int = 0
    """Number of proposals dropped in a row."""

    def review(self, context: Context, proposals: Sequence[tuple[Brief, Proposal]]) -> tuple[list[int], dict[int, str]]:
        """Return the numbers of the briefs in the order of measurement, and the reason for each dropped brief."""
        numbers = [brief.number for brief, _ in proposals]
        rows = [
            f"- {b.number}: {b.question} -> {terms.one_line(p.title)}; {p.rationale[:_LONGEST]}" for b, p in proposals
        ]
        ask = 'Answer with JSON: {"order": [brief, ...], "drop": {"brief": "reason"}}. Drop duplicates in meaning.'
        try:
            told = self.voice.answer(context.number, "review", _SYSTEM, "\n".join(["Proposals:", *rows, ask]))
        except AgentError as error:
            self.say(f"the critic {self.voice.name} is not asked now: {error}")
            return numbers, {}
        wanted, order = told.get("drop"), told.get("order")
        drops: dict[int, str] = {}
        for number in numbers:
            reason = wanted.get(str(number)) if isinstance(wanted, dict) else None
            if isinstance(reason, str) and reason.strip() and self.dropped < MOST_DROPS:
                drops[number] = terms.one_line(reason)[:_LONGEST]
                self.dropped += 1
            else:
                self.dropped = 0
        first = [n for n in order if n in numbers and isinstance(n, int)] if isinstance(order, list) else []
        ranked = list(dict.fromkeys([*first, *numbers]))
        return [number for number in ranked if number not in drops], drops

    def close(self) -> None:
        self.voice.close()
