"""Agents propose edits.  ``load_agent`` finds one by name: ``knobs``, ``scripted:PATH``, ``module:Class``."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Agent

NAMES = ("knobs", "scripted:PATH", "module:Class")


def load_agent(name: str, settings: Mapping[str, Any], seed: int) -> Agent:
    """The agent of this name.

    ``module:Class`` is imported and called with ``settings=...`` if it takes that, else with nothing;
    ``settings`` is passed on unread.  Raises AgentError for an unknown name, a module or class that
    cannot be imported or called, or an object without ``propose``.
    """
    if name == "knobs":
        from autoresearch_mlx.agents.knobs import Knobs

        return Knobs(seed)
    kind, colon, rest = name.partition(":")
    if colon and kind == "scripted":
        from autoresearch_mlx.agents.scripted import Scripted

        return Scripted(Path(rest))
    if colon and kind and rest:
        return _load_own(kind, rest, settings)
    raise AgentError(f"there is no agent named {name!r}", _hint(name))


def _hint(name: str) -> str:
    near = get_close_matches(name.partition(":")[0], [n.partition(":")[0] for n in NAMES], n=1)
    known = f"known agents: {', '.join(NAMES)}"
    return f"did you mean {near[0]!r}? {known}" if near else known


def _load_own(module: str, attribute: str, settings: Mapping[str, Any]) -> Agent:
    where = f"{module}:{attribute}"
    # An installed command does not search the current directory, where a user's agent usually lies.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    # Whatever a user's own module raises while it is imported or built is a fact about that module.
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise AgentError(f"cannot import the agent {where!r}: {_said(error)}", _IMPORT_HINT) from error
    try:
        agent = found(settings=settings) if _takes_settings(found) else found()
    except Exception as error:
        raise AgentError(f"cannot make the agent {where!r}: {_said(error)}", _CALL_HINT) from error
    if not callable(getattr(agent, "propose", None)):
        raise AgentError(f"the agent {where!r} has no method propose(context)", _CALL_HINT)
    if not isinstance(getattr(agent, "name", None), str):
        agent.name = where
    return cast(Agent, agent)


_IMPORT_HINT = "give it as module:Class, importable from here; known agents: " + ", ".join(NAMES)
_CALL_HINT = "the class needs a name, a method propose(context) and a call without arguments or with settings=..."


def _takes_settings(factory: Any) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "settings" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
