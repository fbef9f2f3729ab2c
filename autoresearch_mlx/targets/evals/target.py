"""Measure an agent: it answers cases in a sandbox, and another process scores its answers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from statistics import fmean
from typing import Any

from autoresearch_mlx.experiment import (
    Assignment,
    Direction,
    History,
    Measurement,
    Phase,
    Progress,
    Seconds,
    Split,
)
from autoresearch_mlx.lab.source import UNPARSABLE, parse, why_unparsable
from autoresearch_mlx.targets.contract import Finding, TargetBase
from autoresearch_mlx.targets.evals.answering import Broken, Place, answer_cases
from autoresearch_mlx.targets.evals.appraisal import TRACES, appraised, findings
from autoresearch_mlx.targets.evals.cases import Case, Part
from autoresearch_mlx.targets.evals.conditions import EvalsConditions, cases_path, own_files
from autoresearch_mlx.targets.evals.probe import sandbox_breach
from autoresearch_mlx.targets.evals.proxy import Proxy
from autoresearch_mlx.targets.evals.scorer import Scorer
from autoresearch_mlx.targets.evals.scoring import Scored, score_all
from autoresearch_mlx.targets.evals.upstream import Upstream
from autoresearch_mlx.trial.autopsy import how_it_ended
from autoresearch_mlx.trial.blame import blame, not_counted
from autoresearch_mlx.trial.sandbox.detect import Sandbox
from autoresearch_mlx.trial.sandbox.limits import Limits

_SMOKE_CASES = 2
_AGENT = "agent"
"""Name of the folder, inside a run's folder, for copies of the files that the agent may read."""
_SLACK = {"tokens": 0.0, "seconds": 0.0, "errors": 0.02}
"""Rise of a secondary figure that is always allowed.  Limits are shares of the figure, so without this allowance a
figure of 0 could never rise."""


