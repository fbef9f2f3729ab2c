"""The whole line: from posts to agents that are shipped or discarded, stage after stage.

Whatever a stage makes is on the disk before its event is in the ledger.  So a line that was killed at any moment goes
on with the first stage that has no event, and begins that stage again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from autoresearch_mlx import __version__, terms
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.setup.factory.build import fixed_files, lay_out, write_agent
from autoresearch_mlx.setup.factory.cases import (
    DEV_SHARE,
    FILE,
    GUARD_SHARE,
    Cases,
    text_of,
    written_by_model,
    written_by_user,
)
from autoresearch_mlx.setup.factory.collect import collect
from autoresearch_mlx.setup.factory.evidence import read_pieces, sort_out, write_pieces
from autoresearch_mlx.setup.factory.improve import SATURATED, improve
from autoresearch_mlx.setup.factory.ledger import POSTS, STAGES, Book, Factory, Problem, Stage, held
from autoresearch_mlx.setup.factory.model import Staff, staff
from autoresearch_mlx.setup.factory.page import write_page
from autoresearch_mlx.setup.factory.posts import read_posts, write_posts
from autoresearch_mlx.setup.factory.problems import find_problems
from autoresearch_mlx.setup.factory.ship import ship
from autoresearch_mlx.setup.factory.specs import write_spec
from autoresearch_mlx.setup.factory.verify import verify
from autoresearch_mlx.store.workspace import resolve
from autoresearch_mlx.targets.contract import Say
from autoresearch_mlx.targets.evals.cases import PARTS, split


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks of one call."""

    posts: tuple[Path, ...] = ()
    fetch: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """The options that were given, by the names of :class:`Options`."""
    agent: str | None = None
    examiner: str | None = None
    agents_model: str | None = None
    agents_endpoint: str | None = None
    until: Stage = "ship"
    """The last stage of this call."""


def run_line(root: Path, wanted: Wanted, say: Say) -> Factory:
    """Go through all stages that are not done; return the state at the end.

    ``say`` is called with one line after each event.  Raises LabError, AgentError and EndpointError when the line
    cannot go on; the next call goes on there.
    """
    with held(root.resolve()) as book:
        _Line(book, wanted, say).go()
        return book.read()


