"""Use any OpenAI-compatible server: llama-server, mlx_lm.server, vLLM, a cloud.

Servers know different request fields.  If a server refuses a field, the call is repeated at once without this field,
and the field is never sent again.  If the error names no field, the JSON schema counts as refused, because some servers
fail on a schema without a reason.  Other failures are raised to the caller.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.models.openai_stream import StreamedReply, words_of
from autoresearch_mlx.models.web import (
    START,
    Answer,
    Deadline,
    as_json,
    fetch,
    hide,
    kind_of,
    of_transport,
    overflowed,
    quote,
    sizes_in,
    wait_of,
    web_client,
)
from autoresearch_mlx.models.wire import (
    Ask,
    ModelFacts,
    Reply,
    TokenMeter,
    first_number,
    split_thoughts,
    whole_number,
)

if TYPE_CHECKING:
    import httpx2

PUBLIC_URL = "https://api.openai.com/v1"
ANY = "any"
"""Model name with which the user accepts any model of a server."""
_STARTED_WITH = "default_model"
"""mlx_lm.server's name for the model that it was started with; servers with one model ignore the name."""
_NO_KEY = "none"
"""Key for servers that need no key; without this placeholder, the client would send them OPENAI_API_KEY."""
_HEADERS = {"accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host"}
_NEWER_LIMIT = "max_completion_tokens"
_OPTIONAL = {
    "stream_options": ("stream_options", "include_usage"),
    "response_format": ("response_format", "json_schema", "grammar", "structured output"),
    "reasoning_effort": ("reasoning_effort", "reasoning effort", "support thinking"),
    "chat_template_kwargs": ("chat_template_kwargs", "enable_thinking"),
    "temperature": ("temperature",),
    "seed": ("seed",),
}
"""Request fields that a server may refuse, each with words that name the field in an error."""


