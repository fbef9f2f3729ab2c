"""Ask a coding agent for one edit, and take the changes that the agent left in the worktree."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoresearch_mlx.agents.command.patience import Patience
from autoresearch_mlx.agents.command.shell import Called, call, secrets
from autoresearch_mlx.agents.command.worktree_changes import (
    Changes,
    changes,
    last_line,
    stamps,
    title_of,
    why_of,
    write_exactly,
)
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.presets import lacks_permission, program_of
from autoresearch_mlx.errors import AgentError, WorkspaceError
from autoresearch_mlx.experiment import Context, History, Proposal
from autoresearch_mlx.lab.source import changed_knobs, describe
from autoresearch_mlx.store import talks
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.laid_out import layout_settings, named
from autoresearch_mlx.trial.autopsy import how_it_ended

if TYPE_CHECKING:
    from autoresearch_mlx.agents.prompt.brief import Brief

NAMED = 5
"""Number of ignored paths that a message names; of further paths, the message gives only the number."""
LOST_IN_A_ROW = 5
"""Number of experiments in a row without an edit after which the agent gives up."""
_NOT_STARTED = (126, 127)
_DIFF_LINES = 200
_OUTPUT = 40_000
"""Number of characters of the output that are kept with the conversation; the log keeps a megabyte."""


@dataclass(slots=True)
class _Asked:
    """The calls that were made for one experiment so far."""

    number: int
    seconds: float = 0.0
    logs: list[str] = field(default_factory=list)
    calls: int = 0
    last: Proposal | None = None


class CodingAgent:
    """An agent that runs a shell command and proposes the changes that the command made to the files.

    ``lend(commit)`` lends the agent the lab's directory in the session's worktree, and restores the directory
    afterwards.  ``may_edit`` decides which new files belong to the edit; with None, no new file belongs to the edit.
    """

    def __init__(
        self,
        line: str,
        office: Office,
        lend: Callable[[str], AbstractContextManager[Path]],
        may_edit: Callable[[str], bool] | None = None,
        name: str = "command",
    ) -> None:
        self.name = name
        self._line, self._office, self._lend = line, office, lend
        self._may_edit = may_edit or (lambda path: False)
        self._asked = _Asked(-1)
        self._lost: list[int] = []
        """Numbers of the latest experiments, if the program made no edit in any of them."""
        self._why_lost = ""
        self._patience = Patience(office.settings.patience_seconds)

    def propose(self, context: Context) -> Proposal:
        """Return the program's edit, or a Proposal whose problem tells the program what is wrong.

        Raises AgentAway while the agent's service has an outage or the user's limit is used up.  Raises AgentError when
        the agent cannot be started or made no edit in the last five experiments.  Raises WorkspaceError when the
        worktree cannot be lent, or when the agent changed how git writes files.
        """
        if self._asked.number != context.number or not context.feedback:
            self._asked = _Asked(context.number)
            self._refuse_to_go_on()
        elif self._asked.last is not None and self._is_in_vain(self._asked.last):
            return self._asked.last  # a repeated answer ends the experiment; a further call would cost money
        prompt = self._prompt(context)
        with self._log() as log, self._lend(_incumbent(context)) as tree:
            try:
                write_exactly(tree, context.files)
                before, layout = stamps(tree), layout_settings(tree)
                seconds = self._office.settings.command_seconds
                called = call(self._line, tree, prompt, context.number, seconds, log, list(context.files))
                found = changes(tree, context.files, before, self._may_edit)
            except OSError as error:
                raise AgentError(
                    f"the coding agent's call failed: {error}", "free some space, then run again"
                ) from error
            _same_layout(layout, layout_settings(tree))
            self._count(called, log)
            self._keep(called, prompt)
            problem = self._problem(called, found, log, context.history)
        self._asked.last = self._proposal(context, called, found, prompt, problem)
        return self._asked.last

    def _prompt(self, context: Context) -> str:
        """Return the brief; if the last edit was refused, add the reason and the refused edit."""
        from autoresearch_mlx.agents.prompt.brief import agent_brief
        from autoresearch_mlx.agents.prompt.quoting import block

        brief, last = agent_brief(context), self._asked.last
        if last is None or not last.files:
            return brief
        edit = "\n".join(line for path, text in last.files.items() for line in _diff(path, context.files, text))
        told = "The files are as they were before your refused edit. Correct the edit and make it again. It was:"
        return f"{brief}\n# Your refused edit\n\n{told}\n\n{block(edit, 'diff')}\n"

    @contextmanager
    def _log(self) -> Iterator[Path]:
        """Yield the path of a log for the output: in the session's folder, or a temporary file without a session."""
        if self._office.folder is None:
            with tempfile.TemporaryDirectory() as nowhere:
                yield Path(nowhere) / "output.log"
            return
        folder, prefix = self._office.folder / talks.FOLDER, f"{self._asked.number:04d}-"
        folder.mkdir(parents=True, exist_ok=True)
        yield folder / f"{prefix}{1 + len(list(folder.glob(f'{prefix}*.log')))}.log"

    def _count(self, called: Called, log: Path) -> None:
        asked = self._asked
        asked.calls += 1
        asked.seconds += called.ended.seconds
        if self._office.folder is not None:
            asked.logs.append(log.relative_to(self._office.folder).as_posix())

    def next_brief(self, context: Context) -> Brief:
        """Return the prompt of the next call without starting anything."""
        from autoresearch_mlx.agents.prompt.brief import Brief, agent_brief
        from autoresearch_mlx.agents.prompt.tokens import estimate

        prompt = agent_brief(context)
        return Brief("", prompt, estimate(prompt), ())

    def _keep(self, called: Called, prompt: str) -> None:
        """Store the conversation.  The number of tokens is unknown, because the program does not report it."""
        if self._office.folder is None:
            return
        whole = talks.Call(
            experiment=self._asked.number,
            model=self.name,
            purpose=talks.COMMAND,
            messages=[{"role": "user", "content": prompt}],
            time=now(),
            reply=called.output[-_OUTPUT:],
            finish=called.ended.killed or f"exit code {called.ended.returncode}",
            think_seconds=round(called.ended.seconds, 3),
        )
        talks.keep(self._office.folder, whole, secrets(os.environ))

    def _problem(self, called: Called, found: Changes, log: Path, history: History) -> str:
        """Return why there is no edit, as text; an empty string when there is an edit.

        Raises AgentError when asking again cannot help, and AgentAway when asking again later may help.
        """
        ended, changed = called.ended, bool(found.files or found.problems)
        if ended.killed is None and not changed and ended.returncode in _NOT_STARTED:
            said = f"the coding agent cannot be started: {how_it_ended(ended.returncode, log)}"
            raise AgentError(
                said,
                "try its shell line by hand; the line is [agent] command in lab.toml, or LINE in --agent command:LINE",
            )
        if changed and ended.killed is None:
            self._patience.answered()
        else:
            self._patience.check(called, log, any(e.agent == self.name and e.measurements for e in history.experiments))
        if ended.killed is not None:
            return self._lose(f"the agent {ended.killed}")
        if ended.returncode != 0 and not changed:
            return self._lose(f"the agent changed no editable file: {how_it_ended(ended.returncode, log)}")
        if not changed:
            said = last_line(called.output)
            words = f"the agent changed no editable file{_ignored(found)}"
            words += f" ({lacking})" if (lacking := lacks_permission(self._line)) else ""
            return self._lose(words + (f"; its last line: {said}" if said else ""))
        self._lost.clear()
        return "; ".join(found.problems)

    def _lose(self, problem: str) -> str:
        if self._asked.number not in self._lost:
            self._lost.append(self._asked.number)
        self._why_lost = problem
        return problem

    def _is_in_vain(self, last: Proposal) -> bool:
        """Return whether it is useless to ask again: the agent made no edit now and in the experiment before."""
        return self._asked.number in self._lost and len(self._lost) > 1 and not last.files

    def _refuse_to_go_on(self) -> None:
        """Raise AgentError when the latest five experiments in a row had no edit."""
        if len(self._lost) < LOST_IN_A_ROW:
            return
        said = f"{LOST_IN_A_ROW} experiments in a row had no edit; the last one: {self._why_lost}"
        raise AgentError(said, _remedy(self._line))

    def _proposal(self, context: Context, called: Called, found: Changes, prompt: str, problem: str) -> Proposal:
        why = why_of(called.output, prompt)
        notes = [why] if why else []
        if called.ended.returncode != 0 and not problem:
            notes.append(f"The program ended with exit code {called.ended.returncode}.")
        if found.ignored:
            notes.append(f"Changes of other files are left out: {_few(found.ignored)}.")
        title = title_of(called.output, prompt)
        return Proposal(
            title="no usable edit" if problem else title or _described(context, found),
            files={} if problem else found.files,
            rationale="\n".join(notes),
            agent=self.name,
            problem=problem,
            talk=self._talk(),
        )

    def _talk(self) -> dict[str, Any]:
        asked = self._asked
        return {
            "agent": self.name,
            "calls": asked.calls,
            "think_seconds": round(asked.seconds, 3),
            "files": list(asked.logs),
        }


