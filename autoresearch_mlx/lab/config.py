"""Read lab.toml and the command's options into frozen settings, each with the source of its value.

Every setting has a default, so a lab without lab.toml works.  Most settings with the value "auto" later get a value
from the machine's profile.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.lab import budget
from autoresearch_mlx.lab.metric_settings import CheckSettings, MetricSettings, put_primary, wrong_blocks
from autoresearch_mlx.lab.setting_types import LARGEST, Auto, Count, Frozen, NotNegative, Number, Positive
from autoresearch_mlx.lab.setting_words import holds_nul, in_words, shown
from autoresearch_mlx.lab.tool_settings import HookSettings, ToolSettings

FILE = "lab.toml"


class TargetSettings(Frozen):
    """Settings of the target: what is optimised."""

    kind: str = "pretrain"
    """Kind of target: pretrain, command, evals, a name that an installed package offers, or ``module:Class``."""
    editable: tuple[str, ...] = ("train_mlx.py",)
    """Paths or globs, relative to the lab, of the files that an edit may change."""
    metric: str = "val_bpb"
    direction: Literal["min", "max"] = "min"
    run: str | None = None
    """Shell line that prints the metric.  This setting and the next three are only for the kind ``command``."""
    guard: str | None = None
    """Shell line that must exit with status 0 for the metric to count."""
    pattern: str | None = None
    """Regular expression whose first group is the number; by default it reads a line ``METRIC name=value``."""
    timeout_seconds: Positive = 600.0
    """Longest time in seconds that the program or its guard may run."""
    options: Mapping[str, Any] = {}
    """Settings for a target that the user wrote; the target gets this table unchanged, and checks it itself."""

    @model_validator(mode="after")
    def _complete(self) -> TargetSettings:
        if not self.editable:
            raise ValueError("editable names no file")
        for path in map(PurePosixPath, self.editable):
            if not path.parts or path.is_absolute() or ".." in path.parts:
                raise ValueError(f"editable: {str(path)!r} is not a path inside the lab")
        if not self.metric.strip() or not self.metric.isprintable():
            raise ValueError(f"metric: {self.metric!r} cannot name a metric: write words without control characters")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"pattern is not a regular expression: {error}") from None
        return self


class BudgetSettings(Frozen):
    """Settings of the budget, which ends a measurement."""

    seconds: Annotated[float | str, BeforeValidator(budget.normal)] = "auto"
    """Training of a run: a time in seconds, a number of tokens (``match-tokens:500M``), or a number of operations
    (``match-flops:2e15``)."""
    max_seconds: Positive = 43_200.0
    """Longest training, in seconds, under a budget of tokens or operations."""
    compile_seconds: Positive | Auto = "auto"
    """Seconds that the first step may take in addition to the budget."""
    evaluate_seconds: Positive = 1200.0
    """Longest time of an evaluation in seconds.  An evaluation is also limited to five times the baseline's time plus
    one minute."""
    smoke: Literal["code", "always", "never"] = "code"
    """When a smoke run of two steps is made before the real run.  With ``code``, a smoke run is made only if an edit
    changes more than values of knobs."""


class DataSettings(Frozen):
    """Settings of the data: the text on which the model is trained."""

    source: Literal["auto", "stdlib", "climbmix", "tinystories", "folder"] = "auto"
    """Corpus to train on.  ``auto`` means the corpus that `prepare` made last for this lab, or else stdlib."""
    path: str | None = None
    shards: Count = 10
    vocab_size: Count | Auto = "auto"
    seq_len: Count | Auto = "auto"
    eval_rows: Count | Auto = "auto"


class JudgeSettings(Frozen):
    """Settings of the judge, which decides whether a result is better."""

    mode: Literal["auto", "fast", "adaptive", "strict", "margin"] = "auto"
    """How an edit is judged.  ``auto`` makes one run for each edit while gains are large compared with the noise, and
    more runs later.  ``margin`` always makes one run, and uses no statistics."""
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False), Number] | Auto = "auto"
    """Smallest gain to keep, in the metric's unit.  With ``auto``, every gain that is clearly larger than the noise is
    kept; while the noise is unknown, the profile's margin is used."""
    replicates: Count = 3
    """Number of runs of the baseline at the start, from which the noise of one run is estimated."""
    refresh_every: Count = 10
    """Number of experiments after which the incumbent is measured again."""
    removal_every: Count = 8
    """Number of kept experiments after which the loop tries to remove weakly supported edits."""
    calibrated_steps: bool = False
    """If true, a repeated run ends after as many steps as an earlier run made, instead of after a fixed time."""
    early_stop: bool = True
    """If true, a run that has clearly lost is stopped at six tenths of its budget."""