class OpenAICompatible:
    """One model on one server that offers OpenAI's chat completions.  Every reply is streamed."""

    _start = START

    def __init__(
        self,
        name: str,
        base_url: str,
        model: str,
        api_key: str | None,
        here: bool,
        schema: bool = True,
        key_env: str | None = None,
    ) -> None:
        """Store the arguments; contact no server yet.

        ``here`` is true if the model uses this machine's memory.  ``schema`` is true if JSON schemas may be sent.
        ``key_env`` is the name of the environment variable with the key; hints show this name.
        """
        self._name = name
        self.base_url = base_url.rstrip("/")
        self.model = model
        self.here = here
        self.where = quote(self.base_url)
        self._key = api_key or _NO_KEY
        self._key_env = key_env
        self._unwanted: set[str] = set() if schema else {"response_format"}
        self._limit = "max_tokens"
        self._served = model
        """The model's name in requests."""
        self._facts: ModelFacts | None = None
        self._meter = TokenMeter()

    @property
    def name(self) -> str:
        return self._name

    def ask(self, ask: Ask) -> Reply:
        """Make one call and return the reply; within the deadline, repeat the call without fields that are refused."""
        if self.model == ANY:
            self.facts()  # this call finds the server's name for its model
        deadline = Deadline(ask.seconds, ask.idle_seconds)
        while True:  # the loop ends, because each round removes one field
            heard, failure, status = self._converse(ask, deadline)
            if failure is None:
                return self._reply(ask, heard, deadline.spent)
            if deadline.passed or not self._learned(ask, status, str(failure)):
                raise failure  # raised outside the handler, because the client's own error may hold the key

    def facts(self) -> ModelFacts:
        if self._facts is None:
            self._facts = self._ask_facts()
        return self._facts

    def release(self) -> float | None:
        """Return None, because this API has no call that unloads a model."""
        return None

    def close(self) -> None:
        """Do nothing, because each call closes its own connection."""

    # -- asking ---------------------------------------------------------------------------------------------------

    def _converse(self, ask: Ask, deadline: Deadline) -> tuple[StreamedReply, EndpointError | None, int | None]:
        """Make one request; return the reply so far, the failure (or None), and the failure's HTTP status (or None)."""
        import httpx2
        import openai

        heard = StreamedReply()
        with web_client(self.base_url, deadline) as web:
            if not self._may_have_environment():
                web.event_hooks["request"].append(_strip)
            client = openai.OpenAI(
                api_key=self._key, base_url=self.base_url, max_retries=0, timeout=web.timeout, http_client=web
            )
            fields = self._fields(ask)
            messages = cast(Any, [{"role": m.role, "content": m.content} for m in ask.messages])
            try:
                with client.chat.completions.create(
                    model=self._served, messages=messages, stream=True, extra_body=fields
                ) as stream:
                    failure = self._listen(stream, heard, deadline, ask.most_characters)
            except openai.APIStatusError as error:
                return heard, self._refusal(error.status_code, error.response), error.status_code
            except openai.APIConnectionError as error:
                cause = error.__cause__ or error
                failure = self._cut(cause, heard, deadline)
            except httpx2.HTTPError as error:
                failure = self._cut(error, heard, deadline)
            except openai.APIError as error:
                failure = self._broken(f"with an error inside its answer: {error.message}", heard)
            except (ValueError, RecursionError) as error:
                failure = self._broken(f"without JSON: {error}", heard)
        return heard, failure, None

    def _fields(self, ask: Ask) -> dict[str, Any]:
        """Return the fields of the request besides the messages."""
        fields: dict[str, Any] = {
            "stream_options": {"include_usage": True},
            self._limit: ask.max_tokens,
            "temperature": ask.temperature,
            "seed": ask.seed,
        }
        if ask.schema is not None:
            described = {"name": "reply", "schema": ask.schema, "strict": True}
            fields["response_format"] = {"type": "json_schema", "json_schema": described}
        if ask.think != "auto":
            fields["reasoning_effort"] = "none" if ask.think == "off" else ask.think
        if ask.think == "off" and self.here:
            # llama-server and mlx_lm.server give this field to the chat template, which switches thinking off.
            fields["chat_template_kwargs"] = {"enable_thinking": False}
        return {key: value for key, value in fields.items() if value is not None and key not in self._unwanted}

    def _listen(self, stream: Any, heard: StreamedReply, deadline: Deadline, most: int) -> EndpointError | None:
        """Read a streamed answer to its end; after ``most`` characters, close the connection."""
        kind = stream.response.headers.get("content-type", "")
        if "html" in kind or "json" in kind:
            return self._whole(stream.response.read().decode(errors="replace"), heard)
        for chunk in stream:
            if deadline.passed:
                return self._cut(None, heard, deadline)
            heard.take(chunk.to_dict(warnings=False) if hasattr(chunk, "to_dict") else chunk)
            if heard.parts or heard.thoughts:
                deadline.hear()
            if heard.characters > most:
                heard.reason = "length"
                return None
        if not heard.chunks and not deadline.passed:
            return self._broken("with an empty stream", heard)
        if not heard.finished:
            return self._cut(ConnectionError("the end of the answer is missing"), heard, deadline)
        return None

    def _cut(self, error: BaseException | None, heard: StreamedReply, deadline: Deadline) -> EndpointError | None:
        """Return the error for a connection that ended; None if the reply was complete.

        Some servers keep the connection open after a complete reply, until the deadline cuts it.
        """
        if heard.finished:
            return None
        return of_transport(error, self.where, deadline, heard.text, self._key, self._start)

    def _whole(self, text: str, heard: StreamedReply) -> EndpointError | None:
        """Read an answer that the server sent as a whole; return an error if the answer is no reply of this API."""
        data = as_json(text)
        if isinstance(data, dict) and isinstance(data.get("choices"), list) and "error" not in data:
            heard.take(data)
            return None
        return self._broken(f"with {text!r}" if text.strip() else "with nothing", heard)

    def _broken(self, what: str, heard: StreamedReply) -> EndpointError:
        said = f"{self.where} answered with status 200, but {quote(what, self._key)}"
        partial = hide(heard.text, self._key)
        if overflowed(what):
            return self._overflow(said, what, partial)
        return EndpointError("garbled", said, "check base_url, which often ends in /v1", partial=partial)

    def _reply(self, ask: Ask, heard: StreamedReply, seconds: float) -> Reply:
        # A cloud service refuses a prompt that is too long; local servers may cut it without an error.
        missing = self._meter.missing(ask.prompt_tokens, heard.prompt_tokens, None) if self.here else ""
        if missing:
            raise EndpointError(
                "overflow", f"{self.where}: {missing}", self._room_hint(), context_tokens=heard.prompt_tokens
            )
        text, reasoning = split_thoughts(heard.text, "".join(heard.thoughts))
        return Reply(
            text=text or heard.refusal,
            finish=heard.finish,
            model=heard.model or self.model,
            reasoning=reasoning,
            prompt_tokens=heard.prompt_tokens,
            completion_tokens=heard.completion_tokens,
            think_seconds=seconds,
        )

    # -- refusals -------------------------------------------------------------------------------------------------

    def _learned(self, ask: Ask, status: int | None, text: str) -> bool:
        """Return whether to repeat the call without a field that the server refused; mark the field as refused."""
        if status not in (400, 404, 422, 500, 501) or overflowed(text):
            return False
        sent = self._fields(ask)
        if self._limit != _NEWER_LIMIT and "max_tokens" in text:
            self._limit = _NEWER_LIMIT
            return True
        for name, words in _OPTIONAL.items():
            if name in sent and any(word in text.lower() for word in words):
                self._unwanted.add(name)
                return True
        if "response_format" in sent and not (self._facts is not None and self._facts.enforces_schema):
            self._unwanted.add("response_format")  # llama-cpp-python fails on a schema without saying so
            return True
        return False

    def _refusal(self, status: int, response: httpx2.Response) -> EndpointError:
        try:
            text = response.text
        except RuntimeError:  # the body was not read before the connection closed
            text = ""
        return self.refused(status, text, response.headers)

    def refused(self, status: int, text: str, headers: Mapping[str, str]) -> EndpointError:
        """Return the error for an HTTP status; the error quotes the server's message and says what to do."""
        kind = kind_of(status, text)
        said = f"{self.where} answered {status}: {quote(words_of(text) or 'no message', self._key)}"
        if kind == "overflow":
            return self._overflow(said, text)
        if kind == "busy":
            return EndpointError(kind, said, "wait, or ask less often", retry_after=wait_of(headers))
        return EndpointError(kind, said, self._hint(status))

    def _overflow(self, said: str, text: str, partial: str = "") -> EndpointError:
        context, prompt = sizes_in(text)
        return EndpointError(
            "overflow", said, self._room_hint(), partial=partial, context_tokens=context, prompt_tokens=prompt
        )

    def _hint(self, status: int) -> str:
        if status in (401, 403):
            if self._key_env:
                return f"put a key that this server accepts into the environment variable {self._key_env}"
            return "set api_key_env in lab.toml to the name of the environment variable with the key"
        if status == 404:
            models = self._models()
            if models:
                return f"models there: {', '.join(models)}"
            return "check the model's name, and base_url, which often ends in /v1"
        if 300 <= status < 400:
            return "set base_url to the address to which this server redirects"
        return "the server's message says what it refuses; change that setting under [agent] in lab.toml"

    def _room_hint(self) -> str:
        return (
            "load the model with a longer context, or set context_tokens in lab.toml to the model's context, "
            "so that prompts are shortened to fit"
        )

    # -- facts ----------------------------------------------------------------------------------------------------

    def _ask_facts(self) -> ModelFacts:
        entry = self._find()
        meta = entry.get("meta") if isinstance(entry.get("meta"), dict) else {}
        known = {**entry, **cast(dict[str, Any], meta)}
        parameters = whole_number(known.get("n_params"))
        llama = known.get("owned_by") == "llamacpp"
        context = first_number(known, "n_ctx", "max_context_length", "context_length", "max_model_len")
        return ModelFacts(
            model=self.model,
            billions=parameters / 1e9 if parameters else None,
            context_tokens=(self._slot_context() if llama else None) or context,
            size_bytes=first_number(known, "size", "size_bytes") if self.here else None,
            enforces_schema="response_format" not in self._unwanted and (llama or self.base_url == PUBLIC_URL),
            here=self.here,
            unloads=False,
        )

    def _find(self) -> Mapping[str, Any]:
        """Return the server's entry for this model, and store the name with which requests ask for the model.

        If a server lists only one model, that model is used, whatever its name is.  For the name ``any``, the model
        with which the server was started is used; mlx_lm.server lists that model by its path.
        """
        listed = [entry for entry in self._listed() if isinstance(entry.get("id"), str)]
        found = next((entry for entry in listed if self.model in (entry["id"], *_aliases(entry))), None)
        if found is not None:
            return found
        if len(listed) == 1:
            found = listed[0]
        elif self.model == ANY:
            found = next((entry for entry in listed if entry["id"].startswith("/")), listed[0] if listed else None)
        self._served = found["id"] if found is not None else _STARTED_WITH if self.model == ANY else self.model
        return found or {}

    def _slot_context(self) -> int | None:
        """Return the context for one request, in tokens; llama-server divides its context among parallel requests."""
        try:
            data = self.get(self.base_url.removesuffix("/v1") + "/props").data
        except EndpointError:
            return None
        settings = data.get("default_generation_settings") if isinstance(data, dict) else None
        return first_number(settings, "n_ctx") if isinstance(settings, dict) else None

    def _listed(self) -> list[dict[str, Any]]:
        """Return the entries of /v1/models; an empty list when the server has no such page.

        Raises EndpointError when no server answers or the key is refused.
        """
        try:
            answer = self.get(self.base_url + "/models")
        except EndpointError as error:
            if error.kind == "dropped":  # mlx_lm.server dies on a GET of /v1/models when its cache folder is missing
                return []
            raise
        if answer.status in (401, 403):
            raise self.refused(answer.status, answer.text, answer.headers)
        data = answer.data.get("data") if isinstance(answer.data, dict) else None
        return [entry for entry in data or () if isinstance(entry, dict)] if isinstance(data, list) else []

    def models(self) -> list[str]:
        """Return the names of the models that the server lists.  Raises the errors of :meth:`_listed`."""
        return [entry["id"] for entry in self._listed() if isinstance(entry.get("id"), str)]

    def model_there(self) -> str:
        """Return the name by which the server knows this model.  Raises the errors of :meth:`facts`."""
        self.facts()
        return self._served

    def _models(self) -> list[str]:
        try:
            return self.models()[:12]
        except EndpointError:
            return []

    def get(self, url: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Make one call that is not a chat, with the key.  Raises EndpointError when the server cannot be reached."""
        return fetch(url, self.where, body, {"authorization": f"Bearer {self._key}"}, start=self._start)

    def _may_have_environment(self) -> bool:
        """Return whether this server may get the headers that the client makes from environment variables."""
        return self.base_url in (PUBLIC_URL, os.environ.get("OPENAI_BASE_URL", "").rstrip("/"))


def _aliases(entry: Mapping[str, Any]) -> list[Any]:
    aliases = entry.get("aliases")
    return aliases if isinstance(aliases, list) else []


def _strip(request: httpx2.Request) -> None:
    """Remove headers that HTTP does not need.

    The client adds OpenAI's organisation, project and custom headers from environment variables.  Other servers must
    not get these headers.
    """
    for name in set(request.headers) - _HEADERS:
        del request.headers[name]
