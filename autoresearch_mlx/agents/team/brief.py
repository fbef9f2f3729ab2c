"""Define a brief: the task that a chief gives a junior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

from autoresearch_mlx.experiment import Context

BriefKind: TypeAlias = Literal["explore", "refine", "bracket", "ablate", "combine"]


@dataclass(frozen=True, slots=True)
class Brief:
    """The task that a chief gives a junior: a question and an axis, never an edit."""

    number: int
    """Number of the brief, counted from 1."""
    junior: str
    kind: BriefKind
    question: str
    parent: str | None
    """Commit on which the junior's edit is based."""
    axis: str | None
    """The axis to change; None if the junior chooses one of the free axes."""
    must_not: tuple[str, ...] = ()
    """Axes that the junior must leave alone, because they belong to other open briefs or to running experiments."""
    evidence: tuple[int, ...] = ()
    """Numbers of the experiments on which the question is based."""

    @property
    def words(self) -> str:
        """The brief as text for a model."""
        told = [f"Your brief ({self.kind}): {self.question}"]
        if self.axis is not None:
            told.append(f"Change only what belongs to the axis {self.axis!r}; name it as the axis.")
        if self.must_not:
            told.append(f"Others work on these axes; leave them alone: {', '.join(self.must_not)}.")
        if self.evidence:
            told.append(f"Look at experiments {', '.join(f'#{number}' for number in self.evidence)} first.")
        return "\n".join(told)

    def fields(self) -> dict[str, Any]:
        """Return the brief as plain JSON values for the ledger."""
        told = asdict(self)
        return {"brief": told.pop("number"), **{k: list(v) if isinstance(v, tuple) else v for k, v in told.items()}}


@dataclass(frozen=True)
class Briefed(Context):
    """The context of any agent, with a junior's brief added."""

    brief: Brief | None = None


def briefed(context: Context, brief: Brief) -> Briefed:
    """Return a copy of the context with a brief added."""
    plain: Mapping[str, Any] = {f.name: getattr(context, f.name) for f in fields(Context)}
    return Briefed(**{**plain, "brief": brief})


def brief_of(context: Context) -> Brief | None:
    """Return the brief in a context; None for an agent that works alone."""
    return context.brief if isinstance(context, Briefed) else None
