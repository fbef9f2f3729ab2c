"""Open a session for work: take its lock, bring worktree and ledger to the same state, and prepare its target."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from autoresearch_mlx import __version__, terms
from autoresearch_mlx.errors import ConfigError, LabError
from autoresearch_mlx.experiment import Context, History, Running, Target
from autoresearch_mlx.hardware.machine import Machine, read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.hardware.surroundings import surroundings
from autoresearch_mlx.judge.history import sigma_of
from autoresearch_mlx.judge.judge import Judge
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.comparability import Key
from autoresearch_mlx.lab.config import Resolved, Settings
from autoresearch_mlx.lab.lab import SCRIPT, Lab, find_session, new_tag, refuse_tag
from autoresearch_mlx.lab.literals import Bounds
from autoresearch_mlx.lab.source import read_knobs, set_knobs
from autoresearch_mlx.loop.chosen import bounds_of, in_words
from autoresearch_mlx.loop.judge_of import judge_of
from autoresearch_mlx.loop.worker import Worker
from autoresearch_mlx.share.hints import hints
from autoresearch_mlx.share.sharing import Sharing
from autoresearch_mlx.store.freed import log_of
from autoresearch_mlx.store.git import resolve
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import Journal, Ledger
from autoresearch_mlx.store.left_out import LeftOut, left_out, missed
from autoresearch_mlx.store.locks import locked
from autoresearch_mlx.store.notes import read_notes
from autoresearch_mlx.store.regimes import enter_regime, settled
from autoresearch_mlx.store.results import write_results
from autoresearch_mlx.store.rules import enter_rules, mark_of, rules_of
from autoresearch_mlx.store.tags import TagTaken, claiming, refuse_copy, refuse_taken, tags_taken
from autoresearch_mlx.store.workspace import Workspace
from autoresearch_mlx.store.worktree import Worktree
from autoresearch_mlx.targets.confine import limits_of
from autoresearch_mlx.targets.contract import Informing, Place, Say, TargetKind
from autoresearch_mlx.targets.registry import find_kind, kind_of, with_defaults
from autoresearch_mlx.trial.orphans import end_orphans

_KEPT = {
    "seed": "seed",
    "hardware.profile": "profile",
    "target.editable": "editable",
    "target.metric": "metric",
    "target.direction": "direction",
}
"""Settings that every session fixes when it starts -> their keys in the ledger; the target fixes further settings."""
_TRIES = 8
"""Largest number of default tags that a new session tries, because another lab may take a tag at the same moment."""


@dataclass(frozen=True, slots=True)
class Session:
    """All that the loop needs to know about a session; the limits of a run are in :class:`policy.Policy`."""

    tag: str
    folder: Path
    ledger: Ledger
    workspace: Workspace
    worker: Worker
    """The worker that measures on this machine."""
    judge: Judge
    early_stop: bool
    seed: int
    repairs: int
    smoking: Literal["code", "always", "never"]
    """For which proposals a smoke run is made first: those with new code, all, or none."""
    program: str
    hardware: str
    start: str
    """The user's commit at which the session began; the baseline is made from it."""
    preset: Mapping[str, Any]
    """Knob values for this machine, written into the baseline if the file still has the shipped values."""
    table: Mapping[str, Any]
    """The profile's values for the knobs of ``preset``.  `init` wrote them, so they do not count as the user's
    choice."""
    key: Key
    """Present comparability key of this session: the facts, besides the edited file, on which its values depend."""
    rules_changed: str = ""
    """Words that each verdict gets if the rules have changed since the session's start; otherwise empty."""
    deciding: threading.RLock = field(default_factory=threading.RLock)
    """Lock for decisions, so that only one lane at a time reads and replaces the incumbent."""
    literals: Bounds | None = None
    """Limits on the data that an edit may write into a Python file, or None if there are no limits."""
    lines: tuple[str, ...] = ()
    """Shell lines that measure and check in this session."""
    lanes: int = 1
    """Number of experiments measured side by side on this machine."""
    sharing: Sharing | None = None
    """The exchange of results with other people's labs, or None if this run shares nothing."""
    roster: Callable[[], Sequence[Worker]] | None = None
    """Function that returns one worker for each machine of the fleet that takes part now, or None without a fleet."""

    @property
    def side_by_side(self) -> bool:
        """Whether several experiments may be measured at the same time."""
        return self.lanes > 1 or self.roster is not None

    @property
    def target(self) -> Target:
        """The target that this machine measures."""
        return self.worker.target

    def journal(self) -> Journal:
        """Return the session's present state, computed from the ledger.  Raises LedgerError."""
        with self.deciding:
            return self.ledger.read()

    def history(self, worker: Worker) -> History:
        """Return the history from the view of a worker's machine, in this machine's regime.  Raises LedgerError."""
        return self.journal().seen_by(worker.machine)

    def append(self, event: str, **fields: Any) -> None:
        """Write one line into the ledger.  Raises LedgerError."""
        with self.deciding:
            self.ledger.append(event, **fields)

    def measuring(self, **changes: Any) -> Session:
        """Return this session with the given fields of its worker changed."""
        return replace(self, worker=replace(self.worker, **changes))

    def incumbent(self, history: History) -> str:
        """Return the commit on which the next experiment builds."""
        best = history.incumbent
        return best.commit if best is not None and best.commit is not None else self.start

    def commits(self, history: History) -> set[str]:
        """Return every commit that may be the base of an experiment or the tip of the branch."""
        return {self.start, *(e.commit for e in history.experiments if e.commit)}

    def context(
        self,
        history: History,
        number: int,
        files: Mapping[str, str],
        feedback: tuple[str, ...] = (),
        running: Sequence[Running] = (),
    ) -> Context:
        """Return the context in which an agent proposes experiment ``number``."""
        return Context(
            number,
            self.program,
            files,
            history,
            self.hardware,
            self.seed,
            feedback,
            notes=read_notes(self.folder),
            sigma=sigma_of(history).value,
            read=self.workspace.read,
            log_tail=lambda experiment: log_of(self.folder, experiment),
            running=running,
            findings=self.target.findings(self.folder, history) if isinstance(self.target, Informing) else "",
            elsewhere=hints(self.folder.parent, self.journal(), self.workspace.top / self.workspace.prefix),
        )

    def opening(self) -> str:
        """Return the line about this session that is printed when a run begins."""
        lanes = f", {self.lanes} lanes" if self.lanes > 1 else ""
        if self.roster is not None:
            lanes = f"; measures with {terms.plural(len(self.roster()), 'machine')} of the fleet"
        return f"session {self.tag} on branch {self.workspace.branch}: {self.target.metric}, {self.hardware}{lanes}"

    def left_out(self, root: Path) -> LeftOut | None:
        """Return the parts of the checkout around ``root``, the lab's folder, that are not in the session."""
        history = self.journal().history
        return left_out(root, self.start, self.incumbent(history), self.commits(history), self.lines)

    def missed(self, words: str) -> tuple[str, ...]:
        """Return those files named in ``words``, the text of a failure, that the checkout has and the session lacks."""
        root = self.workspace.top / self.workspace.prefix
        return missed(root, self.worker.worktree.tree, self.start, words)

    def start_files(self) -> dict[str, str]:
        """Return the editable files of the start commit.  Raises LabError when there are none."""
        return files_at(self.workspace, self.start)

    def with_preset(self, files: Mapping[str, str]) -> dict[str, str]:
        return {path: preset_text(text, self.preset, self.table) for path, text in files.items()}


