"""Carry out the stage ``improve``: run the loop in the agent's lab for a number of experiments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Experiment, Progress, Tenant
from autoresearch_mlx.hardware.surroundings import machine_for
from autoresearch_mlx.judge.faults import fault_of
from autoresearch_mlx.lab.config import AgentSettings, load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.hire import office_of
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.loop.session import Session, open_session
from autoresearch_mlx.store.talks import spent
from autoresearch_mlx.targets.confine import confine
from autoresearch_mlx.targets.contract import Say
from autoresearch_mlx.targets.corpus.prepare import default_cache

TAG = "factory"
"""Tag of the session in an agent's lab."""
SATURATED = "all dev and guard cases are right, so nothing is left to gain on them"


@dataclass(frozen=True, slots=True)
class Improved:
    """The result of the loop for one agent."""

    experiments: int
    kept: int
    before: float
    after: float
    commit: str
    tokens: int
    """Number of tokens that this loop's proposals used."""
    money: float | None
    """Cost of the tokens, in the currency of the prices in lab.toml; None if lab.toml has no prices."""
    estimated: bool
    """True if ``tokens`` is partly an estimate, because a server gave no counts."""
    reason: str
    """Why the loop ended."""

    def told(self) -> dict[str, Any]:
        """Return the fields of the ledger's event."""
        return {name: getattr(self, name) for name in self.__slots__}


class _Lines:
    """A screen that prints one line for each experiment."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def say(self, text: str) -> None:
        self._say(f"improve: {text}")

    def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
        """Print nothing, because a measurement takes only seconds."""

    def progress(self, progress: Progress) -> None:
        """Print nothing."""

    def finished(self, experiment: Experiment) -> None:
        from autoresearch_mlx import terms

        words = terms.one_line(experiment.reason)
        self._say(f"improve: #{experiment.number} {experiment.status} {terms.value(experiment.value)}: {words}")

    def close(self) -> None:
        """Do nothing, because nothing is open."""


def improve(
    root: Path, wanted: int, agent: AgentSettings, private: tuple[Path, ...], say: Say
) -> tuple[Improved | None, str]:
    """Run the loop in the agent's lab ``root`` until its session has ``wanted`` experiments.

    ``agent`` has the settings of the model that proposes edits.  No run may open the paths in ``private``.  Returns the
    result and an empty text, or None and the reason why the agent's baseline failed.  Raises EndpointError when the
    model's server does not answer, and LabError for a fault that is not the agent's, such as a full disk.
    """
    lab = Lab(root)
    resolved = load_settings(root)
    settings = resolved.settings
    screen = _Lines(say)
    with open_session(lab, resolved, TAG, screen.say) as opened:
        target = confine(
            opened.target, settings.sandbox.model_copy(update={"require": True}), list(private), screen.say
        )
        session = opened.measuring(target=target)
        done = _done(session)
        reason = "the experiments were done"
        gpu = session.worker.surroundings.gpu
        with machine_for(root, TAG, settings.machine, gpu, default_cache(), screen.say):
            if done < wanted or session.journal().history.baseline is None:
                office = office_of(session, settings.model_copy(update={"agent": agent}), screen.say)
                try:
                    reason = _run(session, agent, office, wanted - done, screen)
                except LabError:
                    if (fault := _failed_baseline(session)) is None:
                        raise
                    return None, fault
        return _improved(session, agent, reason), ""


def _run(session: Session, settings: AgentSettings, office: Office, missing: int, screen: _Lines) -> str:
    agent = load_agent(settings.name, office)
    try:
        return research(session, agent, Policy(experiments=missing), screen)
    finally:
        if isinstance(agent, Tenant):
            agent.close()


def _failed_baseline(session: Session) -> str | None:
    """Return how the baseline failed; None if it did not fail, or if the machine was to blame."""
    first = next((e for e in session.journal().history.experiments if e.number == 0), None)
    if first is None or first.status in ("keep", "interrupted"):
        return None
    if first.measurements and fault_of(first.measurements[-1]) is not None:
        return None
    return f"the baseline ended as {first.status}: {first.reason}"


def _done(session: Session) -> int:
    return sum(e.number > 0 and e.status != "interrupted" for e in session.journal().history.experiments)


def _improved(session: Session, agent: AgentSettings, reason: str) -> Improved:
    history = session.journal().history
    first, best = history.baseline, history.incumbent
    assert first is not None and first.value is not None
    assert best is not None and best.value is not None and best.commit is not None
    kept = sum(e.status == "keep" and e.number > 0 for e in history.experiments)
    calls = spent(session.folder)
    return Improved(
        _done(session),
        kept,
        first.value,
        best.value,
        best.commit,
        calls.tokens,
        calls.cost(agent.price_in, agent.price_out),
        calls.estimated > 0,
        reason,
    )
