"""Run the agent under improvement: let it answer one case after the other, each in a new process:

    python -P -m autoresearch_mlx.targets.evals.inside.agent_process FILE:FUNCTION DESCRIPTOR

This process imports the agent once and then forks for each case, so no case can leave anything for the next case.  Each
line of JSON on the descriptor is a case: the question, the address of the harness, and the tools.  The process writes
the outcome to the event pipe: ``{"ready": true}``, then ``{"case": token, "answer": ...}`` or ``{"case": token,
"error": ...}``.  This process and its children run in the sandbox; the agent can reach only the harness.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from autoresearch_mlx.trial.spec import EVENTS_ENV

MOST_BYTES = 60_000
"""Longest answer in bytes of JSON, because the parent reads events in lines of at most 64 KB."""
_SECONDS = 3600.0
"""Longest wait in seconds for a reply of the harness, whose own time limits are shorter."""


class BudgetSpent(Exception):
    """Raised by a call of the model or a tool after the budget of the case is used up."""


class CallFailed(Exception):
    """Raised when the model or a tool answers with an error; the exception has the error's message."""


class Tools:
    """What an agent may use in one case: the model and the lab's tools.  Each tool is a method.

    ``tools.model(messages)`` returns the text of the model's reply.  ``tools.calculator(expression="2+2")`` calls the
    tool ``calculator``, and so does ``tools.call("calculator", expression="2+2")``.
    """

    BudgetSpent, CallFailed = BudgetSpent, CallFailed

    def __init__(self, url: str, described: Sequence[Mapping[str, Any]]) -> None:
        self._url, self._described = url, described

    @property
    def names(self) -> list[str]:
        return [tool["name"] for tool in self._described]

    def describe(self) -> str:
        """Return a line for each tool: ``calculator(expression): work out an arithmetic expression``."""
        return "\n".join(f"{t['name']}({', '.join(t['parameters'])}): {t['description']}" for t in self._described)

    def model(self, messages: str | Sequence[Mapping[str, Any]], **options: Any) -> str:
        """Return the text of the model's reply to a prompt, or to a list of messages with role and content."""
        return str(self.chat(messages, **options)["choices"][0]["message"].get("content") or "")

    def chat(self, messages: str | Sequence[Mapping[str, Any]], **options: Any) -> Any:
        """Return the model's whole reply as an object of OpenAI's API."""
        listed = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        return self._post("/v1/chat/completions", {"messages": listed, **options})

    def call(self, name: str, **arguments: Any) -> Any:
        """Return the result of a tool."""
        return self._post(f"/tools/{name}", arguments)["result"]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or name not in self.names:
            raise AttributeError(f"there is no tool {name!r}; tools: {', '.join(self.names) or 'none'}")
        return lambda **arguments: self.call(name, **arguments)

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        where = urlsplit(self._url)
        line = http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port, timeout=_SECONDS)
        try:
            line.request("POST", where.path + path, json.dumps(body), {"Content-Type": "application/json"})
            answer = line.getresponse()
            status, text = answer.status, answer.read()
        finally:
            line.close()
        found = json.loads(text)
        if status == 200:
            return found
        words = str(found.get("error", {}).get("message", f"status {status}"))
        raise BudgetSpent(words) if status == 429 else CallFailed(words)


def main(entry: str, descriptor: int) -> None:
    events = int(os.environ.pop(EVENTS_ENV))
    file, _, name = entry.rpartition(":")
    sys.path.insert(0, str(Path.cwd()))
    run = getattr(_loaded(Path(file)), name)
    _say(events, {"ready": True})
    with os.fdopen(descriptor, encoding="utf-8") as asked:
        for line in asked:
            case = json.loads(line)
            child = os.fork()
            if not child:
                _one_case(run, case, events)
            _, status = os.waitpid(child, 0)
            # The parent takes the first line about a case, so this line counts only if the agent has written no line.
            _say(events, {"case": case["token"], "error": f"its process {_ended(status)}"})


def _loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def _one_case(run: Callable[..., Any], case: Mapping[str, Any], events: int) -> None:
    """Answer one case and end this process."""
    url = case["url"]
    os.environ |= {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "harness"}
    said: dict[str, Any] = {"case": case["token"]}
    code = 0
    try:
        said["answer"] = run(case["input"], Tools(url, case["tools"]))
        if len(json.dumps(said)) > MOST_BYTES:
            said = {"case": case["token"], "error": f"the answer is longer than {MOST_BYTES:,} bytes"}
    except BaseException as error:
        traceback.print_exc()
        said = {"case": case["token"], "error": f"{type(error).__name__}: {error}"[:2000]}
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        _say(events, said)
    except BaseException:
        code = 1
    os._exit(code)


def _say(events: int, said: Mapping[str, Any]) -> None:
    data = json.dumps(said).encode() + b"\n"
    while data:
        data = data[os.write(events, data) :]


def _ended(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"died of signal {os.WTERMSIG(status)}"
    return f"ended with exit code {os.waitstatus_to_exitcode(status)} before the agent had answered"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
