"""Define the options of a session of the target ``evals``, and read the session's cases."""

from __future__ import annotations

import ast
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.lab.source import UNPARSABLE, parse, why_unparsable
from autoresearch_mlx.targets.evals.cases import Case, Part, read_cases, split

SCRIPTED = "scripted:"
"""Prefix of a model's name if a Python file replaces the server.

The file's name follows the prefix, and the file defines ``reply(messages, seed)``.
"""
MOST_REPEATS = 1000
DOCS = "docs/agents-as-targets.md describes the options"


@dataclass(frozen=True, slots=True)
class EvalsConditions:
    """The table ``[target.options]`` of lab.toml; the ledger uses the same names."""

    model: str = ""
    """The model's name on its server, or ``scripted:FILE``."""
    endpoint: str = ""
    """Address of an OpenAI-compatible server, such as ``http://127.0.0.1:11434/v1``."""
    api_key_env: str = ""
    """Name of the environment variable that holds the server's key; the agent never sees the key."""
    temperature: float = 0.0
    max_tokens: int = 1024
    """Longest reply of the model in tokens."""
    entry: str = "agent.py:run"
    """The agent's function, called as ``run(question, tools)``."""
    cases: str = "cases.jsonl"
    """The file of cases; it may lie outside the lab."""
    tools: str = ""
    """Python file whose public functions are the tools, or an empty string if the agent has no tools."""
    files: tuple[str, ...] = ()
    """More files of the lab that the agent may read; editable files are always readable."""
    repeats: int = 1
    """Number of times that each case runs in one measurement."""
    dev_share: float = 0.5
    guard_share: float = 0.2
    """Share of the cases in guard.  ``dev_share`` is the share in dev, and all other cases are hidden."""
    calls: int = 12
    tokens: int = 20_000
    tool_calls: int = 24
    seconds: float = 60.0
    """Budget of one case in seconds.  ``calls``, ``tokens`` and ``tool_calls`` limit the calls to the model, the tokens
    of these calls, and the calls to tools."""
    tokens_limit: float | None = None
    seconds_limit: float | None = None
    errors_limit: float | None = None
    """An edit is not kept if its errors rise by more than this share of the incumbent's errors; None means no limit.
    ``tokens_limit`` and ``seconds_limit`` limit the rise of tokens and seconds in the same way."""
    judge_model: str = ""
    judge_endpoint: str = ""
    """Server of ``judge_model``, the model that judges rubrics.  If server and model are empty strings, the agent's
    model judges."""
    votes: int = 2
    """Number of votes on a rubric; in each vote the judge is asked two opposite questions."""
    patience_seconds: float = 600.0
    """How long a measurement waits for a server that does not answer, in seconds."""
    cases_sha256: str = ""
    own_sha256: str = ""
    """SHA-256 of the tools, checks and scripted model together.  This hash and the hash of the cases are computed when
    the session begins."""

    @property
    def script(self) -> str | None:
        """File of the scripted model, or None if the model runs on a server."""
        return self.model.removeprefix(SCRIPTED) if self.model.startswith(SCRIPTED) else None


def wrong_with(c: EvalsConditions) -> str | None:
    """Return what is wrong with the options, as text, or None if nothing is wrong."""
    if not c.model:
        return 'target.options.model is missing: name a model of the server, or a file as "scripted:model.py"'
    if c.script == "":
        return (
            'target.options.model is "scripted:" without a file: name the file of the model, as in "scripted:model.py"'
        )
    for model, endpoint, name in ((c.model, c.endpoint, ""), (c.judge_model, c.judge_endpoint, "judge_")):
        if model and not model.startswith(SCRIPTED) and not _is_address(endpoint):
            return f"target.options.{name}endpoint is {endpoint!r}, not the address of a server"
    if c.judge_model.startswith(SCRIPTED) and c.judge_model != c.model:
        return "target.options.judge_model names a script that is not the agent's model; leave judge_model out"
    if not c.dev_share > 0 or c.guard_share < 0 or c.dev_share + c.guard_share > 1:
        said = f"dev_share is {c.dev_share:g} and guard_share is {c.guard_share:g}"
        return f"{said}: dev_share must be above 0, guard_share 0 or more, and their sum at most 1"
    if min(c.repeats, c.calls, c.tokens, c.votes, c.max_tokens) < 1 or c.tool_calls < 0 or not c.seconds > 0:
        said = "repeats, votes, max_tokens and the budget of a case (calls, tokens, seconds) must be above 0"
        return f"{said}, and tool_calls must be 0 or more"
    if c.repeats > MOST_REPEATS or c.votes > MOST_REPEATS:
        return f"target.options.repeats and votes must be at most {MOST_REPEATS}"
    finite = {"temperature": c.temperature, "patience_seconds": c.patience_seconds, "seconds": c.seconds}
    limits = {"tokens_limit": c.tokens_limit, "seconds_limit": c.seconds_limit, "errors_limit": c.errors_limit}
    for name, value in (finite | limits).items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            return f"target.options.{name} is {value:g}, not a finite number of 0 or more"
    file, colon, function = c.entry.rpartition(":")
    outside = Path(file).is_absolute() or ".." in Path(file).parts
    if not colon or not file.endswith(".py") or outside or not function.isidentifier():
        return f"target.options.entry is {c.entry!r}, not FILE.py:FUNCTION"
    return None


