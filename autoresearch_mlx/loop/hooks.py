"""Run the user's own shell lines before and after each experiment: ``before`` and ``after`` under ``[hooks]``.

Each hook gets one JSON object on its standard input.  The object has the same keys as in pi-autoresearch, so hooks that
were written for pi-autoresearch run here too.  The agent that proposes the next edit gets the output of the hooks.  If
a hook fails, a message says so, and the night goes on.  docs/hooks.md describes both hooks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

from autoresearch_mlx import terms
from autoresearch_mlx.errors import LedgerError
from autoresearch_mlx.experiment import Agent, Context, Experiment, History, Progress, Proposal, Tenant
from autoresearch_mlx.judge.history import standing
from autoresearch_mlx.lab.tool_settings import HookSettings
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.store.journal import Event, read_events, writing
from autoresearch_mlx.trial.orphans import WORKS_IN
from autoresearch_mlx.trial.runner import child_process_environment
from autoresearch_mlx.trial.sandbox.limits import MARKER, Limits, Watch, end_strays

FILE = "hooks.jsonl"
SECONDS = 30.0
"""Seconds after which a hook that has not ended is killed."""
LONGEST = 8192
"""Largest number of bytes of a hook's output that are used; the rest of a longer output is dropped."""
_LAST_WORDS_SECONDS = 2.0
"""Longest wait for the rest of a hook's output after the hook has ended, in seconds.

A process that the hook started may keep the pipe open.
"""
Name: TypeAlias = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of one run."""

    wanted: HookSettings
    session: Session
    screen: Screen

    def before(self, context: Context) -> tuple[str, ...]:
        """Run the hook ``before``; return its output and the output of the last hook ``after``."""
        self._run(self.wanted.before, "before", context.number, context.history)
        return said(self.session.folder, context.number)

    def after(self, done: Experiment) -> None:
        """Run the hook ``after`` for an experiment that is in the ledger."""
        try:
            history = self.session.journal().history
        except LedgerError as error:
            self.screen.say(f"the hook after #{done.number} did not run: {error}")
            return
        self._run(self.wanted.after, "after", done.number, history, run_entry=_entry(done))

    def _run(self, line: str | None, name: Name, number: int, history: History, **more: Any) -> None:
        if line is None:
            return
        last = max((e for e in history.experiments), key=lambda e: e.number, default=None)
        if name == "before":
            more = {"next_run": number, "last_run": None if last is None else _entry(last)}
        cwd = self.session.workspace.top / self.session.workspace.prefix
        told = {"event": name, "cwd": str(cwd), **more, "session": self._about(history)}
        ran = run_hook(line, told, cwd, self.session.folder)
        if ran.problem:
            self.screen.say(f"the hook {name} #{number} {ran.problem}; the night goes on")
        try:
            with writing(self.session.folder / FILE) as journal:
                journal.append(name, number=number, seconds=ran.seconds, text=ran.text, problem=ran.problem)
        except LedgerError as error:
            self.screen.say(f"what the hook {name} #{number} printed is lost: {error}")

    def _about(self, history: History) -> dict[str, Any]:
        best, baseline = history.incumbent, history.baseline
        heading = next(filter(None, (line.strip("# \t") for line in self.session.program.splitlines())), "")
        return {
            "metric_name": history.metric,
            "direction": "lower" if history.direction == "min" else "higher",
            "baseline_metric": None if baseline is None else baseline.value,
            "best_metric": None if best is None else standing(history, best),
            "run_count": len(history.experiments),
            "goal": heading or self.session.tag,
            "tag": self.session.tag,
            "branch": self.session.workspace.branch,
            "folder": str(self.session.folder),
        }


def _entry(e: Experiment) -> dict[str, Any]:
    """Return an experiment as the JSON object that describes it to a hook."""
    return {
        "run": e.number,
        "status": e.status,
        "metric": e.value,
        "description": e.title,
        "asi": {"hypothesis": e.rationale} if e.rationale else {},
        "gain": e.gain,
        "reason": e.reason,
        "commit": e.commit,
        "agent": e.agent,
    }


def said(folder: Path, number: int) -> tuple[str, ...]:
    """Return the output of the last hook ``after``, and the output of the hook ``before`` for experiment ``number``.

    An empty output is left out.  If the hooks' journal cannot be read, nothing is returned.
    """
    try:
        events = read_events(folder / FILE).events
    except LedgerError:
        return ()
    after = [_text(event) for event in events if event["event"] == "after"][-1:]
    before = [_text(e) for e in events if e["event"] == "before" and e.get("number") == number][-1:]
    return tuple(text for text in (*after, *before) if text)


def _text(event: Event) -> str:
    """Return the output of a hook as text, followed by the reason if the hook failed."""
    text, problem = (str(event.get(name) or "").strip() for name in ("text", "problem"))
    failed = f"(This hook {problem}.)" if problem else ""
    return "\n".join(filter(None, (text, failed)))


# --- one call


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of one hook."""

    text: str
    """Standard output of the hook, cut to LONGEST bytes."""
    problem: str
    """What went wrong, as the end of a sentence that begins with the hook's name; empty if nothing went wrong."""
    seconds: float


