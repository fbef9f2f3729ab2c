"""Choose the conditions of a session of the target ``pretrain``, and build the target that measures under these
conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from autoresearch_mlx.errors import AutoresearchError, ConfigError, CorpusError
from autoresearch_mlx.hardware.blas import Blas, child_environment, find_blas
from autoresearch_mlx.hardware.calibration import Calibration
from autoresearch_mlx.hardware.fit import choose, fitted
from autoresearch_mlx.hardware.machine import Machine
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.lab import budget
from autoresearch_mlx.lab.comparability import trained_parts
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.targets.confine import in_the_record, limits_of, limits_row, sandbox_of
from autoresearch_mlx.targets.contract import Finding, Place, PlanFacts, State, TargetKind
from autoresearch_mlx.targets.corpus.prepare import default_cache
from autoresearch_mlx.targets.pretrain.calibrated import calibration_here, chosen_by_hand, fit_to_machine
from autoresearch_mlx.targets.pretrain.conditions import PretrainConditions
from autoresearch_mlx.targets.pretrain.data import choose_corpus, corpus_here, recorded_corpus
from autoresearch_mlx.targets.pretrain.peak import calibration_of, measured_peak
from autoresearch_mlx.targets.pretrain.secrecy import secrecy_of
from autoresearch_mlx.targets.pretrain.target import Pretrain
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.sandbox.detect import NoSandbox, Sandbox
from autoresearch_mlx.trial.sandbox.selftest import check_sandbox

_MB = 2**20


class PretrainKind(TargetKind[PretrainConditions]):
    """The kind of target that trains the edited script on a fixed budget and corpus, and scores its weights."""

    name = "pretrain"
    bounds_literals = True
    conditions = PretrainConditions

    def check(self, settings: Settings) -> None:
        """Refuse settings with several lanes.

        The target refuses them too, but only after the text was prepared, and the preparation may take long.
        """
        if (lanes := settings.run.lanes) > 1:
            why = "two trainings on one machine slow each other down, so neither could be measured"
            said = f"the target pretrain cannot have {lanes} lanes: {why}"
            raise ConfigError(said, "set lanes = 1 under [run] in lab.toml, or use `--lanes 1`")

    def fit(self, place: Place) -> Profile:
        """Return the profile with the budget and the batch that this machine's calibration chooses."""
        return fit_to_machine(place.settings, place.lab, place.machine, place.profile, place.say)

    def settle(self, place: Place) -> PretrainConditions:
        """Return the conditions of a new session; prepare the standard library's text if the lab has no corpus."""
        settings, profile = place.settings, place.profile
        script = _script(settings.target.editable)
        corpus = choose_corpus(settings, place.lab, profile, place.say)
        manifest = corpus.manifest
        wanted: int = _or(settings.data.eval_rows, profile.eval_rows)
        ends = budget.read(settings.budget.seconds) or budget.Budget("seconds", profile.budget_seconds)
        return PretrainConditions(
            script=script,
            corpus=str(corpus.folder),
            source=manifest.source,
            data_sha256=manifest.sha256,
            vocab_size=manifest.vocab_size,
            seq_len=manifest.seq_len,
            eval_rows=min(wanted, manifest.rows["val"]),
            eval_rows_wanted=wanted,
            device=profile.device,
            budget=ends,
            max_seconds=None if ends.kind == "seconds" else settings.budget.max_seconds,
            compile_seconds=float(_or(settings.budget.compile_seconds, profile.compile_seconds)),
            evaluate_seconds=settings.budget.evaluate_seconds,
            memory_limit_bytes=profile.memory_limit_bytes if profile.device == "gpu" else None,
            text_closed=secrecy_of(corpus, place.lab).open_because is None,
        )

    def record(self, conditions: PretrainConditions) -> dict[str, Any]:
        return conditions.to_json()

    def read(self, recorded: Mapping[str, Any]) -> PretrainConditions:
        return PretrainConditions.from_json(recorded)

    def fixed(self, conditions: PretrainConditions) -> Mapping[str, Any]:
        known = {
            "budget.seconds": conditions.budget.said(),
            "budget.max_seconds": conditions.max_seconds,
            "budget.compile_seconds": conditions.compile_seconds,
            "budget.evaluate_seconds": conditions.evaluate_seconds,
            "data.source": conditions.source,
            "data.eval_rows": conditions.eval_rows_wanted,
            "data.vocab_size": conditions.vocab_size,
            "data.seq_len": conditions.seq_len,
        }
        return {name: value for name, value in known.items() if value is not None}

    def key_parts(self, conditions: PretrainConditions, machine: Machine) -> Mapping[str, Any]:
        device = conditions.device
        return trained_parts(
            conditions.to_json(), describe_machine(machine, find_blas(default_cache(), machine), device)
        )

    def missing(self, conditions: PretrainConditions) -> AutoresearchError | None:
        try:
            recorded_corpus(conditions, default_cache())
        except CorpusError as error:
            return error
        return None

    def preset(self, knobs: Mapping[str, Any]) -> Mapping[str, Any]:
        return knobs

    def margin(self, profile: Profile) -> float:
        return profile.margin

    def calibrates(self, settings: Settings) -> bool:
        return settings.hardware.calibrate == "auto" and not chosen_by_hand(settings)

    def build(self, conditions: PretrainConditions, place: Place) -> Pretrain:
        """Build the target.  Raises CorpusError if the session's corpus is missing or was changed."""
        corpus = recorded_corpus(conditions, default_cache())
        blas = find_blas(default_cache(), place.machine)
        found = sandbox_of(place.settings)
        tokens = conditions.budget.kind == "match-tokens"
        secrecy = secrecy_of(corpus, place.lab)
        if secrecy.open_because is not None:
            place.say(f"demonstration text, which cannot be certified: {secrecy.open_because}")
        under = Conditions(
            script=conditions.script,
            train_rows=corpus.path("train"),
            val_rows=corpus.path("val"),
            hidden_rows=corpus.path("hidden"),
            token_bytes=corpus.folder / "token_bytes.npy",
            vocab_size=conditions.vocab_size,
            seq_len=conditions.seq_len,
            eval_rows=conditions.eval_rows,
            device=conditions.device,
            budget_seconds=conditions.most_seconds,
            budget_tokens=int(conditions.budget.amount) if tokens else None,
            budget_flops=conditions.budget.amount if conditions.budget.kind == "match-flops" else None,
            compile_seconds=conditions.compile_seconds,
            evaluate_seconds=conditions.evaluate_seconds,
            memory_limit_bytes=conditions.memory_limit_bytes,
            closed=secrecy.closed,
            closed_in_tree=secrecy.in_tree,
            environment=child_environment(blas),
            machine={**describe_machine(place.machine, blas, conditions.device), "sandbox": in_the_record(found)},
            sandbox=found if isinstance(found, Sandbox) else None,
            limits=limits_of(place.settings, place.profile),
        )
        peak = measured_peak(place.settings, conditions, place.machine, place.profile)
        return Pretrain(under, peak=peak, open_text=secrecy.open_because)

    # --- the kind's lines in doctor and plan

    def doctor_rows(self, place: Place) -> Iterator[Finding]:
        yield self._corpus_row(place)
        yield limits_row(limits_of(place.settings, place.profile))
        found = sandbox_of(place.settings)
        missing: State = "fail" if place.settings.sandbox.require else "note"
        if isinstance(found, NoSandbox):
            hint = "edited code runs with your rights; docs/sandbox.md says what is needed"
            yield Finding("sandbox", "sandbox", f"none: {found.words}", missing, hint)
            return
        yield Finding("sandbox", "sandbox", found.words)
        if found.lacks:
            yield Finding("sandbox", "not confined", "; ".join(found.lacks))
        yield from self._probe_rows(place, missing)

    def _corpus_row(self, place: Place) -> Finding:
        try:
            corpus = corpus_here(place.settings, place.lab, place.profile)
        except AutoresearchError as error:
            return Finding("data", "corpus", str(error), "fail", error.hint)
        if corpus is None:
            return Finding(
                "data", "corpus", "not prepared yet", hint="`run` prepares the text, or `autoresearch-mlx prepare` does"
            )
        m = corpus.manifest
        rows = f"{m.rows['train']:,} training rows of {m.seq_len} tokens, vocabulary {m.vocab_size:,}"
        said = f"{m.source}: {rows} ({corpus.folder})"
        if (why := secrecy_of(corpus, place.lab).open_because) is not None:
            return Finding("data", "corpus", f"{said}; demonstration text", "note", why)
        return Finding("data", "corpus", said)

    def _probe_rows(self, place: Place, missing: State) -> Iterator[Finding]:
        """Test the sandbox with the lab's own rows, and yield a line that says whether the sandbox works."""
        try:
            if corpus_here(place.settings, place.lab, place.profile) is None:
                yield Finding("sandbox", "probe", "not tried, because the test needs prepared data")
                return
            under = self.build(self.settle(place), place).conditions
        except AutoresearchError as error:
            yield Finding("sandbox", "probe", str(error), "fail", error.hint)
            return
        if under.sandbox is not None:
            done = check_sandbox(under.sandbox, under)
            if (wrong := done.wrong_numbers) is not None:
                hint = "install another version of MLX; `run` refuses to measure with this one"
                yield Finding("sandbox", "MLX", f"computes wrong numbers: {wrong}", "fail", hint)
            said = done.words() if done.holds else f"it {done.verdict()}"
            hint = "" if done.holds else "runs continue unconfined, with a warning; --require-sandbox refuses to run"
            yield Finding("sandbox", "probe", said, "ok" if done.holds else missing, hint)

    def plan_before(self, place: Place) -> PlanFacts:
        calibration, _ = calibration_here(place.settings, place.lab, place.machine, place.profile)
        return expected(place.settings, place.profile, calibration)

    def plan_of(self, conditions: PretrainConditions, place: Place, preset: Mapping[str, Any]) -> PlanFacts:
        calibration = calibration_of(place.settings, conditions, place.machine, place.profile)
        tokens = preset.get("TOTAL_BATCH_SIZE")
        return _facts(conditions.training_seconds, calibration, conditions.eval_rows, tokens)


