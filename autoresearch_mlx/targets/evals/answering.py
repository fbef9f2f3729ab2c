"""Let an agent in a sandbox answer cases one after the other, and record each case's calls, tokens and time."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import AutoresearchError, EndpointError
from autoresearch_mlx.experiment import Assignment, Progress
from autoresearch_mlx.targets.evals.cases import Case
from autoresearch_mlx.targets.evals.conditions import EvalsConditions
from autoresearch_mlx.targets.evals.proxy import Account, Proxy
from autoresearch_mlx.targets.evals.upstream import Upstream
from autoresearch_mlx.trial.runner import Ended, Log, child_process_environment, python_command, run_child
from autoresearch_mlx.trial.sandbox.detect import Sandbox
from autoresearch_mlx.trial.sandbox.limits import MARKER, Limits, Watch
from autoresearch_mlx.trial.sandbox.permissions import (
    MOST_PROCESSES,
    Permissions,
    package,
    private_tmp,
    python_paths,
    real,
    without_secrets,
)

_START_SECONDS = 120.0
"""Longest time in seconds for importing the agent's file."""
_FILE_BYTES = 2**30
_FAILED_ANSWERS = 3
"""A case fails if the model's server fails this many times during the case, even if the server answers other calls."""
_LOOK_SECONDS, _PROBE_SECONDS = 0.5, 30.0
"""Seconds between two test calls to a server that does not answer, and the time limit of one test call."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folder in which the agent runs, and the paths that the agent may not open."""

    folder: Path
    """The agent's working directory, with copies of the files that it may read."""
    closed: tuple[Path, ...]
    """Paths of the cases, which the agent may not open even if they lie inside a readable folder."""
    sandbox: Sandbox | None
    limits: Limits


@dataclass(frozen=True, slots=True)
class Answered:
    """One case and the agent's answer to it."""

    case: Case
    repeat: int
    answer: Any
    error: str
    """Why there is no answer, or an empty string if there is an answer."""
    seconds: float
    account: Account


class Broken(Exception):
    """Raised when the agent's file cannot be imported, or when its process dies repeatedly."""

    def __init__(self, reason: str, ended: Ended) -> None:
        super().__init__(reason)
        self.ended = ended