class AgentSettings(Frozen):
    """Settings of the agent: which agent proposes edits, and how a model is asked."""

    name: str = "auto"
    """Name of the agent: auto, knobs, hybrid, chat, ollama:MODEL, lmstudio:MODEL, openai:MODEL, mlx:MODEL, playbook,
    claude, ..."""
    repairs: Annotated[int, Field(ge=0, le=LARGEST), Number] = 2
    """How often a refused proposal goes back to the agent before the experiment counts as invalid."""
    base_url: str | None = None
    """Address of an OpenAI-compatible server for chat and hybrid, such as ``http://127.0.0.1:8080/v1``."""
    model: str | None = None
    """Name of the model at ``base_url``, or a name that includes the server, such as ``ollama:qwen3-coder:30b``."""
    api_key_env: str | None = None
    """Name of the environment variable with the key.  The key itself is never written anywhere."""
    share: Annotated[float, Field(ge=0, le=1), Number] = 0.3
    """Share of the agent hybrid's proposals that come from the model."""
    format: Literal["auto", "menu", "values", "blocks", "whole"] = "auto"
    """How the model answers: it chooses from a menu, or sends values of knobs, edit blocks or whole files.  With
    ``auto``, the form depends on how the model has answered so far (docs/models.md)."""
    temperature: Annotated[float, Field(ge=0, le=2), Number] = 0.7
    context_tokens: Count | Auto = "auto"
    """Maximum number of tokens of prompt and reply together.  With ``auto``, the model and the memory set this
    limit."""
    reply_tokens: Count | Auto = "auto"
    """Maximum number of tokens of one reply with its thinking.  With ``auto``, the form of the answer sets this limit
    (docs/models.md)."""
    think: Literal["auto", "off", "low", "medium", "high"] = "auto"
    timeout_seconds: Positive = 900.0
    """Longest time of one call in seconds, which includes loading the model and reading the prompt."""
    patience_seconds: NotNegative = 600.0
    """Seconds that one experiment waits for a server that is down or busy."""
    proposals: Annotated[int, Field(ge=1, le=8), Number] | Auto = "auto"
    """Number of ideas that one call asks for.  With ``auto``, a call asks for several ideas if the model loads
    slowly."""
    keep_loaded: bool | Auto = "auto"
    """If true, the model stays in memory during a training run; ``auto`` means true if model and run fit together."""
    think_ahead: bool | Auto = "auto"
    """If true, a model prepares the next proposal while an experiment is measured.  ``auto`` means true if the model
    runs on another machine, or if the model and the run fit into memory together (docs/team.md)."""
    max_tokens_total: Count | None = None
    """Number of tokens that a session may spend on prompts and replies together."""
    max_cost: Positive | None = None
    """Money that a session may spend; this limit needs ``price_in`` and ``price_out``."""
    price_in: NotNegative | None = None
    """Price of a million prompt tokens."""
    price_out: NotNegative | None = None
    """Price of a million reply tokens."""
    command: str | None = None
    """Shell line of the agent ``command``: a coding agent that reads the prompt from its standard input."""
    command_seconds: Positive = 1800.0
    """Longest time of one call of a coding agent, in seconds."""
    meanwhile: Literal["knobs", "wait"] = "knobs"
    """What happens while a coding agent's service has an outage or a used-up limit: the optimiser proposes, or `run`
    waits."""

    @model_validator(mode="after")
    def _priced(self) -> AgentSettings:
        if self.max_cost is not None and (self.price_in is None or self.price_out is None):
            raise ValueError("max_cost needs price_in and price_out, the prices of a million tokens")
        return self


class TeamSettings(Frozen):
    """Settings of a team of a chief and juniors (docs/team.md).  If ``juniors`` names agents, the agent ``auto`` is a
    team."""

    chief: str = "policy"
    """Name of the chief: ``policy``, or a model that words the questions and orders the axes (``ollama:qwen3:8b``)."""
    juniors: tuple[str, ...] = ()
    """Names of the junior agents; by default, the juniors are knobs and, if there is one, a suitable model."""
    critic: str | None = None
    """Model that may drop or reorder proposals before they are measured; None means no critic."""


