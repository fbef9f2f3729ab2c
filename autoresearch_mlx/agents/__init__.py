"""Load the agents, which propose edits.

``load_agent`` finds an agent by its name, such as ``knobs``, ``claude`` or ``module:Class``.  An installed package
offers agents of its own in the entry-point group :data:`GROUP`.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from autoresearch_mlx.agents.choose_model import PREFIXES
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.presets import PRESETS, find_preset, preset_line
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Agent, History
from autoresearch_mlx.lab.plugins import import_named, offered, said

if TYPE_CHECKING:
    from autoresearch_mlx.agents.command import CodingAgent
    from autoresearch_mlx.models.wire import Endpoint

GROUP = "autoresearch_mlx.agents"
"""Entry-point group in which a package offers agents; each entry names a class as ``module:Class``."""
NAMES = (
    "auto",
    "knobs",
    "hybrid",
    "hybrid:MODEL",
    "hybrid:command:LINE",
    "hybrid:claude",
    "chat",
    "ollama:MODEL",
    "lmstudio:MODEL",
    "openai:MODEL",
    "mlx:MODEL_OR_PATH",
    "playbook",
    "command",
    "command:LINE",
    *(preset.name for preset in PRESETS),
    "team",
    "team:MODEL",
    "scripted:PATH",
    "module:Class",
)
_WITHOUT_MODEL = ("knobs", "playbook", "upkeep")
"""Names of agents that ask no model.  They do not read the user's notes and ideas."""
_IMPORT_HINT = "name a class as module:Class (imported from this folder); known agents: " + ", ".join(NAMES)
_CALL_HINT = (
    "the class needs a name and a method propose(context), and is called with settings=... or without arguments"
)


def load_agent(name: str, office: Office) -> Agent:
    """Return the agent with this name.

    A class given as ``module:Class``, or offered by an installed package, is imported and called.  If the class accepts
    the argument ``settings``, it gets the settings; otherwise it is called without arguments.
    Raises AgentError for an unknown name, a model server that cannot be used, a module or class that cannot be
    imported or called, or an object without ``propose``.
    """
    kind, colon, rest = name.partition(":")
    if kind in PREFIXES:
        return _chat(name, office)
    if preset_line(name) is not None and name not in offered(GROUP):
        return _command(name, office)
    makers = {
        "auto": _auto,
        "knobs": _knobs,
        "hybrid": _hybrid,
        "chat": _chat_from_settings,
        "playbook": _playbook,
        "command": lambda line, office: _command(f"command:{line}", office),
        "scripted": _scripted,
        "team": _team,
    }
    takes = {"hybrid", "command", "scripted", "team"}
    if kind in makers and (not colon or (kind in takes and rest)):
        return makers[kind](rest, office)
    if name not in makers and (where := offered(GROUP).get(name)) is not None:
        module, _, attribute = where.partition(":")
        return _load_own(module, attribute, office.settings.model_dump())
    if colon and kind and rest and kind not in makers:
        return _load_own(kind, rest, office.settings.model_dump())
    raise AgentError(f"there is no agent named {name!r}", _hint(name))


def unread(history: History) -> str:
    """Return a message if no agent that has proposed so far reads the user's notes and ideas, or else an empty
    string."""
    proposers = {e.agent for e in history.experiments if e.number > 0 and e.agent}
    if not proposers or not proposers.issubset(_WITHOUT_MODEL):
        return ""
    named = " and ".join(sorted(proposers))
    asks = "has proposed, and it asks no model" if len(proposers) == 1 else "have proposed, and they ask no model"
    return f"your notes and ideas wait until a model is used: so far only {named} {asks}"


def _auto(rest: str, office: Office) -> Agent:
    """Return ``hybrid`` if a server has a suitable model, else ``knobs``; print the choice and its reason."""
    from autoresearch_mlx.agents.choose_model import suitable_model

    if office.team.juniors:
        return _team("", office)
    if office.settings.model is not None:
        office.say(f"agent: hybrid with {office.settings.model}, the model in the settings")
        return _hybrid("", office)
    endpoint, why = suitable_model(office)
    office.say(f"agent: {'knobs, no model' if endpoint is None else f'hybrid with {endpoint.name}'}: {why}")
    return _knobs("", office) if endpoint is None else _pair(endpoint, office)


def _knobs(rest: str, office: Office) -> Agent:
    from autoresearch_mlx.agents.knobs.knobs_agent import Knobs

    return Knobs(office.seed)