def refuse_lanes(session: Session) -> None:
    """Raise LabError when the session wants several lanes and its target cannot be measured side by side."""
    if session.lanes > 1 and (why := session.target.lanes_refused()) is not None:
        said = f"the target {session.target.name} cannot have {session.lanes} lanes: {why}"
        raise LabError(said, "set lanes = 1 under [run] in lab.toml, or use `--lanes 1`")


def preset_text(text: str, preset: Mapping[str, Any], table: Mapping[str, Any] | None = None) -> str:
    """Return the training script with the preset's values in all knobs that the user has not changed.

    A knob with the value in ``table`` counts as unchanged too, because `init` wrote this value.
    """
    ours = table or {}
    shipped, knobs = read_knobs(asset(SCRIPT).read_text(encoding="utf-8")), read_knobs(text)
    fit = {
        name: value
        for name, value in preset.items()
        if name in knobs and name in shipped and value != knobs[name].value in (shipped[name].value, ours.get(name))
    }
    return set_knobs(text, fit)


@contextmanager
def open_session(lab: Lab, resolved: Resolved, tag: str | None, say: Say, elsewhere: bool = False) -> Iterator[Session]:
    """Resume the session ``tag``, by default the lab's last session; start a session if there is none.

    ``elsewhere`` says that the machines of a fleet measure, so that this machine begins no regime.  Raises LockedError,
    LabError, ConfigError, CorpusError or WorkspaceError.
    """
    if (known := lab.current() if tag is None else tag) is not None:
        with _opened(lab, resolved, known, say, elsewhere) as session:
            yield session
        return
    for left in reversed(range(_TRIES)):
        with ExitStack() as stack:
            try:
                fresh = new_tag(lab, tags_taken(lab.root))
                session = stack.enter_context(_opened(lab, resolved, fresh, say, elsewhere))
            except TagTaken:  # another lab of this repository has just taken the tag
                if not left:
                    raise
                continue
            yield session
            return