class SandboxSettings(Frozen):
    """Settings of the sandbox that confines edited code."""

    enabled: Literal["auto", "never"] = "auto"
    """When edited code is confined.  ``auto`` means on every system with a sandbox that passes its self-test."""
    require: bool = False
    """If true, the tool refuses to measure without a sandbox."""

    @model_validator(mode="after")
    def _possible(self) -> SandboxSettings:
        if self.require and self.enabled == "never":
            raise ValueError('require = true and enabled = "never" exclude each other')
        return self


class LimitSettings(Frozen):
    """Limits of one run, in GB of 1000 MB; ``auto`` means a limit that is chosen for the machine."""

    memory_gb: Positive | Auto = "auto"
    """Largest amount of main memory that all processes of the run may use together."""
    folder_gb: Positive | Auto = "auto"
    """Largest amount of data that a run may write into its folder."""
    free_disk_gb: NotNegative | Auto = "auto"
    """Space that must stay free on the disk."""


class LiteralSettings(Frozen):
    """Limits on the bytes of literals and comments in a Python file; ``auto`` limits only scripts that train."""

    edit_bytes: Count | Auto = "auto"
    """Largest number of bytes that one edit may add; strings and numbers may take a third of it."""
    file_bytes: Count | Auto = "auto"
    """Largest number of bytes in a whole file; a file that had more before the edit must not grow."""
    statement_bytes: Count | Auto = "auto"
    """Largest number of bytes in one new statement."""


class HardwareSettings(Frozen):
    """Settings of the hardware: the machine for which the sizes are chosen."""

    profile: str = "auto"
    """The profile whose sizes are used: auto, cpu, mac-8gb, mac-base, mac-pro, mac-max, mac-ultra, cuda (upstream)."""
    calibrate: Literal["auto", "never"] = "auto"
    """When the machine's speed is measured.  With ``auto``, a machine with a GPU is measured before its first session,
    and new sessions use the result.  With ``never``, no machine is measured, and no earlier result is used."""


class RunSettings(Frozen):
    """Settings of a run."""

    lanes: Annotated[int, Field(ge=1, le=64, strict=True)] = 1
    """Number of experiments that are measured side by side on this machine (docs/lanes.md)."""


class EndSettings(Frozen):
    """Settings for what happens after the last experiment of a run."""

    certify_pairs: Annotated[int, Field(ge=0, le=LARGEST, multiple_of=2), Number] = 0
    """Number of pairs of runs that certify the best version; 0 means no certification.  Time is reserved for these
    runs."""
    report: Literal["auto", "always", "never"] = "auto"
    """When the report page is written; ``auto`` means if `run` ended because its time was over."""
    notify: str = ""
    """How to notify the user: ``desktop``, or a shell line that reads the outcome from its standard input."""


class MachineSettings(Frozen):
    """Settings for the machine at night; docs/night.md explains them."""

    wait_for_mains: bool = False
    """If true, experiments wait until the machine is no longer on battery."""
    wait_for_cooling: bool = False
    """If true, experiments wait while heat slows the system down, at most a quarter of an hour."""
    keep_awake: Literal["auto", "never"] = "auto"
    """When the machine is kept awake during measurements; ``auto`` means if the system allows it."""
    exclusive: Literal["auto", "always", "never"] = "auto"
    """When measuring is limited to one command at a time on this machine; ``auto`` means if a GPU trains."""
    clock: Literal["reference", "wall"] = "reference"
    """How the seconds of a budget are counted if a CPU trains.  With ``reference``, the budget is in reference seconds:
    a run on a busy machine trains as much as a run on a quiet machine, but takes longer."""
    quiet_seconds: NotNegative = 60.0
    """Longest wait in seconds for a quiet machine, before the baseline and before a disturbed run is repeated."""
    probe: Literal["auto", "never"] = "auto"
    """When the machine's speed is measured before and after each run.  ``auto`` means if a GPU trains, or if a CPU
    trains with a budget of a minute or more."""


