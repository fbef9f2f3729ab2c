"""A session opened for work: its lock held, its ledger and worktree in step, its target ready."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from autoresearch_mlx import __version__
from autoresearch_mlx.errors import ConfigError, LabError
from autoresearch_mlx.experiment import Context, History, Target
from autoresearch_mlx.hardware.machine import Machine, read_machine
from autoresearch_mlx.hardware.profile import Profile, choose_profile
from autoresearch_mlx.hardware.surroundings import surroundings
from autoresearch_mlx.judge.history import Judge, sigma_of
from autoresearch_mlx.lab import budget
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.comparability import Key
from autoresearch_mlx.lab.config import Resolved, Settings
from autoresearch_mlx.lab.lab import SCRIPT, Lab, find_session, new_tag, refuse_tag
from autoresearch_mlx.lab.source import read_knobs, set_knobs
from autoresearch_mlx.loop.worker import Worker
from autoresearch_mlx.store.freed import log_of
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import Journal, Ledger, write_results
from autoresearch_mlx.store.locks import locked
from autoresearch_mlx.store.notes import read_notes
from autoresearch_mlx.store.stands import enter_stand, settled
from autoresearch_mlx.store.workspace import Workspace, resolve
from autoresearch_mlx.store.worktree import Worktree
from autoresearch_mlx.targets.choose import Say, build_target, key_here, limits_of, settle_conditions
from autoresearch_mlx.targets.pretrain.calibrated import fit_to_machine
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.orphans import end_orphans

_KEPT = {
    "seed": "seed",
    "hardware.profile": "profile",
    "budget.seconds": "budget",
    "budget.max_seconds": "max_seconds",
    "data.source": "source",
    "data.eval_rows": "eval_rows_wanted",
    "data.vocab_size": "vocab_size",
    "data.seq_len": "seq_len",
    "target.editable": "editable",
    "target.run": "run",
    "target.guard": "guard",
    "target.pattern": "pattern",
    "target.timeout_seconds": "timeout_seconds",
    "target.metric": "metric",
    "target.direction": "direction",
    "budget.compile_seconds": "compile_seconds",
    "budget.evaluate_seconds": "evaluate_seconds",
}
"""Settings that a session fixes when it starts, and where its ledger keeps them."""


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that the loop needs, and nothing that it has to choose."""

    tag: str
    folder: Path
    ledger: Ledger
    workspace: Workspace
    worker: Worker
    """This machine's half, which measures."""
    judge: Judge
    early_stop: bool
    seed: int
    repairs: int
    smoking: Literal["code", "always", "never"]
    """Which proposals a run of seconds goes ahead of."""
    program: str
    hardware: str
    start: str
    """The user's commit that the session began at: the base of the baseline."""
    preset: Mapping[str, Any]
    """Knob values for this machine, written into the baseline where the file still has the shipped ones."""
    table: Mapping[str, Any]
    """The profile's values for those knobs: `init` has written them, so they are nobody's wish."""
    key: Key
    """What the values that are measured now depend on besides the file."""
    deciding: threading.RLock = field(default_factory=threading.RLock)
    """Held by the lane that decides on an experiment: one at a time reads the incumbent and replaces it."""

    @property
    def target(self) -> Target:
        """What is optimised, as this machine measures it."""
        return self.worker.target

    def journal(self) -> Journal:
        """Return what the ledger says now.  Raises LedgerError."""
        with self.deciding:
            return self.ledger.read()

    def append(self, event: str, **fields: Any) -> None:
        """Write one line into the ledger.  Raises LedgerError."""
        with self.deciding:
            self.ledger.append(event, **fields)

    def measuring(self, **changes: Any) -> Session:
        """Return the same session with a worker that differs in these fields."""
        return replace(self, worker=replace(self.worker, **changes))

    def incumbent(self, history: History) -> str:
        """The commit that the next experiment builds on."""
        best = history.incumbent
        return best.commit if best is not None and best.commit is not None else self.start

    def commits(self, history: History) -> set[str]:
        """Every commit that may be the base of an experiment, or the tip of the branch."""
        return {self.start, *(e.commit for e in history.experiments if e.commit)}

    def context(
        self, history: History, number: int, files: Mapping[str, str], feedback: tuple[str, ...] = ()
    ) -> Context:
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
        )

    def opening(self) -> str:
        """What is about to happen, in one line."""
        return f"session {self.tag} on branch {self.workspace.branch}: {self.target.metric}, {self.hardware}"

    def start_files(self) -> dict[str, str]:
        """The editable files of the start commit.  Raises LabError when there are none."""
        files = self.workspace.read(self.start)
        if not files:
            said = f"commit {self.start[:7]} has no file that matches {', '.join(self.workspace.editable)}"
            raise LabError(said, "`git add` and `git commit` it, or mend `editable` in lab.toml")
        return files

    def with_preset(self, files: Mapping[str, str]) -> dict[str, str]:
        return {path: preset_text(text, self.preset, self.table) for path, text in files.items()}