def _remedy(line: str) -> str:
    """Return what the user can do if the agent makes no edit."""
    lacking = lacks_permission(line)
    known = f"{lacking}; `--agent {program_of(line)}` passes that option" if lacking else ""
    sandbox = "the agent's sandbox may be read-only, or the agent may lack the permission to edit without asking"
    more = "try its shell line by hand, or raise command_seconds under [agent] in lab.toml"
    return f"{known or sandbox}; {more}"


def _incumbent(context: Context) -> str:
    best = context.history.incumbent
    if best is None or best.commit is None:
        raise AgentError("there is no incumbent to edit", "`autoresearch-mlx run` measures a baseline first")
    return best.commit


def _diff(path: str, before: Mapping[str, str], text: str) -> list[str]:
    lines = difflib.unified_diff(before.get(path, "").splitlines(), text.splitlines(), path, path, lineterm="", n=1)
    shown = list(lines)
    more = len(shown) - _DIFF_LINES
    return [*shown[:_DIFF_LINES], f"... {more} more lines"] if more > 0 else shown


def _ignored(found: Changes) -> str:
    return f"; changes of other files are left out: {_few(found.ignored)}" if found.ignored else ""


def _few(paths: tuple[str, ...]) -> str:
    more = len(paths) - NAMED
    return ", ".join(paths[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _described(context: Context, found: Changes) -> str:
    changed = (changed_knobs(context.files.get(path, ""), text) for path, text in found.files.items())
    knobs = {name: change for each in changed for name, change in each.items()}
    return describe(knobs) or f"change of {', '.join(found.files)}"


def _same_layout(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise WorkspaceError if a call changed git's filters.

    With other filters, the files of later runs would differ from their commits.
    """
    if changed := sorted(name for name in {*before, *after} if before.get(name) != after.get(name)):
        hint = "undo that change (`git config --list --show-origin` names the files), then run again"
        raise WorkspaceError(f"the coding agent changed how git writes files: {named(changed)}", hint)
