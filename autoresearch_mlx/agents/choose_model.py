"""Turn a model's name into an endpoint, and choose the model for ``--agent auto``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import AgentError, EndpointError
from autoresearch_mlx.models.wire import Endpoint

if TYPE_CHECKING:
    from autoresearch_mlx.models.ollama import Ollama
    from autoresearch_mlx.models.ollama_models import Installed

PREFIXES = ("ollama", "lmstudio", "openai", "mlx")
"""Prefixes of a model's name; each names a kind of server."""
_KNOWN = "a model is named ollama:MODEL, lmstudio:MODEL, openai:MODEL or mlx:MODEL_OR_PATH"
_LM_STUDIO = "http://127.0.0.1:1234/v1"
_WEIGHTS = 0.6
"""Largest share of memory that a model's weights may take; the context and the system need the rest."""
_GB = 2**30
_NAMED = 6
_SUGGESTED = ((18.0, "qwen3-coder:30b"), (6.5, "qwen3.5:9b"), (0.0, "qwen3.5:4b"))
"""Recommended models, each with the memory in GB that its weights need."""


def open_endpoint(name: str, office: Office) -> Endpoint:
    """Return the endpoint of ``ollama:MODEL``, ``lmstudio:MODEL``, ``openai:MODEL`` or ``mlx:MODEL_OR_PATH``.

    A name without one of these prefixes is a model at the settings' ``base_url``.  This function calls no server.

    Raises AgentError for an unknown prefix, an invalid address, or a key that is not in the environment.
    """
    kind, colon, model = name.partition(":")
    makers: dict[str, Callable[[str, Office], Endpoint]] = {
        "ollama": _ollama,
        "lmstudio": _lmstudio,
        "openai": _openai,
        "mlx": _mlx,
    }
    if colon and kind in makers:
        if not model:
            raise AgentError(f"{name} lacks the name of a model", _KNOWN)
        return makers[kind](model, office)
    near = get_close_matches(kind.lower(), PREFIXES, 1, 0.7) if colon else []
    if near:
        raise AgentError(f"there is no kind of server named {kind!r}", f"did you mean {near[0]}:{model}?")
    if office.settings.base_url is None:
        hint = f"name a model of Ollama as ollama:{name}; {_KNOWN}, or set base_url in [agent] of lab.toml"
        raise AgentError(f"{name or 'no name'!r} does not say which server has the model", hint)
    if not name:
        raise AgentError("base_url is set, but no model", "set model in [agent] of lab.toml")
    return _at(office.settings.base_url, name, name, office)


def _ollama(model: str, office: Office) -> Endpoint:
    from autoresearch_mlx.models.ollama import Ollama

    return Ollama(model, office.settings.base_url, most_context=_most_context(office))


def _most_context(office: Office) -> int | None:
    tokens = office.settings.context_tokens
    return None if tokens == "auto" else tokens


def _lmstudio(model: str, office: Office) -> Endpoint:
    from autoresearch_mlx.models.lmstudio import LmStudio
    from autoresearch_mlx.models.web import is_here

    url = _address(office.settings.base_url or _LM_STUDIO)
    here = is_here(urlsplit(url).hostname or "")
    return LmStudio(
        f"lmstudio:{model}", url, model, _key_of_settings(office), here, key_env=office.settings.api_key_env
    )


def _openai(model: str, office: Office) -> Endpoint:
    from autoresearch_mlx.models.openai import PUBLIC_URL

    url = office.settings.base_url or os.environ.get("OPENAI_BASE_URL") or PUBLIC_URL
    return _at(url, f"openai:{model}", model, office)


def _mlx(model: str, office: Office) -> Endpoint:
    from autoresearch_mlx.models.mlx import MlxServer

    return MlxServer(model, office.folder)


def _at(url: str, name: str, model: str, office: Office) -> Endpoint:
    """Return the endpoint of a model at an address from the settings."""
    from autoresearch_mlx.models import lmstudio
    from autoresearch_mlx.models.openai import OpenAICompatible
    from autoresearch_mlx.models.web import is_here

    url = _address(url)
    here = is_here(urlsplit(url).hostname or "")
    key, key_env = _key_for(url, here, office)
    made = lmstudio.LmStudio if here and urlsplit(url).port == lmstudio.PORT else OpenAICompatible
    return made(name, url, model, key, here, key_env=key_env)


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise AgentError(f"base_url {url!r} is not an address", "an address looks like http://127.0.0.1:8080/v1")
    return url.rstrip("/")


# -- keys: from the environment only ----------------------------------------------------------------------------------


def _key_for(url: str, here: bool, office: Office) -> tuple[str | None, str | None]:
    """Return the key to send to an address (None for no key), and the name of the environment variable with the key.

    OPENAI_API_KEY is sent only to OpenAI and to the address in OPENAI_BASE_URL.  A server at any other address gets
    only the key whose variable the settings name.
    """
    from autoresearch_mlx.models.openai import PUBLIC_URL

    if office.settings.api_key_env:
        return _key_of_settings(office), office.settings.api_key_env
    if url == PUBLIC_URL:
        return _key_in("OPENAI_API_KEY"), "OPENAI_API_KEY"
    if office.settings.base_url is None:
        needed = not here or os.environ.get("OPENAI_API_KEY")
        return (_key_in("OPENAI_API_KEY") if needed else None), "OPENAI_API_KEY"
    return None, None


def _key_of_settings(office: Office) -> str | None:
    return _key_in(office.settings.api_key_env) if office.settings.api_key_env else None