@contextmanager
def _opened(lab: Lab, resolved: Resolved, chosen: str, say: Say, elsewhere: bool) -> Iterator[Session]:
    refuse_tag(lab, chosen)
    lab.make_state()
    folder = lab.folder(chosen)
    with locked(folder):
        end_orphans(folder)
        kind = kind_of(resolved.settings, lab.root)
        place = place_of(lab, with_defaults(resolved.settings, kind), say)
        workspace = Workspace(lab.root, folder, chosen, place.settings.target.editable)
        workspace.clear()
        ledger = Ledger(folder)
        ledger.mend()
        if not ledger.path.exists() or not ledger.path.stat().st_size:
            _begin(replace(place, profile=kind.fit(place)), kind, workspace, ledger)
        refuse_copy(workspace.common, folder)
        lab.set_current(chosen)
        journal = ledger.read()
        write_results(folder, journal.history)  # if a process died after it wrote the ledger, the table is old
        _refuse_changes(resolved, kind, journal.session, chosen)
        enter_rules(ledger, rules_of(place.settings), say)
        session = _session(place, kind, workspace, ledger)
        if not elsewhere:
            enter_regime(ledger, session.key, say)
        yield session


def look_at_session(lab: Lab, resolved: Resolved, tag: str | None) -> Session:
    """Open a session for reading only, without its lock, which another process may have.

    Raises LabError when there is no session, and the errors of :func:`open_session` except LockedError.
    """
    folder = find_session(lab, tag)
    ledger = Ledger(folder)
    record = ledger.read().session
    kind = find_kind(record["target"], lab.root)
    place = place_of(lab, with_defaults(resolved.settings, kind))
    editable = record.get("editable") or place.settings.target.editable  # lab.toml may have changed
    workspace = Workspace(lab.root, folder, folder.name, editable)
    return _session(place, kind, workspace, ledger)


def place_of(lab: Lab, settings: Settings, say: Say = lambda text: None) -> Place:
    """Return the facts about this lab and this machine that a target may use."""
    machine = read_machine()
    return Place(settings, lab, machine, choose_profile(machine, settings.hardware.profile), say)


def files_at(workspace: Workspace, commit: str) -> dict[str, str]:
    """Return the editable files of a commit, by their path in the lab.  Raises LabError when there are none."""
    files = workspace.read(commit)
    if not files:
        said, remedy = workspace.why_none(commit)
        raise LabError(f"{said}, where the session begins" if commit[:7] in said else said, remedy)
    return files


