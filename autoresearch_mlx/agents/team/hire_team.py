"""Make a team from the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from autoresearch_mlx.agents.choose_model import PREFIXES, open_endpoint, suitable_model
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.agents.team.chief import Chief, ModelVoice, ScriptedVoice, Voice
from autoresearch_mlx.agents.team.critic import Critic
from autoresearch_mlx.agents.team.team_agent import Junior, Team
from autoresearch_mlx.errors import AgentError
from autoresearch_mlx.experiment import Agent

POLICY = "policy"


def hire_team(model: str, office: Office, load: Callable[[str, Office], Agent]) -> Agent:
    """Return the team that the settings describe.

    ``model`` advises the chief.  If the settings name no juniors, ``model`` is also a junior.  If the chief has no
    model and there is no critic, a single junior is returned without a team around it.  Raises AgentError when a member
    of the team cannot be made.
    """
    wanted = office.team
    chief = model or wanted.chief
    names = wanted.juniors or _usual(model, office)
    if any(name.partition(":")[0] in ("team", "auto") for name in names):
        raise AgentError("a junior cannot be a team or `auto`", "name other agents under [team] juniors in lab.toml")
    if len(names) == 1 and chief == POLICY and not wanted.critic:
        office.say(f"agent: a team of one junior, {names[0]}, which works without a chief")
        return load(names[0], office)
    voice = None if chief == POLICY else _voice(chief, office)
    juniors = [_junior(at, name, names.count(name) > 1, office, load) for at, name in enumerate(names, 1)]
    critic = None if wanted.critic is None else Critic(_voice(wanted.critic, office), office.say)
    return Team(office, Chief(office.seed, voice, office), juniors, critic)


def _usual(model: str, office: Office) -> tuple[str, ...]:
    """Return the default juniors: the optimiser, and a model if a suitable one is found."""
    named = model or office.settings.model
    if named is not None:
        return ("knobs", named)
    endpoint, why = suitable_model(office)
    office.say(f"agent: a team of {'knobs' if endpoint is None else f'knobs and {endpoint.name}'}: {why}")
    return ("knobs",) if endpoint is None else ("knobs", endpoint.name)


def _junior(at: int, name: str, twice: bool, office: Office, load: Callable[[str, Office], Agent]) -> Junior:
    from autoresearch_mlx.agents.chat import Chat

    own = office if office.pool is None else replace(office, lend=office.pool(at))
    label = f"{name} ({at})" if twice else name
    model = office.settings.model
    if name.partition(":")[0] in PREFIXES or name in ("chat", model):
        if name == "chat" and model is None:
            raise AgentError(
                "the junior chat needs a model", "set model under [agent] in lab.toml, or name the junior ollama:MODEL"
            )
        return Junior(label, Chat(open_endpoint(model if name == "chat" and model else name, own), own, 0.0), True)
    agent = load(name, own)
    return Junior(label, agent, hasattr(agent, "next_brief"))


def _voice(name: str, office: Office) -> Voice:
    kind, _, rest = name.partition(":")
    return ScriptedVoice(Path(rest)) if kind == "scripted" else ModelVoice(open_endpoint(name, office), office)