def preset_text(text: str, preset: Mapping[str, Any], table: Mapping[str, Any] | None = None) -> str:
    """A training script with the preset written into each knob that still has its shipped value.

    The value of ``table`` counts as shipped too: `init` has written it.  A value that the user has changed is the
    user's wish and stays.
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
def open_session(lab: Lab, resolved: Resolved, tag: str | None, say: Say) -> Iterator[Session]:
    """Resume the session ``tag`` (default: the last one), or start it when there is none.

    Raises LockedError, LabError, ConfigError, CorpusError, WorkspaceError.
    """
    chosen = tag or lab.current() or new_tag(lab)
    refuse_tag(chosen)
    lab.make_state()
    folder = lab.folder(chosen)
    with locked(folder):
        end_orphans(folder)
        workspace = Workspace(lab.root, folder, chosen, resolved.settings.target.editable)
        workspace.clear()
        machine = read_machine()
        profile = choose_profile(machine, resolved.settings.hardware.profile)
        ledger = Ledger(folder)
        ledger.mend()
        if not ledger.path.exists() or not ledger.path.stat().st_size:
            fit = fit_to_machine(resolved.settings, lab, machine, profile, say)
            _begin(lab, resolved.settings, workspace, ledger, machine, fit, say)
        lab.set_current(chosen)
        journal = ledger.read()
        write_results(folder, journal)  # who died between the ledger and its view left an old one
        _refuse_changes(resolved, journal.session, chosen)
        session = _session(lab, resolved.settings, workspace, ledger, machine, profile)
        enter_stand(ledger, session.key, say)
        yield session


def look_at_session(lab: Lab, resolved: Resolved, tag: str | None) -> Session:
    """A session to be looked at only, while another process may be working on it.

    Raises LabError when there is none, and what :func:`open_session` raises besides LockedError.
    """
    folder = find_session(lab, tag)
    workspace = Workspace(lab.root, folder, folder.name, resolved.settings.target.editable)
    machine = read_machine()
    ledger = Ledger(folder)
    profile = choose_profile(machine, resolved.settings.hardware.profile)
    return _session(lab, resolved.settings, workspace, ledger, machine, profile)


def _begin(
    lab: Lab,
    settings: Settings,
    workspace: Workspace,
    ledger: Ledger,
    machine: Machine,
    profile: Profile,
    say: Say,
) -> None:
    start = resolve(lab.root, "HEAD")
    if start is None:
        raise LabError(
            f"the repository of {lab.root} has no commit yet", "`git add -A && git commit` there, then run again"
        )
    if workspace.tip() is not None:
        said = f"branch {workspace.branch} exists, but its ledger {ledger.path} does not"
        raise LabError(said, f"choose another --tag, or remove it: git branch -D {workspace.branch}")
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
        "margin": _margin(settings, profile),
        "profile": profile.name,
        "preset": dict(profile.knobs),
        "conditions": settle_conditions(settings, lab, profile, say),
        "version": __version__,
        "host": platform.node(),
    }
    key = key_here(record, machine)
    ledger.append("session", **record, key=key.mark, comparability=key.parts)


def _refuse_changes(resolved: Resolved, record: Mapping[str, Any], tag: str) -> None:
    """Results of one session compare, so what they were measured under cannot change in its middle."""
    kept = {**record, **record["conditions"]}
    if (ends := budget.of_conditions(record["conditions"])) is not None:
        kept["budget"] = ends.said()
    for name, value, source in resolved.rows():
        key, value = _KEPT.get(name), list(value) if isinstance(value, tuple) else value
        if key in kept and source != "default" and value != "auto" and kept[key] != value:
            said = f"session {tag} measures with {name} = {kept[key]}, {source} says {value}"
            raise ConfigError(said, "results of two settings do not compare: start another session with --tag NAME")
    if resolved.settings.target.kind != record["target"]:
        said = f"session {tag} has the target {record['target']}, the settings say {resolved.settings.target.kind}"
        raise ConfigError(said, "start another session with --tag NAME")


def _session(
    lab: Lab,
    settings: Settings,
    workspace: Workspace,
    ledger: Ledger,
    machine: Machine,
    profile: Profile,
) -> Session:
    journal = ledger.read()
    record, conditions = journal.session, journal.session["conditions"]
    measured = {"metric": record["metric"], "direction": record["direction"]}
    wanted = settings.model_copy(update={"target": settings.target.model_copy(update=measured)})
    target = build_target(wanted, conditions, machine)
    under = target.conditions if isinstance(target, Pretrain) else None
    return Session(
        tag=workspace.tag,
        folder=ledger.folder,
        ledger=ledger,
        workspace=workspace,
        worker=Worker(
            name="worker",
            worktree=Worktree(workspace),
            target=target,
            surroundings=surroundings(settings.machine, machine, conditions, under),
            memory_bytes=machine.memory_bytes,
            free_bytes=limits_of(settings, profile).free_bytes,
        ),
        judge=_judge(settings, record),
        early_stop=settings.judge.early_stop,
        seed=record["seed"],
        repairs=settings.agent.repairs,
        smoking=settings.budget.smoke,
        program=lab.program(),
        hardware=_in_words(machine, profile, conditions),
        start=record["start"],
        preset=record.get("preset", profile.knobs) if record["target"] == "pretrain" else {},
        table=profile.knobs,
        key=settled(journal, key_here(record, machine)),
    )


def _judge(settings: Settings, record: Mapping[str, Any]) -> Judge:
    wanted = settings.judge
    return Judge(
        margin=record["margin"] if wanted.margin == "auto" else wanted.margin,
        mode=wanted.mode,
        floor=None if wanted.margin == "auto" else wanted.margin,
        replicates=wanted.replicates,
        refresh_every=wanted.refresh_every,
        removal_every=wanted.removal_every,
        budget_seconds=record["conditions"].get("budget_seconds") if wanted.calibrated_steps else None,
    )


def _margin(settings: Settings, profile: Profile) -> float:
    if settings.judge.margin != "auto":
        return settings.judge.margin
    return profile.margin if settings.target.kind == "pretrain" else 0.0


def _in_words(machine: Machine, profile: Profile, conditions: Mapping[str, Any]) -> str:
    memory = f", {machine.memory_bytes / 2**30:.0f} GB" if machine.memory_bytes else ""
    ends = budget.of_conditions(conditions)
    each = f"; {ends.in_words()} per experiment on the {conditions['device']}" if ends else ""
    return f"{machine.chip or machine.arch}{memory}{each}"