def expected(settings: Settings, profile: Profile, calibration: Calibration | None) -> PlanFacts:
    """Return the facts that are known about a run under these settings.

    ``calibration`` is the calibration of this machine, or None if there is no calibration.
    """
    wanted = settings.budget.seconds
    by_hand = chosen_by_hand(settings)
    fit = profile if calibration is None or by_hand else fitted(profile, choose(profile, calibration))
    seconds = fit.budget_seconds if wanted == "auto" else wanted if isinstance(wanted, float) else None
    rows: int = _or(settings.data.eval_rows, profile.eval_rows)
    return _facts(seconds, calibration, rows, fit.knobs["TOTAL_BATCH_SIZE"])


def _facts(seconds: float | None, calibration: Calibration | None, rows: int, tokens: int | None) -> PlanFacts:
    if calibration is None:
        return PlanFacts(training_seconds=seconds)
    pace, total = calibration.pace(tokens), calibration.info.get("total_memory")
    return PlanFacts(
        training_seconds=seconds,
        overhead_seconds=calibration.overhead(rows),
        overhead_source=f"calibrated {calibration.day}",
        peak_bytes=int(pace.peak_memory_mb * _MB) if pace and pace.peak_memory_mb else None,
        gpu_memory_bytes=int(total) if isinstance(total, int | float) else None,
    )


def describe_machine(machine: Machine, blas: Blas, device: str) -> dict[str, Any]:
    """Return the facts about the machine that each measurement records."""
    return {
        "chip": machine.chip,
        "system": machine.system,
        "device": device,
        "gpu": machine.gpu.name if machine.gpu else None,
        "gpu_cores": machine.gpu.cores if machine.gpu else None,
        "memory_gb": round(machine.memory_bytes / 2**30, 1) if machine.memory_bytes else None,
        "mlx": machine.mlx,
        **({"mlx_wheel": machine.wheel} if machine.wheel else {}),
        "python": machine.python,
        "blas": blas.source if device == "cpu" else None,
    }


def _script(editable: tuple[str, ...]) -> str:
    if len(editable) != 1 or not editable[0].endswith(".py") or "*" in editable[0]:
        said = f"target.editable = {list(editable)}: the target pretrain needs exactly one Python file"
        raise ConfigError(said, 'name one Python file, or use kind = "command" for any other program')
    return editable[0]


def _or(value: Any, automatic: Any) -> Any:
    return automatic if value == "auto" else value