def answer_cases(
    cases: Sequence[tuple[Case, int]],
    proxy: Proxy,
    place: Place,
    assignment: Assignment,
    log: Path,
    progress: Callable[[int], None],
    tools: Sequence[Mapping[str, Any]],
) -> list[Answered]:
    """Let the agent answer the cases in the given order; ``cases`` has pairs of a case and the number of the repeat.

    ``progress`` is called with the number of answers so far.  If the model's server does not answer, the case is
    repeated later.  Raises Broken if the agent cannot run, EndpointError if the server stays silent, and
    AutoresearchError if the server's settings are wrong.
    """
    done: list[Answered] = []
    failures = deaths = 0
    while len(done) < len(cases):
        left, before = cases[len(done) :], len(done)
        agent = _AgentProcess(left, proxy, assignment, tools, partial(_shifted, progress, before))
        ended = agent.run(place, log)
        done += agent.done
        failures = 0 if agent.done else failures
        if agent.away is not None:
            if isinstance(agent.away, AutoresearchError):
                raise agent.away
            failures += 1
            wait_for(proxy.upstream, proxy.conditions, assignment, str(agent.away))
            if failures >= _FAILED_ANSWERS:
                done.append(agent.failed(f"the model's server failed {failures} times on this case"))
                failures = 0
        elif len(done) < len(cases):
            if not agent.ready or ended.exceeded is not None:
                raise Broken(ended.exceeded or ended.killed or "", ended)
            deaths = deaths + 1 if ended.killed is None else deaths
            if deaths > max(3, len(cases) // 4):
                raise Broken(f"the agent's process ended {deaths} times", ended)
            done.append(agent.failed(ended.killed or f"the agent's process ended with exit code {ended.returncode}"))
    return done


def wait_for(upstream: Upstream, c: EvalsConditions, assignment: Assignment, why: str) -> None:
    """Wait until a model's server answers.  Raises EndpointError after ``patience_seconds``."""
    began, patience, seconds = time.monotonic(), c.patience_seconds, min(c.seconds, _PROBE_SECONDS)
    while not upstream.answers(seconds):
        if time.monotonic() - began > patience:
            hint = "start the server, then run again; this experiment was not counted"
            raise EndpointError("unreachable", f"the model's server does not answer: {why}", hint)
        assignment.watch(Progress("waiting", words="the server of the agent's model does not answer"))
        time.sleep(_LOOK_SECONDS)


def _shifted(progress: Callable[[int], None], before: int, count: int) -> None:
    progress(before + count)


class _AgentProcess:
    """One process of the agent, from the start of the process to the last case or to its early end."""

    def __init__(
        self,
        cases: Sequence[tuple[Case, int]],
        proxy: Proxy,
        assignment: Assignment,
        tools: Sequence[Mapping[str, Any]],
        progress: Callable[[int], None],
    ) -> None:
        self.done: list[Answered] = []
        self.ready = False
        self.away: Exception | None = None
        self._cases, self._proxy, self._assignment = cases, proxy, assignment
        self._tools, self._progress = tools, progress
        self._began = time.monotonic()
        self._account = Account(0)
        self._asks = -1

    def run(self, place: Place, log: Path) -> Ended:
        c = self._proxy.conditions
        hears, self._asks = os.pipe()
        permissions = Permissions(
            read=real([*python_paths(), place.folder]),
            closed=real(place.closed),
            write=(),
            listed=real([package().parent]),
            processes=MOST_PROCESSES,
            file_bytes=_FILE_BYTES,
            ports=(self._proxy.port,),
        )
        marker = uuid.uuid4().hex
        tmp = private_tmp(place.folder.parent / "scratch")
        environment = {**without_secrets(child_process_environment({})), **tmp, MARKER: marker}
        permissions = replace(permissions, write=real([Path(tmp["TMPDIR"])]))
        command = python_command("-m", "autoresearch_mlx.targets.evals.inside.agent_process", c.entry, str(hears))
        try:
            with Log(log) as output:
                return run_child(
                    command if place.sandbox is None else place.sandbox.wrap(command, permissions),
                    cwd=place.folder,
                    environment=environment,
                    log=output,
                    allowed=self._allowed,
                    on_event=self._on_event,
                    watch=Watch(replace(place.limits, folder=Path(tmp["TMPDIR"]), processes=MOST_PROCESSES), marker),
                    inherited=(hears,),
                    on_start=lambda: os.close(hears),
                )
        finally:
            self._proxy.end_case()
            self._stop_asking()

    def failed(self, reason: str) -> Answered:
        """Return the record of the current case, with ``reason`` in place of an answer."""
        case, repeat = self._cases[len(self.done)]
        return Answered(case, repeat, None, reason, time.monotonic() - self._began, self._account)

    def _allowed(self) -> str | None:
        self._progress(len(self.done))
        if self._account.away is not None:
            self.away = self._account.away
            return "the model's server does not answer"
        limit = self._proxy.conditions.seconds if self.ready else _START_SECONDS
        return f"no answer within {limit:g} s" if time.monotonic() - self._began > limit else None

    def _on_event(self, event: Mapping[str, Any]) -> None:
        if not self.ready and event.get("ready"):
            self.ready = True
            self._next()
        elif self.ready and event.get("case") == self._account.token and self._account.away is None:
            case, repeat = self._cases[len(self.done)]
            error = str(event.get("error") or "")
            seconds = time.monotonic() - self._began
            self._proxy.end_case()
            answer = None if error else event.get("answer")
            self.done.append(Answered(case, repeat, answer, error, seconds, self._account))
            self._next()

    def _next(self) -> None:
        if len(self.done) >= len(self._cases):
            self._account = Account(0)
            self._stop_asking()
            return
        case, repeat = self._cases[len(self.done)]
        self._account = self._proxy.open(self._assignment.seed + repeat)
        url, token = self._proxy.url(self._account), self._account.token
        line = json.dumps({"token": token, "input": case.input, "url": url, "tools": list(self._tools)}) + "\n"
        self._began = time.monotonic()
        data = line.encode()
        try:
            while data:
                data = data[os.write(self._asks, data) :]
        except BrokenPipeError:
            pass  # the process has ended; run_child reports that

    def _stop_asking(self) -> None:
        if self._asks >= 0:
            os.close(self._asks)
            self._asks = -1
