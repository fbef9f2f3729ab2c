"""Use Ollama's own API, because its OpenAI-compatible API cannot set the context length or unload a model.

If a prompt is longer than the context, Ollama cuts the prompt without an error.  So each call asks for a context that
is long enough for prompt and reply, and asks Ollama not to cut the prompt.  After the reply, the number of tokens that
the model read is compared with our estimate.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.models.ollama_models import (
    Installed,
    Loaded,
    StreamedChat,
    facts_of,
    full_name,
    host_address,
    installed_of,
    is_cloud,
    loaded_of,
    request,
)
from autoresearch_mlx.models.web import (
    Deadline,
    as_json,
    fetch,
    is_here,
    kind_of,
    of_transport,
    overflowed,
    quote,
    sizes_in,
    wait_of,
    web_client,
)
from autoresearch_mlx.models.wire import Ask, Finish, ModelFacts, Reply, TokenMeter, split_thoughts, whole_number

KEEP_ALIVE = "30m"
"""Time for which a model stays loaded after a call: longer than a usual training run, but limited."""
_STEP = 4096
_POLL_SECONDS = 0.1
_NANO = 1e-9
_ROOM_HINT = (
    "raise context_tokens in lab.toml, or OLLAMA_CONTEXT_LENGTH where Ollama runs; "
    "an old Ollama cuts prompts even when asked not to (`ollama --version`)"
)
_START = "start Ollama with `ollama serve` or with its app; set OLLAMA_HOST if Ollama listens at another address"
_CHECK_HOST = "check that OLLAMA_HOST is the address of an Ollama server"
_FACTS_SECONDS = 10.0
_MEMORY = ("memory", "free gpu")


class Ollama:
    """One model on one Ollama server."""

    def __init__(
        self, model: str, host: str | None = None, keep_alive: str | int = KEEP_ALIVE, most_context: int | None = None
    ) -> None:
        """Store the arguments; contact no server yet.

        ``host`` is by default OLLAMA_HOST, or 127.0.0.1:11434 if this variable is not set.  ``keep_alive`` is the time
        for which the model stays loaded after a call, in seconds or as a duration such as ``30m``.  ``most_context`` is
        the largest context to ask for, in tokens.
        """
        self.model = model
        self.address = host_address(host or os.environ.get("OLLAMA_HOST", ""))
        self.where = f"Ollama at {urlsplit(self.address).netloc}"
        self.here = not is_cloud(model) and is_here(urlsplit(self.address).hostname or "")
        self._keep_alive = keep_alive
        self._most_context = most_context
        self._context = 0
        self._thinks_on_request = True
        self._facts: ModelFacts | None = None
        self._version: str | None = None
        self._meter = TokenMeter()

    @property
    def name(self) -> str:
        return f"ollama:{self.model}"

    def facts(self, seconds: float = _FACTS_SECONDS) -> ModelFacts:
        """Return what Ollama reports about the model.

        Raises EndpointError (unreachable) if Ollama does not answer, and EndpointError (refused) with a list of
        Ollama's models if this model is missing.
        """
        if self._facts is None:
            shown = self.show(seconds=seconds)
            listed = self.list_models(seconds=seconds)
            size = next((m.size_bytes for m in listed if full_name(m.name) == full_name(self.model)), None)
            here = self.here and not shown.get("remote_host")
            self._facts = facts_of(self.model, shown, size, here)
        return self._facts

    def ask(self, ask: Ask) -> Reply:
        """Make one call, in a context that is long enough for prompt and reply.

        Raises EndpointError if the call fails, or if the model replied but did not read the whole prompt (overflow).
        """
        deadline = Deadline(ask.seconds, ask.idle_seconds)
        self.facts(min(ask.seconds, _FACTS_SECONDS))
        context = self._context_for(ask)
        while True:  # at most two rounds; the second round leaves out ``think``, if the model refused it
            heard = StreamedChat()
            body = request(self.model, ask, context, self._keep_alive, self._thinks_on_request)
            failure = self._converse(body, heard, deadline, ask.most_characters)
            if failure is None:
                return self._reply(ask, heard, context, deadline.spent)
            if not self._drops_think(ask, failure):
                raise failure

    def release(self, seconds: float = 30.0) -> float | None:
        """Unload the model, wait until /api/ps no longer lists it, and return the seconds until then.

        Other models stay loaded.  Returns None when the model was not loaded or is not on this machine.  Raises
        EndpointError (hung) when the model is still listed after ``seconds``.
        """
        started = time.monotonic()
        try:
            if not self.here or not self._is_loaded():
                return None
        except EndpointError as error:
            if error.kind == "unreachable":  # a server that has ended holds no memory
                return None
            raise
        self._call("/api/generate", {"model": self.model, "keep_alive": 0})
        while self._is_loaded():
            if time.monotonic() - started > seconds:
                listed = ", ".join(each.name for each in self.loaded())
                said = f"{self.where} still lists {listed} {seconds:g} s after it was told to unload {self.model}"
                raise EndpointError("hung", said, f"`ollama stop {self.model}`, or restart Ollama")
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - started

    def close(self) -> None:
        """Do nothing, because this program did not start the server."""

    def list_models(self, seconds: float = _FACTS_SECONDS, connect_seconds: float = 10.0) -> list[Installed]:
        """Return all models of this Ollama server, including cloud models and embedding models."""
        return installed_of(self._call("/api/tags", seconds=seconds, connect_seconds=connect_seconds))

    def loaded(self) -> list[Loaded]:
        """Return the models that are in memory now, including models that other programs loaded."""
        return loaded_of(self._call("/api/ps"))

    def show(self, model: str | None = None, seconds: float = _FACTS_SECONDS) -> dict[str, Any]:
        """Return Ollama's description of a model, by default of the model that this endpoint uses."""
        found = self._call("/api/show", {"model": model or self.model}, seconds)
        return found if isinstance(found, dict) else {}

    # -- asking ---------------------------------------------------------------------------------------------------

    def _context_for(self, ask: Ask) -> int:
        """Return the context to ask for, in tokens.

        The context never shrinks, because Ollama loads the model again for each new length.
        """
        caps = [cap for cap in (self.facts().context_tokens, self._most_context) if cap]
        most = min(caps, default=None)
        if most is not None and ask.prompt_tokens >= most:
            own = self.facts().context_tokens
            said = f"a prompt of about {ask.prompt_tokens} tokens does not fit a context of {most}"
            limit = "the model sets this limit" if most == own else "context_tokens in lab.toml sets this limit"
            hint = f"{limit}; shorten program.md or the edited file"
            raise EndpointError("overflow", f"{self.name}: {said}", hint, context_tokens=most)
        wanted = -(-(ask.prompt_tokens + ask.max_tokens) // _STEP) * _STEP
        self._context = max(self._context, min(wanted, most or wanted))
        return self._context

    def _converse(
        self, body: Mapping[str, Any], heard: StreamedChat, deadline: Deadline, most: int
    ) -> EndpointError | None:
        """Make one request.  Return the failure, or None when ``heard`` contains a reply.

        A reply of more than ``most`` characters is cut off at this length.
        """
        import httpx2

        def cut(error: Exception | None) -> EndpointError:
            return of_transport(error, self.where, deadline, heard.text, start=_START)

        with web_client(self.address, deadline) as web:
            try:
                with web.stream("POST", self.address + "/api/chat", json=body) as response:
                    if response.status_code != 200:
                        text = response.read().decode(errors="replace")
                        return self._refusal(response.status_code, text, response.headers)
                    for line in response.iter_lines():
                        if deadline.passed:
                            return cut(None)
                        if problem := heard.take(line):
                            return self._broken(problem, heard)
                        if heard.parts or heard.thoughts:
                            deadline.hear()
                        if not heard.last and heard.characters > most:
                            heard.last = {"done_reason": "length"}
                        if heard.last:
                            return None
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                return cut(error)
        return cut(ConnectionError("the end of the answer is missing"))

    def _broken(self, problem: str, heard: StreamedChat) -> EndpointError:
        said = f"{self.where} answered with status 200, but {quote(problem)}"
        if overflowed(problem):
            return _overflow(said, problem, heard.text)
        return EndpointError("garbled", said, _CHECK_HOST, partial=heard.text)

    def _drops_think(self, ask: Ask, failure: EndpointError) -> bool:
        """Return whether the model refused the ``think`` field; the field is then never sent again."""
        refused = failure.kind == "refused" and "support thinking" in str(failure)
        if not (refused and self._thinks_on_request and ask.think != "auto"):
            return False
        self._thinks_on_request = False
        return True

    def _reply(self, ask: Ask, heard: StreamedChat, context: int, seconds: float) -> Reply:
        last = heard.last
        given = self._given()
        count = whole_number(last.get("prompt_eval_count"))
        self._check_read_whole(ask, count, given or context)
        load = last.get("load_duration")
        load_seconds = load * _NANO if isinstance(load, int | float) else None
        text, reasoning = split_thoughts(heard.text, "".join(heard.thoughts))
        known: dict[Any, Finish] = {"stop": "stop", "length": "length"}
        return Reply(
            text=text,
            finish=known.get(last.get("done_reason"), "unknown"),
            model=str(last.get("model") or self.model),
            reasoning=reasoning,
            prompt_tokens=count,
            completion_tokens=last["eval_count"] if isinstance(last.get("eval_count"), int) else None,
            load_seconds=load_seconds,
            think_seconds=max(seconds - (load_seconds or 0.0), 0.0),
            context_tokens=given,
        )

    def _check_read_whole(self, ask: Ask, count: int | None, context: int) -> None:
        """Raise EndpointError (overflow) when the model did not read the whole prompt."""
        missing = self._meter.missing(ask.prompt_tokens, count, context)
        if missing and not (context > ask.prompt_tokens and self._leaves_cache_out()):
            raise EndpointError("overflow", f"{self.where}: {missing}", _ROOM_HINT, context_tokens=context)

    def _leaves_cache_out(self) -> bool:
        """Return whether this Ollama leaves cached tokens out of its counts, as 0.30 does (ollama pull 16428)."""
        if self._version is None:
            found = self._call("/api/version")
            self._version = str(found.get("version", "")) if isinstance(found, dict) else ""
        return self._version.startswith("0.30.")

    def _given(self) -> int | None:
        """Return the context length, in tokens, of the loaded model, as /api/ps lists it; None when it is unknown."""
        try:
            listed = self.loaded() if self.here else []
        except EndpointError:
            return None  # the reply is complete; only the context stays unknown
        return next((each.context_tokens for each in listed if self._is_mine(each)), None)

    # -- plain calls ----------------------------------------------------------------------------------------------

    def _is_mine(self, each: Loaded) -> bool:
        return full_name(each.name) == full_name(self.model)

    def _is_loaded(self) -> bool:
        return any(map(self._is_mine, self.loaded()))

    def _call(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        seconds: float = _FACTS_SECONDS,
        connect_seconds: float = 10.0,
    ) -> Any:
        answer = fetch(self.address + path, self.where, body, None, seconds, connect_seconds, _START)
        if answer.status != 200:
            raise self._refusal(answer.status, answer.text, answer.headers)
        if answer.data is None:
            said = f"{self.where} answered {path} without JSON: {quote(answer.text) or 'nothing'}"
            raise EndpointError("garbled", said, _CHECK_HOST)
        return answer.data

    def _refusal(self, status: int, text: str, headers: Mapping[str, str]) -> EndpointError:
        data = as_json(text)
        words = data["error"] if isinstance(data, dict) and isinstance(data.get("error"), str) else text
        said = f"{self.where} answered {status}: {quote(words) or 'no message'}"
        kind = kind_of(status, words)
        if kind == "overflow":
            return _overflow(said, words)
        if status == 500 and any(word in words.lower() for word in _MEMORY):
            return EndpointError("refused", said, "use a smaller model or one with fewer bits, or close other programs")
        if kind == "busy":
            return EndpointError(
                kind,
                said,
                "Ollama is busy with other requests; OLLAMA_MAX_QUEUE sets how many may wait",
                retry_after=wait_of(headers),
            )
        return EndpointError(kind, said, self._hint(status, words))

    def _hint(self, status: int, words: str) -> str:
        if status in (401, 403):
            return "a cloud model needs `ollama signin`"
        if status != 404:
            return f"`ollama show {self.model}` shows what Ollama knows about this model"
        if "model" not in words:
            return _CHECK_HOST
        try:
            there = [model.name for model in installed_of(fetch(self.address + "/api/tags", self.where).data)]
        except EndpointError:
            there = []
        known = f"; models there: {', '.join(there)}" if there else "; Ollama has no model yet"
        return f"`ollama pull {self.model}`{known}"


def _overflow(said: str, text: str, partial: str = "") -> EndpointError:
    context, prompt = sizes_in(text)
    return EndpointError("overflow", said, _ROOM_HINT, partial=partial, context_tokens=context, prompt_tokens=prompt)
