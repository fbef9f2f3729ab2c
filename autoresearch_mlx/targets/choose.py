"""From settings to a target, and to the record of its conditions that makes a session repeatable.

The conditions are settled once, when a session starts, and kept in its ledger: every later run of the
session measures under the same ones, whatever the settings or the profile have become since.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import ConfigError, CorpusError
from autoresearch_mlx.experiment import Target
from autoresearch_mlx.hardware.blas import Blas, child_environment, find_blas
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import Profile, choose_profile
from autoresearch_mlx.lab import budget
from autoresearch_mlx.lab.comparability import Key, key_of
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.targets.command import Command
from autoresearch_mlx.targets.corpus import prepare as corpora
from autoresearch_mlx.targets.corpus.rows import Corpus, open_corpus
from autoresearch_mlx.targets.pretrain.peak import measured_peak
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.sandbox.detect import NoSandbox, Sandbox, find_sandbox
from autoresearch_mlx.trial.sandbox.limits import Limits

Say = Callable[[str], None]
CORPUS = "corpus"
"""File in the lab's state that names the corpus prepared last."""
GB = 10**9
_SCARCE_EVAL_TOKENS = 2**19


def settle_conditions(settings: Settings, lab: Lab, profile: Profile, say: Say) -> dict[str, Any]:
    """Everything that a measurement depends on besides the edited files, as plain JSON values.

    Prepares the embedded corpus when the lab has none.  Raises ConfigError, CorpusError.
    """
    target = settings.target
    if target.kind == "command":
        return target.model_dump(include={"run", "guard", "pattern", "timeout_seconds"})
    script = _script(target.editable)
    corpus = choose_corpus(settings, lab, profile, say)
    manifest = corpus.manifest
    wanted = _or(settings.data.eval_rows, profile.eval_rows)
    return {
        "script": script,
        "corpus": str(corpus.folder),
        "source": manifest.source,
        "data_sha256": manifest.sha256,
        "vocab_size": manifest.vocab_size,
        "seq_len": manifest.seq_len,
        "eval_rows": min(wanted, manifest.rows["val"]),
        "eval_rows_wanted": wanted,
        "device": profile.device,
        **budget.to_conditions(_budget(settings, profile), settings.budget.max_seconds),
        "compile_seconds": float(_or(settings.budget.compile_seconds, profile.compile_seconds)),
        "evaluate_seconds": settings.budget.evaluate_seconds,
        "memory_limit_bytes": profile.memory_limit_bytes if profile.device == "gpu" else None,
    }


def _budget(settings: Settings, profile: Profile) -> budget.Budget:
    return budget.read(settings.budget.seconds) or budget.Budget("seconds", profile.budget_seconds)


def build_target(settings: Settings, conditions: Mapping[str, Any], machine: Machine) -> Target:
    """The target under recorded conditions.

    Raises CorpusError when its corpus is gone or was changed, ConfigError for a kind of budget that is not known.
    """
    if settings.target.kind == "command":
        kept: dict[str, Any] = {k: conditions.get(k) for k in ("run", "guard", "pattern", "timeout_seconds")}
        limits = limits_of(settings, choose_profile(machine, settings.hardware.profile))
        return Command(metric=settings.target.metric, direction=settings.target.direction, limits=limits, **kept)
    corpus = recorded_corpus(conditions, corpora.default_cache())
    blas = find_blas(corpora.default_cache(), machine)
    names = {f.name for f in dataclasses.fields(Conditions)} - {"budget_seconds"}
    found = sandbox_of(settings)
    profile = choose_profile(machine, settings.hardware.profile)
    return Pretrain(
        Conditions(
            train_rows=corpus.path("train"),
            val_rows=corpus.path("val"),
            hidden_rows=corpus.path("hidden"),
            token_bytes=corpus.folder / "token_bytes.npy",
            environment=child_environment(blas),
            machine={**describe_machine(machine, blas, conditions["device"]), "sandbox": in_the_record(found)},
            sandbox=found if isinstance(found, Sandbox) else None,
            limits=limits_of(settings, profile),
            budget_seconds=_most_seconds(conditions),
            **{k: v for k, v in conditions.items() if k in names},
        ),
        peak=measured_peak(settings, conditions, machine, profile),
    )


def recorded_corpus(conditions: Mapping[str, Any], cache: Path) -> Corpus:
    """The corpus that a session measures on: where it was, else in the cache of this machine, known by its hashes.

    Raises CorpusError where neither has it.
    """
    place, wanted = Path(conditions["corpus"]), conditions["data_sha256"]
    here = open_corpus(place) if place.exists() else None
    if here is not None and here.manifest.sha256 == wanted:
        return here
    if (found := corpora.find_by_hash(wanted, cache)) is not None:
        return found
    if here is not None:
        said = f"the corpus in {place} is not the one this session began with"
        raise CorpusError(said, "start another session with --tag")
    source = "folder PATH" if conditions["source"] == "folder" else conditions["source"]
    again = f"prepare {source} --vocab-size {conditions['vocab_size']} --seq-len {conditions['seq_len']}"
    hint = f"copy it from there into {cache / 'corpora'}, or make the same again: `autoresearch-mlx {again}`"
    raise CorpusError(f"this machine has no corpus of the session's hashes; it was in {place}", hint)


