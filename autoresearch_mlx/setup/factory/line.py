"""Run all stages of a factory in order, from posts to agents that are shipped or discarded.

The results of a stage are on the disk before the stage's event is in the ledger.  So after a kill at any moment, the
next call continues with the first stage that has no event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from autoresearch_mlx import __version__, terms
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.setup.factory.build import AgentModel
from autoresearch_mlx.setup.factory.collect import collect
from autoresearch_mlx.setup.factory.evidence import Piece, sort_out
from autoresearch_mlx.setup.factory.ledger import FILE, POSTS, STAGES, Book, Factory, Stage, held
from autoresearch_mlx.setup.factory.model import Staff, staff
from autoresearch_mlx.setup.factory.page import write_page
from autoresearch_mlx.setup.factory.posts import Post, read_rows, write_rows
from autoresearch_mlx.setup.factory.problems import find_problems
from autoresearch_mlx.setup.factory.steps import Steps
from autoresearch_mlx.store.journal import Event
from autoresearch_mlx.targets.contract import Say
from autoresearch_mlx.trial.orphans import end_orphans


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of one call of ``factory DIR``."""

    posts: tuple[Path, ...] = ()
    fetch: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """Values for fields of :class:`Options` that the user gave, by name."""
    agent: str | None = None
    examiner: str | None = None
    agents_model: str | None = None
    agents_endpoint: str | None = None
    until: Stage = "ship"
    """The last stage of this call."""


def run_line(root: Path, wanted: Wanted, say: Say) -> Factory:
    """Run all stages that are not done yet, and return the factory's state at the end.

    ``say`` is called with one line after each event.  Raises LabError, AgentError and EndpointError when a stage cannot
    be finished; the next call continues with this stage.
    """
    root = root.resolve()
    _paths(root, wanted)  # raises before a file is written if there are no posts
    with held(root) as book:
        _Line(book, wanted, say).go()
        return book.read()


def _paths(root: Path, wanted: Wanted) -> tuple[Path, ...]:
    """Return the files and folders with posts.  Raises LabError when there are no posts."""
    if wanted.posts or wanted.fetch:
        return wanted.posts
    default = root / POSTS
    if not default.exists() and not (root / FILE).exists():
        hint = f"put texts, JSON, JSON lines, feeds or exports into {default}, or name them with --posts"
        raise LabError(f"there are no posts: {default} does not exist", hint)
    return (default,)


def _sources(collected: Event) -> set[str]:
    return {str(source["source"]) for source in collected["sources"]}


class _Line:
    def __init__(self, book: Book, wanted: Wanted, say: Say) -> None:
        self._book, self._wanted = book, wanted
        self._say: Say = lambda text: say(terms.one_line(text))  # a model's words may have control codes in them
        self._staff: Staff | None = None

    def go(self) -> None:
        end_orphans(self._book.work)  # processes of a killed call
        try:
            self._settle_options()
            for line in self._events():
                write_page(self._book)
                self._say(line)
        except FileNotFoundError as error:
            if error.filename is None or not Path(str(error.filename)).is_relative_to(self._book.root):
                raise
            said = f"an earlier stage wrote {error.filename}, which is missing now"
            raise LabError(said, "put the file back, or begin another factory in another folder") from None
        finally:
            if self._staff is not None:
                self._staff.close()
            write_page(self._book)

    def _settle_options(self) -> None:
        """Write the options into the ledger if they are new or have changed."""
        state = self._book.read()
        options = replace(state.options, **self._wanted.options)
        if not state.began:
            self._book.append("began", version=__version__, options=asdict(options))
        elif options != state.options:
            self._book.append("set", options=asdict(options))

    def _allowed(self, stage: Stage) -> bool:
        return STAGES.index(stage) <= STAGES.index(self._wanted.until)

    def _events(self) -> Iterator[str]:
        """Run the stages, and yield a line for the user after each event."""
        book = self._book
        state = book.read()
        if state.collected is None:
            yield self._collect()
        elif other := {*map(str, self._wanted.posts), *self._wanted.fetch} - _sources(state.collected):
            named = ", ".join(sorted(other))
            self._say(
                f"not read: {named}; this factory has read its posts already, so use another folder for these posts"
            )
        if state.evidence is None and self._allowed("evidence"):
            yield self._sort_out()
        if not state.listed and self._allowed("problem"):
            pieces = list(read_rows(book.pieces, Piece))
            yield from find_problems(book, book.read(), self.staff.writer, pieces)
        steps = Steps(book, lambda: self.staff, self._agent_model, self._say)
        while True:
            state = book.read()
            waiting = (problem for problem in state.taken if not problem.over and self._allowed(problem.stage))
            if (problem := next(waiting, None)) is None:
                return
            yield steps.next(state, problem)

    @property
    def staff(self) -> Staff:
        """The factory's models; the factory looks for them when a stage first needs a model."""
        if self._staff is None:
            w = self._wanted
            self._staff = staff(self._book.root, self._book.work, w.agent, w.examiner, self._say)
            if self._allowed("build"):
                self._agent_model()  # raises now, and not hours later, if the built agents have no model to ask
        return self._staff

    def _agent_model(self) -> AgentModel:
        return self.staff.agent_model(self._wanted.agents_model, self._wanted.agents_endpoint)

    # --- the stages without a model

    def _collect(self) -> str:
        sources = collect(_paths(self._book.root, self._wanted), self._wanted.fetch)
        posts = [post for source in sources for post in source.posts]
        if not posts:
            skipped = "; ".join(f"{n} {reason}" for source in sources for reason, n in source.skipped.items())
            said = f"there is no post in {', '.join(source.name for source in sources)}"
            raise LabError(said + (f": {skipped}" if skipped else ""), "docs/factory.md says what can be read")
        write_rows(self._book.posts, posts)
        self._book.append("collected", posts=len(posts), sources=[source.told() for source in sources])
        left_out = sum(sum(source.skipped.values()) for source in sources)
        words = "file or entry" if left_out == 1 else "files or entries"
        skipped = f"; {left_out:,} {words} skipped" if left_out else ""
        return f"collect: {terms.plural(len(posts), 'post')} from {terms.plural(len(sources), 'source')}{skipped}"

    def _sort_out(self) -> str:
        found = sort_out(read_rows(self._book.posts, Post))
        write_rows(self._book.pieces, found.pieces)
        self._book.append("evidence", pieces=len(found.pieces), same=found.same, near=found.near)
        copies = f"{found.same} equal and {found.near} nearly equal copies left out"
        return f"evidence: {terms.plural(len(found.pieces), 'piece')}, {copies}"