class _Line:
    def __init__(self, book: Book, wanted: Wanted, say: Say) -> None:
        self._book, self._wanted, self._say = book, wanted, say
        self._staff: Staff | None = None

    def go(self) -> None:
        try:
            self._settle_options()
            for line in self._events():
                write_page(self._book)
                self._say(line)
        finally:
            if self._staff is not None:
                self._staff.close()
            write_page(self._book)

    def _settle_options(self) -> None:
        """Enter the options that differ from those in the ledger."""
        state = self._book.read()
        options = replace(state.options, **self._wanted.options)
        if not state.began:
            self._paths()  # a factory without posts does not begin
            self._book.append("began", version=__version__, options=asdict(options))
        elif options != state.options:
            self._book.append("set", options=asdict(options))

    def _allowed(self, stage: Stage) -> bool:
        return STAGES.index(stage) <= STAGES.index(self._wanted.until)

    def _events(self) -> Iterator[str]:
        """Yield a line after each event."""
        book = self._book
        state = book.read()
        if state.collected is None:
            yield self._collect()
        elif self._wanted.posts or self._wanted.fetch:
            self._say("the posts were collected before; another folder begins another factory")
        if state.evidence is None and self._allowed("evidence"):
            yield self._sort_out()
        if not state.listed and self._allowed("problem"):
            yield from find_problems(book, book.read(), self.staff.writer, read_pieces(book.work / "evidence.jsonl"))
        while True:
            state = book.read()
            waiting = (problem for problem in state.taken if not problem.over and self._allowed(problem.stage))
            if (problem := next(waiting, None)) is None:
                return
            yield self._step(state, problem)

    @property
    def staff(self) -> Staff:
        """The models; they are looked for when the first stage needs one."""
        if self._staff is None:
            w = self._wanted
            self._staff = staff(self._book.root, self._book.work, w.agent, w.examiner, self._say)
        return self._staff

    # --- the stages without a model

    def _paths(self) -> tuple[Path, ...]:
        if self._wanted.posts or self._wanted.fetch:
            return self._wanted.posts
        default = self._book.root / POSTS
        if not default.exists():
            hint = f"put texts, JSON, JSON lines, feeds or exports into {default}, or name them with --posts"
            raise LabError(f"there are no posts: {default} does not exist", hint)
        return (default,)

    def _collect(self) -> str:
        sources = collect(self._paths(), self._wanted.fetch)
        posts = [post for source in sources for post in source.posts]
        if not posts:
            skipped = "; ".join(f"{n} {reason}" for source in sources for reason, n in source.skipped.items())
            said = f"there is no post in {', '.join(source.name for source in sources)}"
            raise LabError(said + (f": {skipped}" if skipped else ""), "docs/factory.md says what can be read")
        write_posts(self._book.work / "posts.jsonl", posts)
        self._book.append("collected", posts=len(posts), sources=[source.told() for source in sources])
        left_out = sum(sum(source.skipped.values()) for source in sources)
        skipped = (
            f", {terms.plural(left_out, 'file or entry').replace('entrys', 'entries')} skipped" if left_out else ""
        )
        return f"collect: {terms.plural(len(posts), 'post')} from {terms.plural(len(sources), 'source')}{skipped}"

    def _sort_out(self) -> str:
        found = sort_out(read_posts(self._book.work / "posts.jsonl"))
        write_pieces(self._book.work / "evidence.jsonl", found.pieces)
        self._book.append("evidence", pieces=len(found.pieces), same=found.same, near=found.near)
        copies = f"{found.same} equal and {found.near} nearly equal copies left out"
        return f"evidence: {terms.plural(len(found.pieces), 'piece')}, {copies}"

    # --- the stages of one problem

    def _step(self, state: Factory, problem: Problem) -> str:
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
        asker = self.staff.writer
        answer = write_spec(asker, problem)
        if answer.value is None:
            return self._discard(problem, "spec", f"the model gave no usable specification: {answer.fault}")
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
            by = self.staff.examiner.endpoint.name
            found = written_by_model(self.staff.examiner, problem, state.options.cases, folder)
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
        return f"{words}; empty and echo pass none, the best constant {examined.share:.0%}"

    def _case_folder(self, problem: Problem) -> Path:
        return self._book.work / "cases" / problem.id

    def _build(self, state: Factory, problem: Problem) -> str:
        refused = str(problem.refusals[-1]["reason"]) if problem.refusals else ""
        if len(problem.builds) >= state.options.builds:
            builds = terms.plural(len(problem.builds), "build")
            return self._discard(problem, "verify", f"{refused} ({builds})")
        asker, cases, lab = self.staff.writer, self._case_folder(problem) / FILE, self._book.lab(problem)
        answer = write_agent(asker, problem, cases, refused)
        if answer.value is None:
            return self._discard(problem, "build", f"the model gave no usable program: {answer.fault}")
        lab.parent.mkdir(parents=True, exist_ok=True)
        model = self.staff.agent_model(self._wanted.agents_model, self._wanted.agents_endpoint)
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
        return f"build {attempt}: wrote {' and '.join(sorted(answer.value))}"

    @property
    def _private(self) -> tuple[Path, ...]:
        return (self._book.path, self._book.work / "posts.jsonl")

    def _verify(self, state: Factory, problem: Problem) -> str:
        folder = self._book.work / "runs" / problem.id / "verify"
        found = verify(problem, self._book.lab(problem), folder, self._private, self._say)
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
            told = {"experiments": 0, "kept": 0, "before": dev, "after": dev, "tokens": 0, "reason": reason}
            self._book.append("improved", problem=problem.id, commit=problem.builds[-1]["commit"], **told)
            return f"no experiments: {reason}"
        try:
            found = improve(lab, wanted, self.staff.proposer(), self._private, self._say)
        except LabError as error:
            if type(error) is not LabError:  # a lock, a ledger or git: the machine's fault, not the agent's
                raise
            return self._discard(problem, "improve", str(error))
        if found.experiments < wanted:
            self.staff.must_answer()
        self._book.append("improved", problem=problem.id, **found.told())
        values = f"dev {terms.value(found.before)} -> {terms.value(found.after)}"
        return f"{terms.plural(found.experiments, 'experiment')}, {found.kept} kept, {values}"

    def _ship(self, state: Factory, problem: Problem) -> str:
        made_by, tokens = self.staff.writer.endpoint.name, self.staff.tokens(problem.number)
        card, reason = ship(self._book, state, problem, made_by, tokens, self._private, self._say)
        if card is None:
            return self._discard(problem, "ship", reason)
        self._book.append("shipped", problem=problem.id, **card)
        hidden = card["hidden"]
        return f"{card['folder']}: hidden {hidden['score']:.2f} ({hidden['low']:.2f} to {hidden['high']:.2f})"