def _most_seconds(conditions: Mapping[str, Any]) -> float:
    """The budget where it is a time, else what bounds a run of so many tokens."""
    ends = budget.of_conditions(conditions)
    if ends is None:
        said = f"this session's budget is {conditions.get('budget_kind')!r}, which this version does not know"
        raise ConfigError(said, "install the version that began it, or start another session with --tag")
    return ends.amount if ends.kind == "seconds" else float(conditions["max_seconds"])


def sandbox_of(settings: Settings) -> Sandbox | NoSandbox:
    """The sandbox of this system, unless the settings want none."""
    return find_sandbox() if settings.sandbox.enabled == "auto" else NoSandbox("switched off by sandbox.enabled")


def in_the_record(found: Sandbox | NoSandbox) -> str:
    """How a measurement's record names what confined it."""
    return found.words if isinstance(found, Sandbox) else f"none ({found.words})"


def limits_of(settings: Settings, profile: Profile) -> Limits:
    """What one run may use of this machine."""

    def settled(wanted: float | str, automatic: int | None) -> int | None:
        return int(wanted * GB) if isinstance(wanted, float | int) else automatic

    wanted = settings.limits
    return Limits(
        memory_bytes=settled(wanted.memory_gb, profile.run_memory_bytes),
        folder_bytes=settled(wanted.folder_gb, profile.run_folder_bytes),
        free_bytes=settled(wanted.free_disk_gb, profile.free_disk_bytes),
    )


def choose_corpus(settings: Settings, lab: Lab, profile: Profile, say: Say) -> Corpus:
    """The corpus of the settings, or the lab's last one, or the embedded text prepared now."""
    if settings.data.source == "auto" and (last := last_corpus(lab)) is not None:
        return last
    request = corpus_request(settings, profile)
    found = corpora.find(request, corpora.default_cache())
    if found is None:
        upstream = "`autoresearch-mlx prepare climbmix` fetches the text of the H100 runs"
        say(f"no prepared data: preparing {request.source} once ({upstream})")
        found = corpora.prepare(request, corpora.default_cache(), say)
    return found


def corpus_request(settings: Settings, profile: Profile) -> corpora.Request:
    data = settings.data
    source = "stdlib" if data.source == "auto" else data.source
    seq_len: int = _or(data.seq_len, profile.seq_len)
    # Where text is scarce, what is held out is missed in training.
    enough = _SCARCE_EVAL_TOKENS // seq_len if source in ("stdlib", "folder") else profile.eval_rows
    return corpora.Request(
        source=source,
        path=Path(data.path).expanduser() if data.path else None,
        shards=data.shards,
        vocab_size=_or(data.vocab_size, profile.vocab_size),
        seq_len=seq_len,
        val_rows=_or(data.eval_rows, min(profile.eval_rows, enough)),
    )


def last_corpus(lab: Lab) -> Corpus | None:
    """What `prepare` made last for this lab, if it is still there."""
    try:
        folder = Path((lab.state / CORPUS).read_text().strip())
    except OSError:
        return None
    return open_corpus(folder) if folder.exists() else None


def remember_corpus(lab: Lab, corpus: Corpus) -> None:
    lab.make_state()
    (lab.state / CORPUS).write_text(f"{corpus.folder}\n")


def describe_machine(machine: Machine, blas: Blas, device: str) -> dict[str, Any]:
    """What is recorded with each measurement."""
    return {
        "chip": machine.chip,
        "system": machine.system,
        "device": device,
        "gpu": machine.gpu.name if machine.gpu else None,
        "gpu_cores": machine.gpu.cores if machine.gpu else None,
        "memory_gb": round(machine.memory_bytes / 2**30, 1) if machine.memory_bytes else None,
        "mlx": machine.mlx,
        "python": machine.python,
        "blas": blas.source if device == "cpu" else None,
    }


def key_here(record: Mapping[str, Any], machine: Machine) -> Key:
    """What values of this session would depend on if they were measured now, on this machine."""
    device = record["conditions"].get("device")
    if device is None:
        return key_of(record, {"chip": machine.chip})
    return key_of(record, describe_machine(machine, find_blas(corpora.default_cache(), machine), device))


def _script(editable: tuple[str, ...]) -> str:
    if len(editable) != 1 or not editable[0].endswith(".py") or "*" in editable[0]:
        said = f"target.editable = {list(editable)}: pretrain edits one Python file"
        raise ConfigError(said, 'name it, or use kind = "command" for anything else')
    return editable[0]


def _or(value: Any, automatic: Any) -> Any:
    return automatic if value == "auto" else value