class Settings(Frozen):
    """All settings of a lab, by section."""

    seed: Annotated[int, Field(ge=0, lt=2**63), Number] = 42
    hardware: HardwareSettings = HardwareSettings()
    target: TargetSettings = TargetSettings()
    budget: BudgetSettings = BudgetSettings()
    data: DataSettings = DataSettings()
    judge: JudgeSettings = JudgeSettings()
    agent: AgentSettings = AgentSettings()
    team: TeamSettings = TeamSettings()
    sandbox: SandboxSettings = SandboxSettings()
    limits: LimitSettings = LimitSettings()
    literals: LiteralSettings = LiteralSettings()
    run: RunSettings = RunSettings()
    end: EndSettings = EndSettings()
    machine: MachineSettings = MachineSettings()
    tools: ToolSettings = ToolSettings()
    hooks: HookSettings = HookSettings()
    metric: tuple[MetricSettings, ...] = ()
    check: tuple[CheckSettings, ...] = ()


class Resolved(Frozen):
    """Settings with the source of each value: ``default``, ``lab.toml`` or ``option``."""

    settings: Settings
    sources: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """Yield (dotted name, value, source) in the order of the sections."""
        for name, value in _flatten(self.settings.model_dump()):
            yield name, value, self.sources.get(name, "default")


def load_settings(root: Path, options: Mapping[str, Any] | None = None) -> Resolved:
    """Return the settings in ``root/lab.toml``.  ``options`` replace settings, by dotted name, unless they are None.

    Raises ConfigError, which names the file, the key, and the nearest valid key.
    """
    written = _read(root / FILE)
    if (wrong := wrong_blocks(written)) is not None:
        raise ConfigError(f"{root / FILE}: {wrong}", f"edit {root / FILE}")
    _check_names(written, root / FILE)
    if (wrong := put_primary(written)) is not None:
        raise ConfigError(f"{root / FILE}: {wrong}", f"edit {root / FILE}")
    sources = {name: FILE for name, _ in _flatten(written)}
    for name, value in (options or {}).items():
        if value is not None:
            _put(written, name, value)
            sources[name] = "option"
    try:
        return Resolved(settings=Settings.model_validate(written), sources=sources)
    except ValidationError as error:
        raise ConfigError(_explain(error, sources), f"edit {root / FILE}, or see `autoresearch-mlx doctor`") from None


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", "it should be a text file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        undecoded = isinstance(error, UnicodeDecodeError)
        hint = "save it as UTF-8" if undecoded else "correct that line; strings need quotes"
        raise ConfigError(f"{path} is not valid TOML: {error}", hint) from None
    if (name := next((name for name, value in _flatten(written) if holds_nul(value)), None)) is not None:
        said = f"{path}: {name} contains the character \\u0000, which cannot be passed to a program"
        raise ConfigError(said, "delete that character")
    return written


_FREE = "target.options."
"""Prefix of the settings that only a target that the user wrote reads."""


def _check_names(written: Mapping[str, Any], path: Path) -> None:
    known = dict(_flatten(Settings().model_dump()))
    sections = {name.split(".")[0] for name in known if "." in name}
    for name, value in _flatten(written):
        if name in sections:
            said = f"{path}: {name} = {value!r} should be a section [{name}]"
            raise ConfigError(said, f"write [{name}] on a line of its own")
        if name not in known and not (name + ".").startswith(_FREE):
            near = difflib.get_close_matches(name, known, 1, 0.5)
            last = [k for k in known if k.split(".")[-1] == name.split(".")[-1]]
            guess = (last or near or [None])[0]
            hint = f"did you mean {guess}?" if guess else f"valid names: {', '.join(known)}"
            raise ConfigError(f"{path}: unknown setting {name}", hint)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    *sections, key = name.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[key] = value


def _explain(error: ValidationError, sources: Mapping[str, str]) -> str:
    first = error.errors()[0]
    # If a setting allows several types, pydantic adds the type to the setting's name; the message leaves the type out.
    arms = ("constrained", "literal", "function")
    name = ".".join(str(part) for part in first["loc"] if not str(part).startswith(arms))
    name = next((known for known in sorted(sources, key=len, reverse=True) if name.startswith(known)), name)
    if len(first["loc"]) > 2 and isinstance(first["loc"][1], int):  # the error is in a setting of a block
        name = f"[[{first['loc'][0]}]] {first['loc'][2]}"
    given = f" (got {shown(first['input'])})" if not isinstance(first["input"], Mapping | BaseModel) else ""
    return f"{sources.get(name, FILE)}: {name}: {in_words(error.errors())}{given}"
