"""Serve ``mlx:MODEL_OR_PATH`` with mlx_lm.server as a child process, started for a question and ended before training.

The model shares the machine's memory with the training run, so :meth:`MlxServer.release` ends the process.  The next
question starts a new process, and so does a question after the process has died.  The reply's ``load_seconds`` include
this start.

This module makes up for three gaps in mlx_lm.server 0.32.  The server accepts a prompt of any length, so this module
compares prompt and reply with the context before it sends anything.  The server loads any model that a request names,
even from the network, so all requests name the model of the server's start.  The server keeps listening if its model
could not be loaded, so this module waits until the server has produced one token.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
from dataclasses import replace
from pathlib import Path

from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.models.checkpoint import read_facts
from autoresearch_mlx.models.mlx_child import Child
from autoresearch_mlx.models.openai import OpenAICompatible
from autoresearch_mlx.models.wire import Ask, ModelFacts, Reply

LOG = "mlx-server.log"
_SERVED = "default_model"
"""mlx_lm.server's name for the model that it was started with."""
_PROMPT_CACHES = 4
"""Number of prompts that the server caches.  A few are enough: a repair continues the last prompt, and older prompts
only take memory."""
_TICK_SECONDS = 0.05
_DYING_SECONDS = 1.0
"""Seconds to wait for the end of a process that no longer listens; a killed process closes its sockets before it
ends."""
_LAST_LINES = 4
_NAME, _NEVER = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*[\w]", re.ASCII), re.compile(r"--|\.\.|\.git$")
"""Patterns of names on Hugging Face (``org/name``): the form of a name, and what a name must not contain."""
_NOTES = (
    r"^\s|^127\.0\.0\.1|^Traceback|^The above exception|^During handling| - INFO - |UserWarning:|PyTorch was not found"
)
"""Pattern of the lines in the server's log that say nothing about a failure."""


