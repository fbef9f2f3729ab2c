"""Choose the models of a factory: the models that write and build, and the model that the built agents ask."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx.agents.choose_model import PREFIXES, open_endpoint, suitable_model
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import AgentError, EndpointError
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.lab.config import AgentSettings, load_settings
from autoresearch_mlx.models.ollama import Ollama
from autoresearch_mlx.models.openai import PUBLIC_URL, OpenAICompatible
from autoresearch_mlx.models.wire import Ask, Endpoint, Message
from autoresearch_mlx.setup.factory.asking import Asker
from autoresearch_mlx.setup.factory.build import AgentModel
from autoresearch_mlx.setup.factory.ledger import Problem
from autoresearch_mlx.store.talks import spent
from autoresearch_mlx.targets.contract import Say

_NO_MODEL = "start Ollama with a model, or name one: --agent ollama:MODEL, openai:MODEL ... (docs/models.md)"


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of calls to models."""

    tokens: int
    money: float | None
    """Amount in the currency of the prices in lab.toml; None if lab.toml has no prices."""
    estimated: bool
    """True if the tokens of some calls are estimates, because a server gave no counts."""


@dataclass(frozen=True, slots=True)
class Staff:
    """The models of a factory."""

    writer: Asker
    """The model that finds problems, writes specifications and builds agents."""
    examiner: Asker
    """The model that writes the cases, in separate calls; it may be the same model as ``writer``."""
    settings: AgentSettings
    work: Path

    def spent(self, problem: Problem) -> Cost:
        """Return what the agent of a problem has cost so far, including the loop's proposals."""
        calls = spent(self.work, problem.number)
        loop = problem.improved or {}
        money = calls.cost(self.settings.price_in, self.settings.price_out)
        money = None if money is None else money + (loop.get("money") or 0.0)
        return Cost(calls.tokens + int(loop.get("tokens", 0)), money, bool(calls.estimated or loop.get("estimated")))

    def proposer(self) -> AgentSettings:
        """Return the settings of the agent that asks the writer for edits in the stage ``improve``."""
        endpoint, update = self.writer.endpoint, dict[str, Any]()
        if isinstance(endpoint, OpenAICompatible):
            update = {"base_url": endpoint.base_url, "api_key_env": self._key_env(endpoint.base_url)}
        form = "blocks" if self.settings.format == "auto" else self.settings.format
        most = self.settings.max_tokens_total
        left = None if most is None else max(1, most - spent(self.work).tokens)
        # The built agents may ask the same model between two proposals, so unloading it would only take time.
        loaded = True if self.settings.keep_loaded == "auto" else self.settings.keep_loaded
        told = {"name": "chat", "model": endpoint.name, "format": form, "max_tokens_total": left, "keep_loaded": loaded}
        return self.settings.model_copy(update={**told, **update})

    def agent_model(self, name: str | None, endpoint: str | None) -> AgentModel:
        """Return the model that the built agents ask: ``name`` on the server ``endpoint``.

        If one of these is None, the writer's model or server is used.  Raises AgentError if this program itself starts
        the writer's server, because that server ends with the factory.
        """
        own, patience = self.writer.endpoint, self.settings.patience_seconds
        if name and endpoint:
            return AgentModel(name, endpoint, self._key_env(endpoint) or "", patience)
        if isinstance(own, OpenAICompatible):
            address = endpoint or own.base_url
            return AgentModel(name or own.model_there(), address, self._key_env(address) or "", patience)
        if isinstance(own, Ollama):
            return AgentModel(name or own.model, endpoint or f"{own.address.rstrip('/')}/v1", "", patience)
        said = f"the agents need a server that runs without this program, and {own.name} has none"
        raise AgentError(said, "name their model and server: --agents-model MODEL --agents-endpoint URL")

    def _key_env(self, address: str) -> str | None:
        if self.settings.api_key_env:
            return self.settings.api_key_env
        public = address in (PUBLIC_URL, os.environ.get("OPENAI_BASE_URL", "").rstrip("/"))
        return "OPENAI_API_KEY" if public and os.environ.get("OPENAI_API_KEY") else None

    def must_answer(self) -> None:
        """Ask the writer for one word, to test its server.  Raises EndpointError when the server does not answer."""
        settings = self.settings
        ask = Ask((Message("user", "Say ok."),), 10, 16, min(60.0, settings.timeout_seconds), temperature=0.0)
        try:
            self.writer.endpoint.ask(ask)
        except EndpointError as error:
            if error.kind in ("unreachable", "busy", "hung", "dropped"):
                raise

    def close(self) -> None:
        """Stop the models' servers that this program has started; the next call to a model starts its server again."""
        for each in {id(asker.endpoint): asker.endpoint for asker in (self.writer, self.examiner)}.values():
            each.close()


def staff(root: Path, work: Path, agent: str | None, examiner: str | None, say: Say) -> Staff:
    """Return the models of the factory in ``root``.

    The writer is the model named ``agent``, else the model of ``[agent]`` in the folder's lab.toml, else the model that
    ``run`` would choose.  The examiner is the model named ``examiner``, else the writer.  Raises AgentError when there
    is no model.
    """
    settings = load_settings(root).settings.agent
    office = Office(settings, folder=work, say=say, memory_bytes=read_machine().memory_bytes)
    writer = _opened(agent or _of_settings(settings), office)
    say(f"model: {writer.name}")
    checker = writer if examiner is None else _opened(examiner, office)
    return Staff(Asker(writer, office), Asker(checker, office), settings, work)


def _opened(name: str | None, office: Office) -> Endpoint:
    if name is not None:
        return open_endpoint(name, office)
    endpoint, why = suitable_model(office)
    if endpoint is None:
        raise AgentError(f"there is no model: {why}", _NO_MODEL)
    return endpoint


def _of_settings(settings: AgentSettings) -> str | None:
    if settings.model is not None:
        return settings.model
    return settings.name if settings.name.partition(":")[0] in PREFIXES else None