def _key_in(variable: str) -> str:
    """Return the key in an environment variable.

    Raises AgentError if the value cannot be a key; the message never quotes the value.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        said = f"the environment variable {variable} does not hold an API key"
        raise AgentError(
            said, f"export {variable}=..., or name another variable with api_key_env under [agent] in lab.toml"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise AgentError(f"{variable} does not hold an API key: a key is ASCII without spaces", f"check {variable}")
    return key


# -- the choice of auto -----------------------------------------------------------------------------------------------


def suitable_model(office: Office) -> tuple[Endpoint | None, str]:
    """Return the endpoint to use when the user names no model, and the reason as text.

    Without a ``base_url``, the model comes from an Ollama server on this machine.  If ``base_url`` is an Ollama server,
    the model comes from this server.  A server of another kind must offer exactly one model.  The endpoint is None if
    there is no suitable model.
    """
    from autoresearch_mlx.models.openai import ANY, OpenAICompatible

    url = office.settings.base_url
    if url is None or _is_ollama(url):
        return suitable_ollama(office)
    endpoint = open_endpoint(ANY, office)
    assert isinstance(endpoint, OpenAICompatible)
    try:
        models = endpoint.models()
    except EndpointError as error:
        return None, str(error)
    if not models:
        return None, f"the server at {endpoint.where} lists no model; name a model as `model` under [agent] in lab.toml"
    chosen = endpoint.model_there() if len(models) == 1 or any(m.startswith("/") for m in models) else None
    if chosen is None:
        named = ", ".join(models[:_NAMED])
        said = f"the server at {endpoint.where} has several models ({named})"
        return None, f"{said}; name one as `model` under [agent] in lab.toml"
    return open_endpoint(chosen, office), f"it is the model of the server at {endpoint.where}"


def _is_ollama(url: str) -> bool:
    """Return whether an Ollama server answers at an address, with or without ``/v1`` at its end."""
    from autoresearch_mlx.models.ollama import Ollama

    try:
        Ollama("", url).list_models(connect_seconds=1.0)
    except EndpointError:
        return False
    return True


def suitable_ollama(office: Office) -> tuple[Endpoint | None, str]:
    """Return the endpoint of the best installed Ollama model that fits into memory, and the reason as text.

    Cloud models, embedding models and models that cannot chat are left out.  Models whose weights take more than 0.6 of
    the memory are left out too, because the model's context and the system need room as well.  The best model is the
    first in this order: models made for code, then by number of parameters, size of the file, and name.  The endpoint
    is None if no model is suitable.
    """
    from autoresearch_mlx.models.ollama import Ollama

    asked = Ollama("", office.settings.base_url)
    try:
        installed = asked.list_models(connect_seconds=1.0)
        able = [model for model in installed if not model.cloud and _answers(asked, model)]
    except EndpointError as error:
        nobody = f"no Ollama answers at {asked.where.removeprefix('Ollama at ')}"
        return None, nobody if error.kind == "unreachable" else str(error)
    fitting = sorted((model for model in able if _fits(model, office)), key=_rank)
    if not fitting:
        return None, f"{asked.where} has no suitable model: {_lacks(installed, able)}; {_pull(office)}"
    best = fitting[0]
    return _ollama(best.name, office), f"{_praise(best, fitting, office)}, in {asked.where}"


def _answers(asked: Ollama, model: Installed) -> bool:
    """Return whether a model can answer in a chat.

    An older Ollama does not say this in its list of models.  Then one more request asks Ollama about this model.
    """
    from autoresearch_mlx.models.ollama_models import completes

    if model.embeds:
        return False
    if model.capabilities is not None:
        return "completion" in model.capabilities
    return completes(asked.show(model.name))


def _room(office: Office) -> float | None:
    """Return how many bytes a model's weights may take; None when the size of this machine's memory is unknown."""
    return None if office.memory_bytes is None else _WEIGHTS * office.memory_bytes


def _fits(model: Installed, office: Office) -> bool:
    room = _room(office)
    return room is None or model.size_bytes is None or model.size_bytes <= room


def _for_code(model: Installed) -> bool:
    return any(word in model.name.lower() for word in ("coder", "code", "devstral"))


def _rank(model: Installed) -> tuple[bool, float, int, str]:
    return not _for_code(model), -(model.billions or 0.0), -(model.size_bytes or 0), model.name


def _praise(best: Installed, fitting: Sequence[Installed], office: Office) -> str:
    kind = "code model" if _for_code(best) else "one"
    first = f"{best.name} is the largest {kind} of the {len(fitting)} suitable models"
    if len(fitting) == 1:
        first = f"{best.name} is the only suitable model"
    if best.size_bytes is None:
        return f"{first} (its size is unknown)"
    size = f"{best.size_bytes / _GB:.1f} GB"
    if office.memory_bytes is None:
        return f"{first} ({size}; this machine's memory is unknown)"
    return f"{first} ({size} of {office.memory_bytes / _GB:.0f} GB of memory)"


def _lacks(installed: Sequence[Installed], able: Sequence[Installed]) -> str:
    """Return, as text, why each of the installed models is unsuitable, or that no model is installed."""
    if not installed:
        return "it has no models"
    reasons = []
    for model in installed:
        if model in able:
            size = (model.size_bytes or 0) / _GB
            reasons.append(f"{model.name} takes {size:.1f} GB, too much for this machine")
        else:
            reasons.append(f"{model.name} {'is in the cloud' if model.cloud else 'does not chat'}")
    return ", ".join(reasons[:_NAMED]) + (f", and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else "")


def _pull(office: Office) -> str:
    room = (_room(office) or 0.0) / _GB
    model = next((name for least, name in _SUGGESTED if room >= least), _SUGGESTED[-1][1])
    return f"`ollama pull {model}` downloads a model that fits"