def _begin(place: Place, kind: TargetKind[Any], workspace: Workspace, ledger: Ledger) -> None:
    settings, profile, root = place.settings, place.profile, place.lab.root
    start = resolve(root, "HEAD")
    if start is None:
        raise LabError(
            f"the repository of {root} has no commit yet",
            "run `git add -A && git commit` there, and repeat the command",
        )
    refuse_taken(root, workspace.tag)
    files_at(workspace, start)  # raises an error before anything of the session is made
    conditions = kind.settle(place)
    record = {
        "time": now(),
        "tag": workspace.tag,
        "branch": workspace.branch,
        "target": settings.target.kind,
        "metric": settings.target.metric,
        "direction": settings.target.direction,
        "editable": list(workspace.editable),
        "start": start,
        "seed": settings.seed,
        "margin": kind.margin(profile) if settings.judge.margin == "auto" else settings.judge.margin,
        "profile": profile.name,
        "preset": dict(profile.knobs),
        "conditions": kind.record(conditions),
        "version": __version__,
        "host": platform.node(),
    }
    key = _key_here(record, kind, conditions, place.machine)
    with claiming(workspace.common):
        refuse_taken(root, workspace.tag)  # another lab may have started a session meanwhile
        ledger.append("session", **record, key=key.mark, comparability=key.parts, rules=rules_of(settings))
        workspace.start(start)


def _key_here(record: Mapping[str, Any], kind: TargetKind[Any], conditions: Any, machine: Machine) -> Key:
    """Return the comparability key of a run of this session now and on this machine."""
    measured = {"metric": record["metric"], "direction": record["direction"]}
    return Key({**measured, **kind.key_parts(conditions, machine)})


def _refuse_changes(resolved: Resolved, kind: TargetKind[Any], record: Mapping[str, Any], tag: str) -> None:
    """Raise ConfigError if a changed setting would make the results of this session incomparable."""
    same_kind = resolved.settings.target.kind == record["target"]
    kept = {name: record[key] for name, key in _KEPT.items()}
    kept |= kind.fixed(kind.read(record["conditions"])) if same_kind else {}
    for name, value, source in resolved.rows():
        value = list(value) if isinstance(value, tuple) else value
        if name in kept and source != "default" and value != "auto" and kept[name] != value:
            where = "the command line" if source == "option" else source
            said = f"session {tag} measures with {name} = {kept[name]}, but {where} says {value}"
            raise ConfigError(said, "old and new results could not be compared; start another session with --tag NAME")
    if not same_kind:
        said = f"session {tag} has the target {record['target']}, but the settings say {resolved.settings.target.kind}"
        raise ConfigError(said, "start another session with --tag NAME")


def _session(place: Place, kind: TargetKind[Any], workspace: Workspace, ledger: Ledger) -> Session:
    journal, settings, profile = ledger.read(), place.settings, place.profile
    record = journal.session
    conditions = kind.read(record["conditions"])
    preset = kind.preset(record.get("preset", profile.knobs))
    measured = {"metric": record["metric"], "direction": record["direction"]}
    wanted = settings.model_copy(update={"target": settings.target.model_copy(update=measured)})
    target = kind.build(conditions, replace(place, settings=wanted))
    return Session(
        tag=workspace.tag,
        folder=ledger.folder,
        ledger=ledger,
        workspace=workspace,
        worker=Worker(
            name="",
            worktree=Worktree(workspace),
            target=target,
            surroundings=surroundings(settings.machine, place.machine, target.workload),
            run_facts=kind.plan_of(conditions, place, preset),
            memory_bytes=place.machine.memory_bytes,
            free_bytes=limits_of(settings, profile).free_bytes,
        ),
        judge=judge_of(settings, record, target.workload.budget_seconds),
        early_stop=settings.judge.early_stop,
        seed=record["seed"],
        repairs=settings.agent.repairs,
        smoking=settings.budget.smoke,
        program=place.lab.program(),
        hardware=in_words(place.machine, target.workload),
        start=record["start"],
        rules_changed=mark_of(journal),
        preset=preset,
        table=profile.knobs,
        lanes=settings.run.lanes,
        lines=_lines(settings),
        literals=bounds_of(settings.literals, kind.bounds_literals),
        key=settled(journal, _key_here(record, kind, conditions, place.machine)),
    )


def _lines(settings: Settings) -> tuple[str, ...]:
    """Return the shell lines that measure and check."""
    blocks = (*(each.run for each in settings.metric), *(each.run for each in settings.check))
    return tuple(line for line in (settings.target.run, settings.target.guard, *blocks) if line)
