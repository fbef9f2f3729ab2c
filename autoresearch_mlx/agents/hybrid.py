"""Let the optimiser and a model take turns, with one history; this is the default agent if a suitable model is found.

In the only controlled study of this task (arXiv:2603.24647, 24 h of 5-minute trials on an H200), a classical optimiser
did best when 30 % of the proposals came from a language model.  A model of 0.8B parameters was enough.  A share of
80 % did worse.  The optimiser of this agent is ``knobs``.  A small model chooses from the optimiser's own moves.  A
capable model sees what the optimiser knows, and may change knobs or code.  The optimiser reads the knobs from the
current file.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from autoresearch_mlx.agents.chat.chat_agent import Chat
from autoresearch_mlx.agents.chat.opening import FormSize
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.prompt.brief import Brief
from autoresearch_mlx.errors import AgentError, EndpointError
from autoresearch_mlx.experiment import Agent, Context, Experiment, History, Proposal
from autoresearch_mlx.store.forms import Form

STALLED = 12
"""Number of experiments without a keep after which the model is asked more often."""
MORE = 0.2
MOST = 0.5
"""Largest share of proposals from the model; in the study, shares from 0.1 to 0.5 worked well."""
HOPE = 1.0
"""Number of keeps that are credited to every model in advance, so that the first losses lower its share only a
little."""
FIRST_REST, LONGEST_REST = 10.0, 1800.0
"""Seconds until a model that did not answer is asked again: ``FIRST_REST`` after the first failure, and twice as long
after each further failure, up to ``LONGEST_REST``."""
TIME_SHARE = 0.15
"""Largest share of a session's time that the model's answers may take; only ``share = 1`` lifts this limit."""
MARGIN = 1.5
"""The next answer is expected to take this many times as long as the longest of the last three answers, because its
question may have a new form."""


class Hybrid:
    """An agent in which optimiser and model take turns; the optimiser replaces a model that does not answer."""

    name = "hybrid"

    def __init__(
        self, model: Chat, optimiser: Agent, office: Office, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._model, self._optimiser, self._office, self._clock = model, optimiser, office, clock
        self._author: Agent | None = None
        self._number: int | None = None
        self._away_until = 0.0
        self._rest = FIRST_REST
        self._nothing = ""
        """The last reason why the optimiser had no proposal, stored so that each reason is reported only once."""

    def propose(self, context: Context) -> Proposal:
        """Propose an edit.  Raises AgentError when neither optimiser nor model has anything to propose."""
        if not context.feedback or context.number != self._number:
            self._number = context.number
            self._author = self._model if self._models_turn(context) else self._optimiser
        return self._ask_model(context) if self._author is self._model else self._ask_optimiser(context)

    def make_room(self, context: Context) -> Mapping[str, float]:
        return self._model.make_room(context)

    def ahead_refused(self, context: Context) -> str | None:
        """Return why the model must not be asked while an experiment is measured; None when it may be asked."""
        return self._model.ahead_refused(context)

    def ahead(self, context: Context) -> Proposal | None:
        """Ask the model while an experiment is measured, if the next turn is the model's.

        Returns None if the model does not answer, or if it is the optimiser's turn.  The optimiser is never asked here:
        it needs the result of the experiment first, and takes almost no time.
        """
        if not context.feedback or context.number != self._number:
            if not self._models_turn(context):
                return None
            self._number, self._author = context.number, self._model
        share = self._office.settings.share
        seconds = seconds_for_an_answer(context.history, share)
        whole = seconds_for_an_answer(context.history, TIME_SHARE)  # as long as a run: the model answers during one
        self._model.allow(max(seconds, whole) if share < 1 and seconds is not None and whole is not None else None)
        try:
            proposal = self._model.propose(context)
        except AgentError as error:
            self._excuse(error)
            return None
        self._rest = FIRST_REST
        return proposal

    def memory_words(self, history: History) -> str:
        return f"with {self._model.name}, which {self._model.memory_words(history)}"

    def close(self) -> None:
        self._model.close()

    def next_brief(self, context: Context) -> Brief:
        """Return the model's next prompt, even if the next turn is the optimiser's."""
        return self._model.next_brief(context)

    def brief_in(self, context: Context, form: Form) -> Brief:
        """Return the model's next prompt in this form."""
        return self._model.brief_in(context, form)

    def forms(self, context: Context) -> tuple[FormSize, ...]:
        """Return the size of the model's next question in each form."""
        return self._model.forms(context)

    def models_turn(self, context: Context) -> bool:
        """Return whether it is the model's turn: an idea of the user is waiting, or the model's share allows a turn."""
        if self._model.wished(context):
            return True
        share, history, model = self._office.settings.share, context.history, self._model.name
        if share >= 1:
            return True
        return due(context.number, share, history, model) and affordable(history, model)

    def _models_turn(self, context: Context) -> bool:
        return self._model_there() and self.models_turn(context)

    def _model_there(self) -> bool:
        return self._clock() >= self._away_until

    def _ask_model(self, context: Context) -> Proposal:
        share, began = self._office.settings.share, self._clock()
        self._model.allow(seconds_for_an_answer(context.history, share) if share < 1 else None)
        try:
            proposal = self._model.propose(context)
            self._rest = FIRST_REST
            return proposal
        except AgentError as error:
            # If waiting for a silent server took minutes, the server is not asked again soon.
            self._rest = max(self._rest, min((self._clock() - began) / TIME_SHARE, LONGEST_REST))
            self._excuse(error)
        self._author = self._optimiser
        # The refused edits came from the model, so the optimiser does not see them.
        return self._ask_optimiser(replace(context, feedback=()))

    def _ask_optimiser(self, context: Context) -> Proposal:
        """Ask the optimiser.  If the optimiser has nothing to propose, ask the model and wait for the answer."""
        try:
            return self._optimiser.propose(context)
        except AgentError as error:
            if self._away_until == math.inf:
                raise
            if str(error) != self._nothing:
                self._nothing = str(error)
                self._office.say(f"{self._optimiser.name}: {error}; asking {self._model.name}")
        self._author = self._model
        return self._model.insist(context)

    def _excuse(self, error: AgentError) -> None:
        """Say why the optimiser continues alone, and for how long."""
        passing = isinstance(error, EndpointError) and error.kind not in ("refused", "overflow")
        self._away_until = self._clock() + self._rest if passing else math.inf
        until = f"for the next {self._rest:.0f} s" if passing else "for the rest of this run"
        self._rest = min(2 * self._rest, LONGEST_REST)
        hint = f" ({error.hint})" if error.hint else ""
        self._office.say(f"{self._model.name}: {error}{hint}; {self._optimiser.name} continues alone {until}")