class MlxServer:
    """One model on this machine, served by an mlx_lm.server that this program starts."""

    def __init__(self, model: str, folder: Path | None = None, seconds_to_start: float = 600.0) -> None:
        """Store the arguments; start nothing yet.

        ``model`` is a folder, or the name of a model on Hugging Face, ``org/name``.  ``folder`` is the session's
        folder, where the server's output is written to ``talks/mlx-server.log``; without a folder, the output is not
        kept.  ``seconds_to_start`` is the longest time from the start of the process to its first token; the deadline
        of the question may end this time earlier.
        """
        self.model = model
        self._log = folder / "talks" / LOG if folder is not None else None
        self._seconds_to_start = seconds_to_start
        self._child: Child | None = None
        self._facts: ModelFacts | None = None

    @property
    def name(self) -> str:
        return f"mlx:{self.model}"

    def facts(self) -> ModelFacts:
        """Return the facts in the checkpoint's files; the server is not started.

        All facts are None for a Hugging Face model that has not been downloaded.  Raises EndpointError (refused) when
        ``model`` is neither a checkpoint nor a name on Hugging Face.
        """
        if self._facts is None:
            source = self._source()
            folder = source if isinstance(source, Path) else _downloaded(source)
            if folder is None:
                return ModelFacts(self.model)
            self._facts = read_facts(self.model, folder)
        return self._facts

    def ask(self, ask: Ask) -> Reply:
        """Make one call.  If no server is running, start one first; ``load_seconds`` of the reply is the start's time.

        Raises EndpointError if the call fails.  The error's kind is overflow (the prompt is too long, and nothing was
        sent), unreachable (the server does not start), dropped (the server ended during the call) or hung (a deadline
        passed).  If the kind is unreachable or dropped, the error contains the last lines of the server's log.  After a
        call that hung, the server is ended, because it may go on reading the prompt for minutes.
        """
        self._check_room(ask)
        loaded = 0.0 if self._running() else self._start(ask.seconds)
        reply = self._through_client(replace(ask, seconds=ask.seconds - loaded))
        known = self.facts().context_tokens
        return replace(reply, model=self.model, load_seconds=loaded, context_tokens=known)

    def release(self) -> float | None:
        """End the server, wait until its memory is free, and return the seconds until then.

        Returns None if no server was running.
        """
        child, self._child = self._child, None
        if child is None:
            return None
        ended_before = child.ended() is not None
        seconds = child.stop()
        return None if ended_before else seconds

    def close(self) -> None:
        """End the server as :meth:`release` does, but raise no error."""
        with contextlib.suppress(OSError):
            self.release()

    def _source(self) -> Path | str:
        """Return the model's folder, or its name on Hugging Face."""
        path = Path(self.model).expanduser()
        if path.is_dir():
            return path.resolve()
        if path.exists():
            raise EndpointError(
                "refused", f"{path} is a file", "give the folder that holds config.json and the weights"
            )
        if _NAME.fullmatch(self.model) and not _NEVER.search(self.model):
            return self.model
        raise EndpointError(
            "refused",
            f"there is no model at {self.model}",
            "give the folder of an MLX model, or a name on Hugging Face such as mlx:mlx-community/NAME",
        )

    def _check_room(self, ask: Ask) -> None:
        context = self.facts().context_tokens
        if context is not None and ask.prompt_tokens + ask.max_tokens > context:
            raise EndpointError(
                "overflow",
                f"prompt and reply need {ask.prompt_tokens} + {ask.max_tokens} tokens, "
                f"but the context of {self.model} has {context}",
                f"set context_tokens = {context} and a smaller reply_tokens under [agent] in lab.toml",
                context_tokens=context,
            )

    def _running(self) -> bool:
        """Return whether our child process is running and listening; end a process that is not listening.

        A process that runs may have been killed: a killed process with threads closes its sockets shortly before it
        ends.  So the port is checked as well.
        """
        if self._child is not None and (self._child.ended() is not None or not self._child.listens()):
            self.release()
        return self._child is not None

    def _start(self, seconds: float) -> float:
        began = time.monotonic()
        deadline = began + min(seconds, self._seconds_to_start)
        source = self._source()
        if isinstance(source, Path):
            read_facts(self.model, source)
        _make_hub_cache()
        arguments = ["--model", str(source), "--prompt-cache-size", str(_PROMPT_CACHES)]
        try:
            self._child = Child(arguments, self._log)
        except OSError as error:
            said = f"mlx_lm.server cannot be started: {error}"
            raise EndpointError("unreachable", said, "make sure that the session's folder can be written to") from None
        try:
            self._await_first_token(self._child, deadline)
        except BaseException:
            self.close()
            raise
        return time.monotonic() - began

    def _await_first_token(self, child: Child, deadline: float) -> None:
        """Wait until the model is loaded.

        Raises EndpointError when the server ends, when it refuses to produce a token, or at the deadline.
        """
        while not child.listens():
            if child.ended() is not None:
                raise self._failed(child, "mlx_lm.server ended while starting")
            if time.monotonic() > deadline:
                raise self._too_slow()
            time.sleep(_TICK_SECONDS)
        try:
            loaded = _makes_a_token(child.port, max(deadline - time.monotonic(), _TICK_SECONDS))
        except TimeoutError:
            raise self._too_slow() from None
        except (OSError, http.client.HTTPException):
            child.ended(_DYING_SECONDS)
            raise self._failed(child, "mlx_lm.server ended while loading the model") from None
        if not loaded:
            raise self._failed(child, f"mlx_lm.server could not load {self.model}")

    def _through_client(self, ask: Ask) -> Reply:
        assert self._child is not None
        url = f"http://127.0.0.1:{self._child.port}/v1"
        client = OpenAICompatible(self.name, url, _SERVED, None, here=True, schema=False)
        try:
            return client.ask(ask)
        except EndpointError as error:
            if error.kind == "hung":
                self.close()
            elif error.kind in ("dropped", "unreachable") and self._child.ended(_DYING_SECONDS) is not None:
                failed = self._failed(self._child, "mlx_lm.server ended during the call")
                raise EndpointError(error.kind, str(failed), failed.hint, partial=error.partial) from error
            raise

    def _failed(self, child: Child, what: str) -> EndpointError:
        status = child.ended()
        how = "" if status is None else f" (signal {-status})" if status < 0 else f" (exit status {status})"
        where = f"; the whole log is {self._log}" if self._log else ""
        hint = f"see whether `python -m mlx_lm generate --model {self.model}` works{where}"
        return EndpointError("unreachable", f"{what}{how}: {_last_lines(child.output())}", hint)

    def _too_slow(self) -> EndpointError:
        hint = "raise timeout_seconds under [agent] in lab.toml"
        if isinstance(self._source(), str):
            hint = f"if the model is not on this machine, download it first with `hf download {self.model}`; or {hint}"
        return EndpointError("hung", f"mlx_lm.server had not loaded {self.model} when its time was up", hint)


def _makes_a_token(port: int, seconds: float) -> bool:
    """Return whether the server produces a token, so that its model must be loaded; False if the server refuses.

    The request asks for the completion of a plain text, so that the chat template does not matter.  Raises OSError and
    HTTPException when the connection fails.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        body = json.dumps({"model": _SERVED, "prompt": "a", "max_tokens": 1, "temperature": 0.0})
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    finally:
        connection.close()


def _last_lines(output: str) -> str:
    """Return the last lines of a log as one line, without stack frames and routine messages."""
    lines = [line for line in output.splitlines() if line.strip() and not re.search(_NOTES, line)]
    return " | ".join(lines[-_LAST_LINES:]) or "its log does not say why"


def _downloaded(name: str) -> Path | None:
    """Return the newest snapshot of a model in the Hugging Face cache on this machine; None if there is none."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json")
    return Path(config).parent if isinstance(config, str) else None


def _make_hub_cache() -> None:
    """Make the folder of the Hugging Face cache, because mlx_lm.server reads this folder and fails without it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    with contextlib.suppress(OSError):
        Path(HF_HUB_CACHE).mkdir(parents=True, exist_ok=True)
