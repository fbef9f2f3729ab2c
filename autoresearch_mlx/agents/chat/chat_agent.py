"""Let a model on a server propose edits: ask in a form that suits the model, read the answer, and handle bad answers.

A small model chooses from a menu; a capable model writes code (:mod:`ladder`).  The model sends the fields of an idea
as JSON, and the server enforces a schema if it can.  The model sends code in fences, either together with the fields or
in the reply to a second call.  After a bad answer, the model gets this answer back with the reason why it cannot be
used, or gets a simpler question.  After a limited number of repairs, the loop logs the experiment as invalid.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from autoresearch_mlx import terms
from autoresearch_mlx.agents.chat.calls import Calls
from autoresearch_mlx.agents.chat.memory_fit import fit, room_beside
from autoresearch_mlx.agents.chat.opening import FormSize, Opener
from autoresearch_mlx.agents.chat.sizes import THOUGHTS, context_tokens
from autoresearch_mlx.agents.chat.task_source import SpareEdits, TaskSource
from autoresearch_mlx.agents.chat.thread import Thread
from autoresearch_mlx.agents.edits.choices import read_choice
from autoresearch_mlx.agents.edits.fields import read_fields
from autoresearch_mlx.agents.edits.marks import OPENS
from autoresearch_mlx.agents.edits.reply import Edit, read_reply
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.prompt.brief import Brief, Form, PromptTooLong
from autoresearch_mlx.agents.prompt.tokens import estimate
from autoresearch_mlx.errors import AgentError, EndpointError
from autoresearch_mlx.experiment import Context, History, Proposal
from autoresearch_mlx.models.wire import Ask, Endpoint, ModelFacts, Reply

LOST_IN_A_ROW = 3
"""Number of consecutive experiments lost to a silent server after which the agent gives up."""
MOST_OVERFLOWS = 4
"""Number of times that the server may refuse a prompt as too long before the agent gives up."""
MOST_CUT_OFFS = 2
"""After this many endless or stalled replies in one experiment, the model is not asked again."""
_NO_EDIT = "no usable answer"


class Chat:
    """An agent that lets a model propose.

    If ``patience_seconds`` is 0, the agent raises EndpointError at once when the server gives no answer.
    """

    def __init__(self, endpoint: Endpoint, office: Office, patience_seconds: float | None = None) -> None:
        self.name = endpoint.name
        self._endpoint, self._office = endpoint, office
        self._patient = patience_seconds is None
        self._calls = Calls(endpoint, office, patience_seconds)
        self._tasks = TaskSource(office, self._calls, endpoint.name)
        self._opener = Opener(endpoint.name, office, self._tasks)
        self._learned: int | None = None
        """Context length, in tokens as we estimate them, that was learned when the server refused a prompt."""
        self._asked_tokens = 0
        self._stock = SpareEdits()
        self._thread: Thread | None = None
        self._silent: tuple[int, Proposal] | None = None
        """The last experiment in which the model gave no answer: its number, and the proposal without an edit.  If the
        loop asks again in this experiment, the agent returns the same proposal."""
        self._lost = 0

    # --- what the loop calls

    def propose(self, context: Context) -> Proposal:
        """Return an edit, or a Proposal whose ``problem`` tells the model what is wrong.

        Raises AgentError when it is useless to ask again: the caps are reached, the server refuses the key or the
        model, the prompt does not fit, or the server stays silent.
        """
        if not context.feedback and (stocked := self._from_stock(context)) is not None:
            return stocked
        if self._silent is not None and context.feedback and self._silent[0] == context.number:
            return self._silent[1]
        if (given_up := self._given_up(context)) is not None:
            return given_up
        try:
            thread, edit = self._answered(context)
            self._lost = 0
        except EndpointError as error:
            return self._unanswered(context, error)
        thread.mismatches += edit.mismatch
        thread.beyond |= edit.beyond
        thread.proposal = self._proposal(edit, thread)
        return thread.proposal

    def allow(self, seconds: float | None) -> None:
        """Set the longest time in seconds that an answer with code may take; None sets no limit.

        If an answer with code is expected to take longer, the model is not asked for code.
        """
        self._opener.seconds = seconds

    def insist(self, context: Context) -> Proposal:
        """Return a proposal when no other agent has one: wait for the server as long as the settings allow."""
        before = self._patient, self._calls.patience
        self._patient, self._calls.patience = True, self._office.settings.patience_seconds
        try:
            return self.propose(context)
        finally:
            self._patient, self._calls.patience = before

    def make_room(self, context: Context) -> Mapping[str, float]:
        """Unload the model unless it can stay in memory during a run.

        Returns ``{"unload": seconds}``, or an empty mapping if nothing was unloaded.
        """
        try:
            facts = self._endpoint.facts()
        except EndpointError:
            return {}  # a server that reports nothing about the model has not loaded it
        if self._lodging(facts, context.history)[0]:
            return {}
        try:
            spent = self._endpoint.release()
        except EndpointError as error:
            self._office.say(f"{self.name} stays in memory: {error}")
            return {}
        return {} if spent is None else {"unload": spent}

    def memory_words(self, history: History) -> str:
        """Return what :meth:`make_room` would do before the next run, in words."""
        try:
            return self._lodging(self._endpoint.facts(), history)[1]
        except EndpointError as error:
            return f"does not report its memory: {error}"

    def _lodging(self, facts: ModelFacts, history: History) -> tuple[bool, str]:
        """Return whether the model stays in memory during training, and the reason."""
        keep = self._office.settings.keep_loaded
        if not facts.here:
            return True, "takes no memory here"
        if not facts.unloads:
            return True, "stays in memory, because its server cannot unload it"
        if keep != "auto":
            return keep, f"{'stays in memory' if keep else 'unloads before training'}, as keep_loaded says"
        found = fit(facts, history, self._office)
        if found.fits:
            return True, f"stays in memory: {found.words}"
        return False, f"unloads before training: {found.words}"

    def ahead_refused(self, context: Context) -> str | None:
        """Return why the model must not be asked while an experiment is measured; None when it may be asked."""
        wanted = self._office.settings.think_ahead
        if wanted is False:
            return "think_ahead is false"
        try:
            facts = self._endpoint.facts()
        except EndpointError as error:
            return f"{self.name} does not report its memory: {error}"
        stays, words = self._lodging(facts, context.history)
        if not facts.here or (stays and wanted is True):
            return None
        if not stays:
            return words
        found = room_beside(facts, context.history, self._office)
        return None if found.fits else found.words

    def ahead(self, context: Context) -> Proposal | None:
        """Return a proposal while the experiments in ``context.running`` are measured.  Raises as :meth:`propose`."""
        return self.propose(context)

    def close(self) -> None:
        self._calls.close()
        self._endpoint.close()

    def next_brief(self, context: Context) -> Brief:
        """Return the exact prompt of the next call, without a call to the model."""
        facts = self._facts(looking=True)
        return self._opener.open(context, facts, self._most(facts), looking=True).brief

    def brief_in(self, context: Context, form: Form) -> Brief:
        """Return the prompt of the next call in this form.  Raises PromptTooLong when it does not fit."""
        facts = self._facts(looking=True)
        return self._opener.in_form(form, context, facts, self._most(facts)).brief

    def forms(self, context: Context) -> tuple[FormSize, ...]:
        """Return the size of the next question in each form; for a form that cannot be used, return the reason."""
        facts = self._facts(looking=True)
        return self._opener.sizes(context, facts, self._most(facts))

    def wished(self, context: Context) -> bool:
        """Return whether one of the user's own ideas is waiting in the backlog."""
        return self._opener.wished(context)

    # --- the conversation of one experiment

    def _given_up(self, context: Context) -> Proposal | None:
        """Return the last proposal again after too many endless replies, so that the loop stops asking; else None."""
        old = self._thread
        if old is None or old.number != context.number or not context.feedback or old.cut_offs < MOST_CUT_OFFS:
            return None
        return old.proposal

    def _answered(self, context: Context) -> tuple[Thread, Edit]:
        """Return the model's answer.  If the server refuses a prompt as too long, shorten the prompt and ask again."""
        refused: EndpointError | None = None
        for _ in range(MOST_OVERFLOWS):
            try:
                thread = self._thread_of(context)
                return thread, self._edit(thread)
            except EndpointError as error:
                if error.kind != "overflow":
                    raise
                refused = error
                self._learn(error)
            except PromptTooLong:
                if refused is None:
                    raise
                break
        assert refused is not None
        raise refused

    def _learn(self, refused: EndpointError) -> None:
        """Learn the context length from a refusal.

        If the refusal states no length, half of the refused prompt's length is assumed.  The server counts tokens
        differently from our estimate, so the stated length is converted to our tokens.
        """
        asked = self._asked_tokens
        limit = refused.context_tokens or asked // 2
        if refused.prompt_tokens and refused.prompt_tokens > asked > 0:
            limit = limit * asked // refused.prompt_tokens
        before = self._learned
        self._learned = limit if before is None or limit < before else before * 3 // 4
        self._thread = None
        said = f"its context has {refused.context_tokens:,} tokens" if refused.context_tokens else "it is too long"
        shorter = f"the next prompt is made for a context of {self._learned:,} tokens"
        self._office.say(f"{self.name} refused the prompt: {said}; {shorter}")

    def _thread_of(self, context: Context) -> Thread:
        """Return a new conversation, or, after a refusal, the current conversation with the reason of the refusal."""
        old, facts = self._thread, self._facts(looking=False)
        if old is not None and old.number == context.number and context.feedback and old.proposal is not None:
            lower = self._opener.lower(old, context, facts)
            if lower is None:
                old.want_repair(context.feedback[-1])
                return old
            self._thread = lower
            return lower
        self._thread = self._opener.open(context, facts, self._most(facts))
        return self._thread

    def _most(self, facts: ModelFacts) -> int:
        return context_tokens(self._office.settings, facts, self._learned)

    def _edit(self, thread: Thread) -> Edit:
        reply = self._say(thread, "repair" if thread.repairs else "proposal")
        edit = self._read(thread, reply)
        if edit.wants_code:
            settled, _ = read_fields(reply.text)
            if settled is not None:
                thread.want_code(settled, reply.text)
                edit = self._read(thread, self._say(thread, "code"))
        if edit.wants_code:
            edit = replace(edit, wants_code=False, problem="There is an idea, but neither knobs nor code for it.")
        return edit

    def _read(self, thread: Thread, reply: Reply) -> Edit:
        """Return the first edit of a reply; the other edits of the reply are kept for the next experiments."""
        chosen, problem = _chosen(thread, reply)
        if chosen is not None:
            return chosen
        problem = self._unusable(thread, reply) or problem
        fields = None if thread.offered > 1 else read_fields(reply.text)[0] or thread.fields
        insisted = frozenset() if thread.short else thread.beyond
        first, *others = read_reply(reply.text, thread.files, fields if thread.fields else None, insisted)
        if problem and not (thread.short and first.files):
            return Edit(_NO_EDIT, None, "", None, {}, problem)
        if others and not thread.base and not thread.short:
            self._stock.put(reply.text, len(others))
        if thread.short and first.wants_code:
            return replace(first, wants_code=False, problem="The reply changes no constant.")
        return first

    def _unusable(self, thread: Thread, reply: Reply) -> str | None:
        """Return why a reply cannot be read at all, for the model; None if it can be read.

        The settings of the next call are changed to prevent the same fault.
        """
        if reply.finish == "refused":
            return f"The request was refused: {reply.text.strip()[:500] or 'no reason was given'}"
        if reply.finish == "length":
            return self._cut_off(thread, reply)
        return None if reply.text.strip() else "The reply was empty."

    def _cut_off(self, thread: Thread, reply: Reply) -> str:
        spent = reply.completion_tokens or thread.max_tokens
        if not reply.text or (reply.reasoning and not reply.text.strip()):
            thread.thinking = False
            if not self._opener.thinks:
                self._opener.thinks = True
                thread.max_tokens += THOUGHTS
            return "The whole reply was spent on thinking. Answer at once, without thinking."
        thread.cut_offs += 1
        if not thread.short:
            thread.max_tokens = min(2 * thread.max_tokens, max(self._room(thread), thread.max_tokens))
        return f"The reply was cut off after {spent:,} tokens. Send a shorter one."

    def _say(self, thread: Thread, purpose: str) -> Reply:
        settings, messages, began = self._office.settings, thread.messages(), time.monotonic()
        ask = Ask(
            messages=messages,
            prompt_tokens=sum(estimate(m.content) for m in messages),
            max_tokens=min(thread.max_tokens, max(self._room(thread), 1)),
            seconds=settings.timeout_seconds,
            schema=thread.schema,
            temperature=settings.temperature,
            # A repair with the same seed could return the same words.
            seed=self._office.seed + 1000 * thread.number + len(thread.replies),
            think=settings.think if thread.thinking else "off",
        )
        self._asked_tokens = ask.prompt_tokens
        try:
            reply, file = self._calls.make(thread.number, purpose, ask, thread.brief.cut)
        except EndpointError as error:
            if error.kind != "hung" or not error.partial.strip():
                raise
            # The same question would stall again, so the part that arrived is read like a reply that was cut off.
            reply, file = Reply(error.partial, "length", self.name, think_seconds=time.monotonic() - began), None
        thread.heard(reply, file)
        return reply

    def _unanswered(self, context: Context, error: EndpointError) -> Proposal:
        """Return a proposal without an edit when the server gave no answer.

        Raises AgentError after ``LOST_IN_A_ROW`` such experiments in a row, and for an error that waiting cannot solve.
        """
        if not self._patient or error.kind in ("refused", "overflow"):
            raise error
        self._lost += 1
        if self._lost >= LOST_IN_A_ROW:
            said = f"{self._lost} experiments in a row had no answer from {self.name}: {error}"
            raise AgentError(said, error.hint or "start the server and run again, or use --agent hybrid or knobs")
        problem = f"{self.name} gave no answer ({error.kind}): {error}"
        thread = self._thread if self._thread is not None and self._thread.number == context.number else None
        talk = thread.talk() if thread is not None else {"agent": self.name, "calls": 0}
        self._silent = context.number, Proposal("no answer", {}, agent=self.name, problem=problem, talk=talk)
        return self._silent[1]

    def _from_stock(self, context: Context) -> Proposal | None:
        """Return an edit that is left over from an earlier reply.

        Returns None if no edit is left over, or if an idea of the user is waiting.
        """
        if self._tasks.wished(context) or (edit := self._stock.pick(context.files)) is None:
            return None
        self._thread = None
        talk = {"agent": self.name, "model": self.name, "task": "stock", "calls": 0}
        return Proposal(edit.title, edit.files, edit.axis, edit.hypothesis, self.name, talk=talk)

    def _proposal(self, edit: Edit, thread: Thread) -> Proposal:
        return Proposal(
            title=edit.title,
            files={} if edit.problem else edit.files,
            axis=edit.axis or thread.task.axis,
            rationale=edit.hypothesis,
            agent=self.name,
            problem=edit.problem,
            base=thread.base,
            talk=thread.talk(),
        )

    # --- sizes

    def _facts(self, looking: bool) -> ModelFacts:
        try:
            return self._endpoint.facts()
        except EndpointError as error:
            if error.kind in ("refused", "overflow"):
                raise
            if error.kind == "unreachable" and not looking:
                return self._calls.facts()  # the model's own context length is not known before it is loaded
            return ModelFacts(self.name)

    def _room(self, thread: Thread) -> int:
        return thread.context_tokens - sum(estimate(m.content) for m in thread.messages())


def _chosen(thread: Thread, reply: Reply) -> tuple[Edit | None, str]:
    """Return the edit of the menu entry that a reply chooses, and the problem if the reply chooses no entry.

    The result is ``(None, "")`` if no menu was shown, or if the reply is a whole proposal.
    """
    if not thread.choices or reply.finish == "refused" or read_fields(reply.text)[0] is not None or OPENS in reply.text:
        return None, ""
    number, why, problem = read_choice(reply.text, len(thread.choices))
    if number is None:
        return None, problem
    choice = thread.choices[number - 1]
    hope = ""
    if choice.gain is not None and choice.deviation is not None:
        hope = f" The optimiser expected {terms.estimate(choice.gain, choice.deviation)}."
    words = f"Chosen from a menu of {len(thread.choices)}: {why}{hope}"
    return Edit(choice.name.title, choice.axis, words, choice.gain, choice.files), ""
