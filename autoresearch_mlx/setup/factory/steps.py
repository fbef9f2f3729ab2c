"""Carry out the stages of one problem, from its specification to the shipped agent.

Each stage writes its results to the disk, then appends its event to the ledger, and returns a line for the user.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from autoresearch_mlx import terms
from autoresearch_mlx.lab.lab import write_whole
from autoresearch_mlx.setup.factory.build import AgentModel, fixed_files, lay_out, write_agent
from autoresearch_mlx.setup.factory.cases import (
    DEV_SHARE,
    FILE,
    GUARD_SHARE,
    Cases,
    text_of,
    written_by_model,
    written_by_user,
)
from autoresearch_mlx.setup.factory.improve import SATURATED, improve
from autoresearch_mlx.setup.factory.ledger import Book, Factory, Problem, Stage
from autoresearch_mlx.setup.factory.model import Staff
from autoresearch_mlx.setup.factory.ship import ship
from autoresearch_mlx.setup.factory.specs import spec_text, write_spec
from autoresearch_mlx.setup.factory.verify import verify
from autoresearch_mlx.store.git import resolve
from autoresearch_mlx.targets.contract import Say
from autoresearch_mlx.targets.evals.cases import PARTS, split


class Steps:
    """Carries out the stages of a factory's problems."""

    def __init__(self, book: Book, staff: Callable[[], Staff], agent_model: Callable[[], AgentModel], say: Say) -> None:
        """Store the arguments.

        ``staff`` and ``agent_model`` are functions that find the models.  They are called only when a stage needs a
        model, because the search takes time.
        """
        self._book, self._staff, self._agent_model, self._say = book, staff, agent_model, say

    def next(self, state: Factory, problem: Problem) -> str:
        """Carry out the next stage of a problem, and return a line for the user."""
        steps = {
            "spec": self._spec,
            "cases": self._cases,
            "build": self._build,
            "verify": self._verify,
            "improve": self._improve,
            "ship": self._ship,
        }
        return f"{problem.stage} {problem.id}: {steps[problem.stage](state, problem)}"

    def _discard(self, problem: Problem, stage: Stage, reason: str) -> str:
        self._book.append("discarded", problem=problem.id, stage=stage, reason=reason)
        return f"discarded: {terms.one_line(reason)}"

    def _spec(self, state: Factory, problem: Problem) -> str:
        asker = self._staff().writer
        answer = write_spec(asker, problem)
        if answer.value is None:
            return self._discard(problem, "spec", f"the model gave no usable specification: {answer.fault}")
        folder = self._book.folder(problem)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "spec.md", spec_text(answer.value))  # for a person who wants to write the cases
        self._book.append("spec", problem=problem.id, spec=answer.value, model=asker.endpoint.name)
        return str(answer.value["title"])

    def _cases(self, state: Factory, problem: Problem) -> str:
        folder, own = self._case_folder(problem), self._book.folder(problem)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        found: Cases | None = written_by_user(own, folder)
        by = "the user"
        if found is not None:
            for path in own.glob("*.py"):
                shutil.copyfile(path, folder / path.name)
        else:
            by = self._staff().examiner.endpoint.name
            found = written_by_model(self._staff().examiner, problem, state.options.cases, folder)
        if found.examined is None:
            return self._discard(problem, "cases", found.fault)
        examined, text = found.examined, text_of(found.examined.cases)
        (folder / FILE).write_text(text, encoding="utf-8")
        counts = found.counts()
        parts = split(examined.cases, DEV_SHARE, GUARD_SHARE)
        passed = {part: sum(case.id in examined.constant_passes for case in parts[part]) for part in PARTS}
        trivial = {part: passed[part] / counts[part] for part in PARTS}
        self._book.append(
            "cases",
            problem=problem.id,
            by=by,
            counts=counts,
            dropped=[list(each) for each in examined.dropped],
            trivial={"empty": 0.0, "echo": 0.0, "constant": examined.share, **trivial},
            constant=examined.constant[:200],
            sha256=hashlib.sha256(text.encode()).hexdigest(),
        )
        dropped = f", {len(examined.dropped)} dropped" if examined.dropped else ""
        split_words = ", ".join(f"{n} {part}" for part, n in counts.items())
        words = f"{terms.plural(len(examined.cases), 'case')} by {by} ({split_words}){dropped}"
        return (
            f"{words}; no case accepts an empty answer or the question itself,"
            f" and {examined.share:.0%} of the cases accept the best constant answer"
        )

    def _case_folder(self, problem: Problem) -> Path:
        return self._book.work / "cases" / problem.id

    def _build(self, state: Factory, problem: Problem) -> str:
        refused = str(problem.refusals[-1]["reason"]) if problem.refusals else ""
        if len(problem.builds) >= state.options.builds:
            builds = terms.plural(len(problem.builds), "build")
            return self._discard(problem, "verify", f"{refused} ({builds})")
        asker, cases, lab = self._staff().writer, self._case_folder(problem) / FILE, self._book.lab(problem)
        answer = write_agent(asker, problem, cases, refused)
        if answer.value is None:
            return self._discard(problem, "build", f"the model gave no usable program: {answer.fault}")
        lab.parent.mkdir(parents=True, exist_ok=True)
        model = self._agent_model()
        lay_out(problem, lab, cases, answer.value, model)
        attempt = len(problem.builds) + 1
        self._book.append(
            "built",
            problem=problem.id,
            attempt=attempt,
            files=sorted(answer.value),
            commit=resolve(lab, "HEAD"),
            fixed=fixed_files(lab),
            model=asker.endpoint.name,
        )
        return f"wrote {' and '.join(sorted(answer.value))}, build {attempt} of at most {state.options.builds}"

    def _private(self, problem: Problem) -> tuple[Path, ...]:
        """Return the paths outside the agent's lab that the agent may not open."""
        return (self._book.path, self._book.posts, self._case_folder(problem) / FILE)

    def _verify(self, state: Factory, problem: Problem) -> str:
        folder = self._book.work / "runs" / problem.id / "verify"
        found = verify(problem, self._book.lab(problem), folder, self._private(problem), self._say)
        if found.fault:
            self._book.append(
                "refused", problem=problem.id, attempt=len(problem.builds), reason=found.fault, **found.told()
            )
            return f"build {len(problem.builds)} refused: {terms.one_line(found.fault)}"
        self._book.append("verified", problem=problem.id, attempt=len(problem.builds), **found.told())
        return f"build {len(problem.builds)} passed: {found.checks[-1][1]}"

    def _improve(self, state: Factory, problem: Problem) -> str:
        assert problem.verified is not None
        lab, wanted = self._book.lab(problem), state.options.experiments
        dev, guard = problem.verified["dev"], problem.verified["guard"]
        if wanted == 0 or dev == guard == 1.0:
            reason = SATURATED if wanted else "no experiments were asked for"
            told = {"experiments": 0, "kept": 0, "before": dev, "after": dev, "tokens": 0}
            self._book.append(
                "improved", problem=problem.id, commit=problem.builds[-1]["commit"], reason=reason, **told
            )
            return f"no experiments: {reason}"
        proposer = self._staff().proposer()
        self._staff().close()  # if this program has started a model's server, the loop starts it again
        found, fault = improve(lab, wanted, proposer, self._private(problem), self._say)
        if found is None:
            return self._discard(problem, "improve", fault)
        if found.experiments < wanted:
            self._staff().must_answer()
        self._book.append("improved", problem=problem.id, **found.told())
        values = f"dev {found.before:.2f} -> {found.after:.2f}"
        return f"{terms.plural(found.experiments, 'experiment')}, {found.kept} kept, {values}"

    def _ship(self, state: Factory, problem: Problem) -> str:
        made_by, cost = self._staff().writer.endpoint.name, self._staff().spent(problem)
        card, reason = ship(self._book, state, problem, made_by, cost, self._private(problem), self._say)
        if card is None:
            return self._discard(problem, "ship", reason)
        self._book.append("shipped", problem=problem.id, **card)
        hidden = card["hidden"]
        return f"{card['folder']}: hidden score {hidden['score']:.2f} ({hidden['low']:.2f} to {hidden['high']:.2f})"
