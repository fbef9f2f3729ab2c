"""Let a model behind an endpoint propose edits: write the prompt, read the answer, deal with bad answers.

The fields of an idea come as JSON, under a schema where the server enforces one.  Code comes in fences, in the same
reply or in a second call.  A bad answer goes back to the model with the reason; after a limited number of such repairs
the loop logs the experiment as invalid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autoresearch_mlx.agents.chat.calls import Calls
from autoresearch_mlx.agents.chat.memory_fit import fit
from autoresearch_mlx.agents.chat.task_source import SpareEdits, TaskSource
from autoresearch_mlx.agents.chat.thread import Thread, form_now
from autoresearch_mlx.agents.edits.fields import read_fields, schema
from autoresearch_mlx.agents.edits.reply import Edit, read_reply
from autoresearch_mlx.agents.knobs.state_summary import describe_state
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.prompt.brief import Brief, Form, write_brief
from autoresearch_mlx.agents.prompt.tokens import estimate
from autoresearch_mlx.errors import AgentError, EndpointError
from autoresearch_mlx.experiment import Context, History, Proposal
from autoresearch_mlx.models.wire import Ask, Endpoint, ModelFacts, Reply

USUAL_CONTEXT = 32_768
"""Default number of tokens for prompt and reply together: room for the whole file, a table and an answer."""
SLOW_LOAD = 15.0
"""Loading time in seconds from which one call asks for several ideas."""
AT_ONCE = 3
LOST_IN_A_ROW = 3
"""Number of experiments in a row lost to a silent server after which the agent gives up."""
TAIL = 1 / 8
"""Share of the context reserved for a bad answer and the explanation of what is wrong with it."""


class Chat:
    """An agent that lets a model propose.  With ``patience_seconds`` 0, a silent server raises EndpointError."""

    def __init__(self, endpoint: Endpoint, office: Office, patience_seconds: float | None = None) -> None:
        self.name = endpoint.name
        self._endpoint, self._office = endpoint, office
        self._patient = patience_seconds is None
        self._calls = Calls(endpoint, office, patience_seconds)
        self._tasks = TaskSource(office, self._calls, endpoint.name)
        self._stock = SpareEdits()
        self._thread: Thread | None = None
        self._silent: tuple[int, Proposal] | None = None
        """Number of an experiment without an answer, and the proposal made instead, repeated if the loop asks again."""
        self._lost = 0

    # --- what the loop calls

    def propose(self, context: Context) -> Proposal:
        """Return an edit, or a Proposal whose problem is worded for the model.

        Raises AgentError when asking again cannot help: caps reached, a refused key or model, a prompt that does not
        fit, a server that stays silent.
        """
        if not context.feedback and (stocked := self._from_stock(context)) is not None:
            return stocked
        if self._silent is not None and context.feedback and self._silent[0] == context.number:
            return self._silent[1]
        try:
            thread = self._thread_of(context)
            edit = self._edit(thread)
            self._lost = 0
        except EndpointError as error:
            return self._unanswered(context, error)
        thread.mismatches += edit.mismatch
        thread.proposal = self._proposal(edit, thread)
        return thread.proposal

    def insist(self, context: Context) -> Proposal:
        """Propose when no other agent can: wait for the server as long as the settings allow."""
        before = self._patient, self._calls.patience
        self._patient, self._calls.patience = True, self._office.settings.patience_seconds
        try:
            return self.propose(context)
        finally:
            self._patient, self._calls.patience = before

    def make_room(self, context: Context) -> Mapping[str, float]:
        """Unload the model unless it can stay in memory during a run; return the seconds that took, by name."""
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
        """Say what :meth:`make_room` would do before the next run."""
        try:
            return self._lodging(self._endpoint.facts(), history)[1]
        except EndpointError as error:
            return f"does not report its memory: {error}"

    def _lodging(self, facts: ModelFacts, history: History) -> tuple[bool, str]:
        """Return whether the model stays in memory during training, and why, in words."""
        keep = self._office.settings.keep_loaded
        if not facts.here:
            return True, "takes no memory here"
        if keep != "auto":
            return keep, f"{'stays in memory' if keep else 'unloads before training'}, as keep_loaded says"
        found = fit(facts, history, self._office)
        if found.fits:
            return True, f"stays in memory: {found.words}"
        return False, f"unloads before training: {found.words}"

    def close(self) -> None:
        self._endpoint.close()

    def next_brief(self, context: Context) -> Brief:
        """Return the exact prompt of the next call without sending it."""
        return self._open(context, looking=True).brief

    def wished(self, context: Context) -> bool:
        """Return whether one of the person's own ideas is waiting in the backlog."""
        return self._tasks.wished(context)

    # --- the conversation of one experiment

    def _thread_of(self, context: Context) -> Thread:
        """Return a new conversation, or the current one with the reason why the loop refused its last answer."""
        old = self._thread
        if old is not None and old.number == context.number and context.feedback and old.proposal is not None:
            old.want_repair(context.feedback[-1])
            return old
        self._thread = self._open(context)
        return self._thread

    def _open(self, context: Context, looking: bool = False) -> Thread:
        facts = self._facts(looking)
        form = form_now(self._office.settings, facts, context.history, self.name)
        task = self._tasks.look(context) if looking else self._tasks.take(context)
        files = context.read(task.base) if task.base else context.files
        count = self._count(form, context.history)
        asks_fields = facts.enforces_schema and count == 1
        most = self._context_tokens(facts)
        reply = self._reply_tokens(form, files, most)
        brief = write_brief(
            replace(context, files=files, feedback=()),
            int(most * (1 - TAIL)) - reply,
            form,
            asks="fields" if asks_fields else "all",
            proposals=count,
            task=task.text,
            optimiser=describe_state(context),
        )
        return Thread(
            number=context.number,
            files=files,
            brief=brief,
            form=form,
            task=task,
            agent=self.name,
            base=task.base,
            schema=schema() if asks_fields else None,
            max_tokens=reply,
            context_tokens=most,
            room=most - reply - brief.tokens,
            loading=None if looking else self._tasks.load_seconds,
            offered=count,
        )

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
        """Return the first edit of a reply; further edits in it are kept for the next experiments."""
        if (problem := self._unusable(thread, reply)) is not None:
            return Edit("no usable answer", None, "", None, {}, problem)
        fields = None if thread.offered > 1 else read_fields(reply.text)[0] or thread.fields
        first, *others = read_reply(reply.text, thread.files, fields if thread.fields else None)
        if others and not thread.base:
            self._stock.put(reply.text, len(others))
        return first

    def _unusable(self, thread: Thread, reply: Reply) -> str | None:
        """Say, in words for the model, why a reply cannot be read at all; adjust the next call to avoid this."""
        if reply.finish == "refused":
            return f"The request was refused: {reply.text.strip()[:500] or 'no reason was given'}"
        if reply.finish == "length":
            spent = reply.completion_tokens or thread.max_tokens
            thread.max_tokens = min(2 * thread.max_tokens, max(self._room(thread), thread.max_tokens))
            if not reply.text.strip():
                thread.thinking = False
                return "The whole reply was spent on thinking. Answer at once, without thinking."
            return f"The reply was cut off after {spent:,} tokens. Send a shorter one."
        return None if reply.text.strip() else "The reply was empty."

    def _say(self, thread: Thread, purpose: str) -> Reply:
        settings, messages = self._office.settings, thread.messages()
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
        reply, file = self._calls.make(thread.number, purpose, ask, thread.brief.cut)
        thread.heard(reply, file)
        return reply

    def _unanswered(self, context: Context, error: EndpointError) -> Proposal:
        """Make a proposal for a server that gave no answer in time.  Raises AgentError when waiting cannot help."""
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
        """Return an edit left over from an earlier reply; None when there is none or the person has a wish."""
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

    def _context_tokens(self, facts: ModelFacts) -> int:
        wanted = self._office.settings.context_tokens
        return min(facts.context_tokens or USUAL_CONTEXT, USUAL_CONTEXT if wanted == "auto" else wanted)

    def _reply_tokens(self, form: Form, files: Mapping[str, str], context_tokens: int) -> int:
        """Return how many tokens the reply may have: room for a whole file, some additions and explanations."""
        # At most half of the context goes to the reply, because the prompt needs room too.
        wanted = min(self._office.settings.reply_tokens, context_tokens // 2)
        return wanted if form == "blocks" else max(wanted, int(1.4 * max(map(estimate, files.values()), default=0)))

    def _room(self, thread: Thread) -> int:
        return thread.context_tokens - sum(estimate(m.content) for m in thread.messages())

    def _count(self, form: Form, history: History) -> int:
        """Return how many ideas to ask for in one reply: more than one when loading the model takes long."""
        wanted = self._office.settings.proposals
        if wanted != "auto":
            return wanted
        talks = (e.talk for e in reversed(history.experiments) if e.talk.get("agent") == self.name)
        loads = (talk["load_seconds"] for talk in talks if talk.get("load_seconds") is not None)
        return AT_ONCE if next(loads, 0.0) >= SLOW_LOAD and form == "blocks" else 1