def _hybrid(model: str, office: Office) -> Agent:
    from autoresearch_mlx.agents.choose_model import open_endpoint, suitable_model

    if model.partition(":")[0] == "command" or preset_line(model) is not None:
        from autoresearch_mlx.agents.command import Standby

        agent = _coding_agent(model, office)
        return Standby(agent, _knobs("", office), office, office.settings.share)
    wanted = model or office.settings.model
    if wanted is not None:
        return _pair(open_endpoint(wanted, office), office)
    endpoint, why = suitable_model(office)
    if endpoint is None:
        raise AgentError(
            f"hybrid needs a model: {why}", "use --agent hybrid:ollama:MODEL, or set model under [agent] in lab.toml"
        )
    office.say(f"agent: hybrid with {endpoint.name}: {why}")
    return _pair(endpoint, office)


def _pair(endpoint: Endpoint, office: Office) -> Agent:
    from autoresearch_mlx.agents.chat import Chat
    from autoresearch_mlx.agents.hybrid import Hybrid

    # The optimiser takes over at once, so there is no need to wait for a server that is down.
    return Hybrid(Chat(endpoint, office, patience_seconds=0.0), _knobs("", office), office)


def _chat(name: str, office: Office) -> Agent:
    from autoresearch_mlx.agents.chat import Chat
    from autoresearch_mlx.agents.choose_model import open_endpoint

    return Chat(open_endpoint(name, office), office)


def _chat_from_settings(rest: str, office: Office) -> Agent:
    if office.settings.model is None:
        hint = (
            'set model and base_url = "http://127.0.0.1:8080/v1" under [agent] in lab.toml, or use --agent ollama:MODEL'
        )
        raise AgentError("chat needs a model", hint)
    return _chat(office.settings.model, office)


def _playbook(rest: str, office: Office) -> Agent:
    from autoresearch_mlx.agents.playbook import Playbook

    return Playbook(say=office.say)


def _command(name: str, office: Office) -> Agent:
    from autoresearch_mlx.agents.command import Standby

    agent = _coding_agent(name, office)
    return Standby(agent, _knobs("", office), office) if office.settings.meanwhile == "knobs" else agent


def _coding_agent(name: str, office: Office) -> CodingAgent:
    """Return the coding agent of ``command:LINE``, or of the preset called ``name``.

    Raises AgentError when there is no shell line, no program, or no worktree.
    """
    from autoresearch_mlx.agents.command import CodingAgent

    kind, _, rest = name.partition(":")
    chosen = preset_line(name) or rest or office.settings.command
    if not chosen:
        known = ", ".join(preset.name for preset in PRESETS)
        raise AgentError(
            "command needs the shell line of a coding agent",
            f'set command = "claude -p ..." under [agent] in lab.toml, or use --agent "command:LINE", or'
            f" one of these names: {known}",
        )
    if (preset := find_preset(kind)) is not None and shutil.which(preset.name) is None:
        raise AgentError(f"{preset.name} is not on PATH", preset.install)
    if office.lend is None:
        raise AgentError("a coding agent needs a session's worktree", "start it with `autoresearch-mlx run`")
    return CodingAgent(chosen, office, office.lend, office.may_edit, kind)


def _team(model: str, office: Office) -> Agent:
    from autoresearch_mlx.agents.team.hire_team import hire_team

    return hire_team(model, office, load_agent)


def _scripted(path: str, office: Office) -> Agent:
    from autoresearch_mlx.agents.scripted import Scripted

    return Scripted(Path(path))


def _hint(name: str) -> str:
    names = [*NAMES, *sorted(offered(GROUP))]
    near = get_close_matches(name.partition(":")[0], [n.partition(":")[0] for n in names], n=1, cutoff=0.7)
    known = f"known agents: {', '.join(names)}"
    return f"did you mean {near[0]!r}? {known}" if near else known


def _load_own(module: str, attribute: str, settings: Mapping[str, Any]) -> Agent:
    where = f"{module}:{attribute}"
    # Any exception is caught, because a user's own module may raise any error while it is imported or called.
    try:
        found = import_named(where, Path.cwd())
    except Exception as error:
        near = get_close_matches(module, {n.partition(":")[0] for n in NAMES if ":" in n}, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}:{attribute}? {_IMPORT_HINT}" if near else _IMPORT_HINT
        raise AgentError(f"cannot import the agent {where!r}: {said(error)}", hint) from error
    try:
        agent = found(settings=settings) if _takes_settings(found) else found()
    except Exception as error:
        raise AgentError(f"cannot make the agent {where!r}: {said(error)}", _CALL_HINT) from error
    if not callable(getattr(agent, "propose", None)):
        raise AgentError(f"the agent {where!r} has no method propose(context)", _CALL_HINT)
    if not isinstance(getattr(agent, "name", None), str):
        agent.name = where
    return cast(Agent, agent)


def _takes_settings(factory: Any) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "settings" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
