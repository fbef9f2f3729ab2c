"""Set the length of a prompt and of its reply for each kind of question, and predict how long an answer takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autoresearch_mlx.agents.prompt.brief import Form
from autoresearch_mlx.agents.prompt.tokens import estimate
from autoresearch_mlx.experiment import History
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.models.wire import ModelFacts
from autoresearch_mlx.store.forms import asked_of

USUAL_CONTEXT = 32_768
"""Default number of tokens for prompt and reply together: enough for the whole file, a table and an answer."""
FIELDS = 400
"""Maximum number of tokens of a reply without code: a few fields, each a sentence at most."""
CHOICE = 100
"""Maximum number of tokens of a choice from a menu (a number and a short reason) if the server enforces the schema.
Without a low limit, a small model may write many spaces, which the schema allows, and each space takes time."""
CODE = 1.5
"""Maximum number of tokens of a reply with code, as a multiple of the tokens of the largest file."""
LEAST_CODE = 1000
"""Least value of the maximum that ``CODE`` gives, in tokens, because a model may add much code to a small file."""
RESERVED = 2048
"""Tokens that a prompt leaves free for search/replace blocks, which seldom need more."""
THOUGHTS = 4096
"""Tokens for the thoughts of a model that was seen to think; the thoughts are part of the reply."""
SLOW_LOAD = 15.0
"""If loading the model takes at least this many seconds, one call asks for several ideas."""
AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class Room:
    """The limits of a question for code in a context of ``most`` tokens.

    ``setting`` is the user's own limit on the reply; None for no limit.
    """

    form: Form
    files: Mapping[str, str]
    setting: int | None
    most: int
    thinks: bool

    @property
    def limit(self) -> int:
        """Maximum number of tokens of the reply."""
        wanted = reply_limit(self.form, self.files, self.setting, self.thinks)
        # At most half of the context goes to blocks, because the prompt needs room too.
        return wanted if self.form == "whole" else min(wanted, max(self.most // 2, FIELDS))

    @property
    def fields(self) -> int:
        """Maximum number of tokens of a first reply that has only the fields, such as title and axis, and no code."""
        return reply_limit("values", self.files, self.setting, self.thinks)

    @property
    def reserved(self) -> int:
        """Number of tokens that the prompt must leave free."""
        return self.limit if self.form == "whole" else min(self.limit, RESERVED + self.thinks * THOUGHTS)


def reply_limit(form: Form, files: Mapping[str, str], setting: int | None, thinks: bool, strict: bool = False) -> int:
    """Return the maximum number of tokens of a reply.

    For code, this is 1.5 times the tokens of the largest file; for the other forms, it is a constant.  ``strict`` says
    whether the server enforces a schema; then a choice needs fewer tokens.
    """
    thoughts = THOUGHTS if thinks else 0
    wanted = CHOICE if strict and form == "menu" else FIELDS
    if form in ("blocks", "whole"):
        wanted = max(LEAST_CODE, FIELDS + int(CODE * max(map(estimate, files.values()), default=0)))
    # A reply with a whole file needs the length of that file, whatever the setting says.
    return (wanted if setting is None or form == "whole" else min(wanted, setting)) + thoughts


def own_limit(settings: AgentSettings) -> int | None:
    """Return the user's own limit on one reply; None when there is none."""
    return None if settings.reply_tokens == "auto" else settings.reply_tokens


def context_tokens(settings: AgentSettings, facts: ModelFacts, learned: int | None) -> int:
    """Return the smallest of the context lengths in the settings, in the server's report, and learned from refusals."""
    wanted = settings.context_tokens
    known = [facts.context_tokens or USUAL_CONTEXT, USUAL_CONTEXT if wanted == "auto" else wanted]
    return min([*known, learned] if learned is not None else known)


def count_at_once(history: History, agent: str, form: Form) -> bool:
    """Return whether several ideas should be asked for in one reply, because loading the model takes long."""
    talks = (e.talk for e in reversed(history.experiments) if e.talk.get("agent") == agent)
    loads = (talk["load_seconds"] for talk in talks if talk.get("load_seconds") is not None)
    return next(loads, 0.0) >= SLOW_LOAD and form == "blocks"


def predicted_seconds(history: History, agent: str, tokens: int) -> float | None:
    """Return how many seconds the model is expected to take for a prompt and a reply of ``tokens`` together.

    The model's last answers show its speed.  Returns None if the model has not answered yet.
    """
    told = [e.talk for e in asked_of(history, agent)][-5:]
    known = [t for t in told if t.get("think_seconds") and (t.get("prompt_tokens") or 0) > 0]
    read = sum(t["prompt_tokens"] + (t.get("completion_tokens") or 0) for t in known)
    return tokens * sum(t["think_seconds"] for t in known) / read if read else None