@dataclass(frozen=True, slots=True)
class Evals(TargetBase):
    """An agent and the cases that score it."""

    conditions: EvalsConditions
    root: Path
    """The lab's folder.  The cases and the user's own code are read from it, and never from the worktree."""
    parts: Mapping[Part, tuple[Case, ...]]
    editable: tuple[str, ...]
    metric: str = "score"
    direction: Direction = "max"
    sandbox: Sandbox | None = None
    open_because: str = ""
    """Why runs are not confined, or an empty string if runs are confined."""
    limits: Limits = field(default_factory=Limits)
    machine: Mapping[str, Any] = field(default_factory=dict)
    name: str = "evals"

    @property
    def splits(self) -> tuple[Split, ...]:
        return ("val", "hidden") if len(self.parts["hidden"]) > 1 else ("val",)

    def lanes_refused(self) -> str | None:
        return None if self.conditions.script else "two runs would share the model's server, and slow each other down"

    def certify_refused(self) -> str | None:
        if self.sandbox is None:
            return f"the agent runs without a sandbox, so it could read the hidden cases: {self.open_because}"
        if len(self.parts["hidden"]) < 2:
            found = len(self.parts["hidden"])
            return f"a certificate needs two hidden cases, and dev_share and guard_share leave {found} hidden"
        return None

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Return why a file is refused: it is Python that does not parse, or the agent's file without the entry
        function."""
        file, _, function = self.conditions.entry.rpartition(":")
        for path, text in files.items():
            if path.endswith(".py"):
                try:
                    tree = parse(text)
                except UNPARSABLE as error:
                    return f"{path} does not parse: {why_unparsable(error)}"
                names = {getattr(node, "name", None) for node in tree.body}
                if path == file and function not in names:
                    call = f"{function}(question, tools)"
                    return f"{path} lacks {function}() at the top level; the harness calls it as {call}"
        return None

    def smoke(self, assignment: Assignment) -> Measurement | None:
        """Let the agent answer two dev cases; the run fails if the agent answers neither, or cannot be imported."""
        cases = [(case, 0) for case in self.parts["dev"][:_SMOKE_CASES]]
        return self._measured(assignment, {"dev": cases}, "smoke")

    def measure(self, assignment: Assignment) -> Measurement:
        """Let the agent answer the dev and guard cases, or for a certificate the hidden cases, and score the answers.

        Raises EndpointError if the model's server does not answer, so that the experiment does not count.
        """
        wanted: tuple[Part, ...] = ("dev", "guard") if assignment.split == "val" else ("hidden",)
        repeats = range(self.conditions.repeats)
        return self._measured(assignment, {p: [(case, r) for r in repeats for case in self.parts[p]] for p in wanted})

    def _measured(
        self, assignment: Assignment, todo: Mapping[Part, Sequence[tuple[Case, int]]], phase: Phase = "train"
    ) -> Measurement:
        began, log = time.monotonic(), assignment.folder / "log.txt"
        place = Place(self._laid_out(assignment), self._closed(), self.sandbox, self.limits)
        whole = sum(map(len, todo.values()))
        c, scored = self.conditions, dict[Part, list[Scored]]()
        with Scorer(self.root, c.tools, c.script, assignment.folder) as scorer:
            upstream = _upstream(c, c.model, c.endpoint, scorer)
            judge = upstream if not c.judge_model else _upstream(c, c.judge_model, c.judge_endpoint, scorer)
            tools = scorer.ask(do="tools")
            if "error" in tools:
                return self._failed(assignment, f"{c.tools} cannot be loaded: {tools['error']}", began)
            with Proxy(c, upstream, scorer) as proxy:
                done = 0
                for part, cases in todo.items():

                    def progress(count: int, before: int = done) -> None:
                        assignment.watch(Progress(phase, share=(before + count) / max(1, whole)))

                    # The agent's output on guard and hidden cases must not reach the agent that proposes the next
                    # edit.
                    output = log if part == "dev" else assignment.folder / f"{part}.txt"
                    try:
                        answered = answer_cases(cases, proxy, place, assignment, output, progress, tools["tools"])
                    except Broken as error:
                        reason = str(error) or how_it_ended(error.ended.returncode, output)
                        return not_counted(self._failed(assignment, reason, began), blame(error.ended, output))
                    done += len(cases)
                    scored[part] = score_all(answered, scorer, judge, c, assignment)
        for left in (_AGENT, "scratch"):
            shutil.rmtree(assignment.folder / left, ignore_errors=True)
        if phase == "smoke":
            errors = [s.answered.error for s in scored["dev"]]
            if errors and all(errors) and not any(s.answered.account.refused for s in scored["dev"]):
                return self._failed(assignment, errors[0], began)
        return self._result(assignment, scored, began)

    def _result(self, assignment: Assignment, scored: Mapping[Part, list[Scored]], began: float) -> Measurement:
        first = next(iter(scored))
        counted, guard = scored[first], scored.get("guard", [])
        if first == "dev":
            (assignment.folder / TRACES).write_text("".join(s.trace() for s in counted), encoding="utf-8")
        if wrong := next((s.broken for s in (*counted, *guard) if s.broken), ""):
            return self._failed(assignment, wrong, began, "invalid")
        cases = _means(counted)
        figures = _figures(counted)
        c = self.conditions
        limits = {"tokens": c.tokens_limit, "seconds": c.seconds_limit, "errors": c.errors_limit}
        tags = {tag for s in counted for tag in s.answered.case.tags}
        extra = {
            "cases": cases,
            **({"guard": _means(guard)} if guard else {}),
            "secondary": {
                name: {"value": figures[name], "limit": limit, "slack": _SLACK[name]} for name, limit in limits.items()
            },
            "tags": {t: round(fmean(s.score for s in counted if t in s.answered.case.tags), 4) for t in sorted(tags)},
            "model_calls": sum(s.answered.account.calls for s in counted),
            "tool_calls": sum(s.answered.account.tool_calls for s in counted),
            "over_budget": sum(bool(s.answered.account.refused) for s in counted),
        }
        seconds = Seconds(train=round(time.monotonic() - began, 3))
        value = fmean(cases.values())
        log = "log.txt" if first == "dev" else None
        return Measurement(value, assignment.seed, seconds=seconds, log=log, extra=extra, machine=self.machine)

    def _failed(self, assignment: Assignment, reason: str, began: float, failure: Any = "crash") -> Measurement:
        seconds = Seconds(train=round(time.monotonic() - began, 3))
        log = "log.txt" if (assignment.folder / "log.txt").exists() else None
        return Measurement(None, assignment.seed, failure, reason, seconds=seconds, log=log, machine=self.machine)

    def _laid_out(self, assignment: Assignment) -> Path:
        """Copy the files that the agent may read into a new folder, and return the folder.

        The folder has no other file of the lab, and so no file of cases.
        """
        folder = assignment.folder / _AGENT
        shutil.rmtree(folder, ignore_errors=True)
        hidden = {*own_files(self.conditions, self.parts["dev"] + self.parts["guard"] + self.parts["hidden"])}
        for path in sorted(assignment.tree.rglob("*")):
            name = path.relative_to(assignment.tree).as_posix()
            wanted = any(fnmatch(name, pattern) for pattern in (*self.editable, *self.conditions.files))
            if wanted and name not in hidden and path.is_file() and not path.is_symlink():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / name)
        folder.mkdir(exist_ok=True)
        return folder

    def _closed(self) -> tuple[Path, ...]:
        """Return the files with answers, which the sandbox keeps closed even if they lie in a readable folder."""
        from autoresearch_mlx.lab.assets import asset

        shipped = [asset(f"examples/tool-agent/{name}") for name in ("cases.jsonl", "model.py")]
        return (cases_path(self.conditions, self.root), *shipped)

    # --- the other protocols

    def findings(self, folder: Path, history: History) -> str:
        """Return the incumbent's failed dev cases with their traces, and cases that later experiments won or lost."""
        return findings(folder, history)

    def appraise(self, runs: Sequence[Measurement]) -> Sequence[Finding]:
        """Return findings on whether the dev cases are too easy, too hard, or too few."""
        return appraised(runs)

    def unconfined_because(self, private: Sequence[Path]) -> str | None:
        """Test the sandbox with a real child process; return why the sandbox fails, or None if it works."""
        if self.sandbox is None:
            return self.open_because
        return sandbox_breach(self.sandbox, [cases_path(self.conditions, self.root), *private])

    def without_sandbox(self, why: str) -> Evals:
        """Return the same target without a sandbox; its measurements record the reason ``why``."""
        machine = {**self.machine, "sandbox": f"none ({why})"}
        return replace(self, sandbox=None, open_because=why, machine=machine)


def _upstream(c: EvalsConditions, model: str, endpoint: str, scorer: Scorer) -> Upstream:
    address = "" if model.startswith("scripted:") else endpoint
    return Upstream(model, address, c.api_key_env, c.temperature, c.max_tokens, scorer)


def _means(scored: Sequence[Scored]) -> dict[str, float]:
    """Return the mean score of each case over its repeats."""
    scores: dict[str, list[float]] = {}
    for s in scored:
        scores.setdefault(s.answered.case.id, []).append(s.score)
    return {case: round(fmean(found), 6) for case, found in scores.items()}


def _figures(scored: Sequence[Scored]) -> dict[str, float | None]:
    """Return the mean tokens and seconds of a case, and the share of cases with an error; None means unknown."""
    tokens = [s.answered.account.tokens for s in scored]
    known = [t for t in tokens if t is not None]
    return {
        "tokens": round(fmean(known), 1) if len(known) == len(tokens) else None,
        "seconds": round(fmean(s.answered.seconds for s in scored), 4),
        "errors": round(fmean(bool(s.answered.error) for s in scored), 4),
    }