def cases_path(c: EvalsConditions, root: Path) -> Path:
    """Return the path of the file of cases.  Raises ConfigError for a string that is not a path."""
    try:
        return (root / Path(c.cases).expanduser()).resolve()
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"target.options.cases is {c.cases!r}, which is not a path: {error}", DOCS) from None


def own_files(c: EvalsConditions, cases: tuple[Case, ...]) -> tuple[str, ...]:
    """Return the files with the user's tools, checks and scripted model, relative to the lab."""
    checks = {case.check["python"].partition(":")[0] for case in cases if "python" in case.check}
    return tuple(sorted({*filter(None, (c.tools, c.script)), *checks}))


def hashes(c: EvalsConditions, root: Path) -> tuple[str, str]:
    """Return the hash of the cases, and the hash of the user's own code.  Raises ConfigError for a missing file."""
    path = cases_path(c, root)
    cases = read_cases(path)
    own = hashlib.sha256()
    for name in own_files(c, cases):
        try:
            data = (root / name).read_bytes()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{root / name} cannot be read: {error}", DOCS) from None
        if (wrong := _own_wrong(data, name, c, cases)) is not None:
            raise ConfigError(f"{root / name}: {wrong}", DOCS)
        own.update(f"{name}\0".encode() + data)
    return hashlib.sha256(path.read_bytes()).hexdigest(), own.hexdigest()


def parts_of(c: EvalsConditions, root: Path) -> Mapping[Part, tuple[Case, ...]]:
    """Return the cases of each part.  Raises ConfigError if dev is empty or a file has changed."""
    if hashes(c, root) != (c.cases_sha256, c.own_sha256):
        said = "the cases, the tools, the checks or the scripted model have changed since the session began"
        raise ConfigError(said, "put the files back, or start another session with --tag NAME")
    parts = split(read_cases(cases_path(c, root)), c.dev_share, c.guard_share)
    if not parts["dev"]:
        counts = ", ".join(f"{len(found)} {part}" for part, found in parts.items())
        raise ConfigError(f"no case falls into dev ({counts})", "write more cases, or raise target.options.dev_share")
    return parts


def from_ledger(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values from a ledger.  JSON has no tuples, so this function turns the list ``files`` into a tuple
    again."""
    return {name: tuple(value) if name == "files" else value for name, value in recorded.items()}


def _is_address(endpoint: str) -> bool:
    try:
        found = urlsplit(endpoint)
        return found.scheme in ("http", "https") and bool(found.hostname) and (found.port or 1) > 0
    except ValueError:
        return False


def _own_wrong(data: bytes, name: str, c: EvalsConditions, cases: tuple[Case, ...]) -> str | None:
    """Return why a file of the user's code cannot be used, or None if it can be used.  The file must be Python that
    parses, and must define the functions that are needed."""
    if not name.endswith(".py"):
        return "it is not a Python file"
    try:
        tree = parse(data.decode("utf-8"))
    except (*UNPARSABLE, UnicodeDecodeError) as error:
        return f"it does not parse: {why_unparsable(error)}"
    if any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(tree)):
        return None
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {(each.asname or each.name) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for each in n.names}
    wanted = [("reply", "the scripted model")] if name == c.script else []
    for case in cases:
        file, _, function = str(case.check.get("python", "")).partition(":")
        if file == name:
            wanted.append((function, f"the check of case {case.id}"))
    return next((f"it has no {function}(), {why}" for function, why in wanted if function not in names), None)