def run_hook(line: str, told: Mapping[str, Any], cwd: Path, folder: Path, seconds: float = SECONDS) -> Ran:
    """Run a shell line with the JSON object ``told`` on its standard input, and kill the processes that it leaves.

    ``folder`` is the session's folder.  If this process dies, the next run ends the processes of the hook.  A hook that
    fails raises no error.
    """
    began, marker = time.monotonic(), uuid.uuid4().hex
    environment = child_process_environment({MARKER: marker, WORKS_IN: str(folder.resolve())})
    try:
        with tempfile.TemporaryFile() as given:
            given.write(json.dumps(dict(told)).encode() + b"\n")
            given.seek(0)
            child = subprocess.Popen(
                ["/bin/sh", "-c", line],
                cwd=cwd,
                env=environment,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        return Ran("", f"could not be started: {error}", 0.0)
    assert child.stdout is not None and child.stderr is not None
    output, errors = _Reader(child.stdout), _Reader(child.stderr)
    late = False
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # the hook, or processes that it left in its group
        child.wait()
        end_strays(Watch(Limits(), marker))
        output.end()
        errors.end()
    spent = round(time.monotonic() - began, 3)
    return Ran(output.text(), _problem(child.returncode, late, seconds, errors.text()), spent)


def _problem(returncode: int, late: bool, seconds: float, errors: str) -> str:
    if late:
        return f"did not end within {seconds:g} s and was killed"
    if returncode == 0:
        return ""
    how = f"was ended by signal {-returncode}" if returncode < 0 else f"failed with exit code {returncode}"
    last = terms.one_line(errors.strip().rpartition("\n")[2])[-200:]
    return f"{how}: {last}" if last else how


class _Reader:
    """Reads a pipe to its end in a thread, and keeps the first LONGEST bytes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._kept, self._cut = pipe, b"", False
        self._thread = threading.Thread(target=self._read, name="hook", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            while data := os.read(self._pipe.fileno(), 65536):
                left = LONGEST - len(self._kept)
                self._kept, self._cut = self._kept + data[:left], self._cut or len(data) > left

    def end(self) -> None:
        self._thread.join(_LAST_WORDS_SECONDS)
        if not self._thread.is_alive():
            self._pipe.close()

    def text(self) -> str:
        """Return the text that was read, without control characters.

        If the text was cut, a note at its end says so.
        """
        text = terms.printable(self._kept.decode(errors="replace"))
        return f"{text}\n(cut after {LONGEST:,} bytes)" if self._cut else text


# --- the agent and the screen of a run with hooks


def with_hooks(wanted: HookSettings | None, session: Session, agent: Agent, screen: Screen) -> tuple[Agent, Screen]:
    """Return the agent and the screen of a run, wrapped so that the hooks run before and after each experiment.

    Without hooks, both are returned unchanged.  With hooks, the agent does not think ahead, because the next proposal
    may depend on what a hook prints about the running experiment.
    """
    if wanted is None or (wanted.before is None and wanted.after is None):
        return agent, screen
    hooks = Hooks(wanted, session, screen)
    return _HookedAgent(agent, hooks), _HookedScreen(screen, hooks)


class _HookedAgent:
    """An agent that runs the hook ``before``, and then asks the wrapped agent with the output of the hooks."""

    def __init__(self, agent: Agent, hooks: Hooks) -> None:
        self.name = agent.name
        self._agent, self._hooks = agent, hooks

    def propose(self, context: Context) -> Proposal:
        """Return the agent's proposal.  When a refused proposal is repaired, the hook does not run again."""
        texts = said(self._hooks.session.folder, context.number) if context.feedback else self._hooks.before(context)
        return self._agent.propose(replace(context, hooks=texts))

    def make_room(self, context: Context) -> Mapping[str, float]:
        return self._agent.make_room(context) if isinstance(self._agent, Tenant) else {}

    def close(self) -> None:
        """Do nothing, because the caller that made the agent closes it."""


class _HookedScreen:
    """A screen that runs the hook ``after`` when an experiment is finished."""

    def __init__(self, screen: Screen, hooks: Hooks) -> None:
        self._screen, self._hooks = screen, hooks

    def say(self, text: str) -> None:
        self._screen.say(text)

    def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
        self._screen.started(number, title, incumbent, eta_seconds)

    def progress(self, progress: Progress) -> None:
        self._screen.progress(progress)

    def finished(self, experiment: Experiment) -> None:
        """Show the experiment, and run the hook unless a person or the machine interrupted the experiment."""
        self._screen.finished(experiment)
        if experiment.status != "interrupted":
            self._hooks.after(experiment)

    def close(self) -> None:
        self._screen.close()