def turn(number: int, share: float) -> bool:
    """Return whether experiment ``number`` is the model's turn; the model's turns are spread evenly."""
    return math.floor(number * share) > math.floor((number - 1) * share)


def share_now(share: float, history: History) -> float:
    """Return the model's share; it grows when nothing has been kept for a long time, but a share of 0 stays 0."""
    newest_keep = max((e.number for e in history.experiments if e.status == "keep"), default=0)
    stalled = history.experiments[-1].number - newest_keep if history.experiments else 0
    return max(share, min(share + MORE, MOST)) if share > 0 and stalled >= STALLED else share


def due(number: int, share: float, history: History, model: str) -> bool:
    """Return whether the model makes the proposal for experiment ``number``.

    A model that gains less often than the optimiser skips some of its turns (:func:`earned`).
    """
    now = share_now(share, history)
    if not turn(number, now):
        return False
    newest = max((e.number for e in history.experiments if e.talk.get("agent") == model), default=0)
    # Turns are 1 / now experiments apart, so the model takes the turn that is nearest to the right distance.
    return number - newest >= (1 / earned(history, model) - 0.5) / now


def earned(history: History, model: str) -> float:
    """Return the factor, above 0 and at most 1, by which a model's record lowers its share.

    The factor is the number of the model's keeps over an expected number of keeps; ``HOPE`` is added to both numbers.
    The expected number assumes the optimiser's rate of keeps since the model's first experiment.  In other words, the
    factor estimates the ratio of the two rates of keeps, with a gamma prior of mean 1 and shape ``HOPE``.  A model that
    never gains is asked ever more rarely, but never given up.  The factor is 1 as long as the model or the optimiser
    has no experiment.
    """
    tried = [e for e in history.experiments if e.number > 0 and e.status != "interrupted"]
    models = [e for e in tried if e.talk.get("agent") == model]
    others = [e for e in tried if models and e.number > models[0].number and not e.talk.get("agent")]
    if not others:
        return 1.0
    expected = len(models) * _keeps(others) / len(others)
    return min(1.0, (_keeps(models) + HOPE) / (expected + HOPE))


def _keeps(experiments: Sequence[Experiment]) -> int:
    return sum(e.status == "keep" for e in experiments)


def affordable(history: History, model: str) -> bool:
    """Return whether one more answer keeps the model's share of the session's time below ``TIME_SHARE``.

    The next answer is expected to take ``MARGIN`` times as long as the longest of the last three answers.  The first
    answer is always allowed.
    """
    spent = [_answering(e) for e in history.experiments if e.talk.get("agent") == model]
    if not spent:
        return True
    expected = MARGIN * max(spent[-3:])
    whole = sum(sum(e.seconds.values()) for e in history.experiments)
    return sum(spent) + expected <= TIME_SHARE * (whole + expected)


def seconds_for_an_answer(history: History, share: float) -> float | None:
    """Return how many seconds an answer may take if ``share`` is the model's share of the experiments.

    Returns None before any experiment was measured, and for a share of 0.
    """
    measured = [e.seconds["measure"] for e in history.experiments[-20:] if e.seconds.get("measure")]
    return TIME_SHARE * sum(measured) / len(measured) / share if measured and share > 0 else None


def _answering(e: Experiment) -> float:
    """Return the seconds that an experiment waited for its model to answer and to be unloaded."""
    return e.seconds.get("propose", 0.0) + e.seconds.get("unload", 0.0)
