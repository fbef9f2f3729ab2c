"""Use LM Studio: ask questions through OpenAI's API, and get facts and unload models through LM Studio's own API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.models.openai import OpenAICompatible
from autoresearch_mlx.models.wire import ModelFacts, billions_in, first_number

PORT = 1234
_POLL_SECONDS = 0.1


class LmStudio(OpenAICompatible):
    """One model in LM Studio.  Versions before 0.4 report fewer facts, and cannot unload a model on request."""

    _start = "start LM Studio's server: `lms server start`"

    def facts(self) -> ModelFacts:
        if self._facts is None:
            self._facts = self._own_facts() or self._ask_facts()
        return self._facts

    def release(self, seconds: float = 30.0) -> float | None:
        """Unload every instance of the model, wait until no instance is listed, and return the seconds until then.

        Returns None when no instance was loaded, or when this version of LM Studio cannot unload a model.  Raises
        EndpointError (hung) when an instance is still listed after ``seconds``.
        """
        started = time.monotonic()
        if not self.here or not (loaded := self._instances()):
            return None
        for instance in loaded:
            answer = self.get(self._root + "/api/v1/models/unload", {"instance_id": instance})
            if answer.status >= 400:
                raise self.refused(answer.status, answer.text, answer.headers)
        while loaded := self._instances():
            if time.monotonic() - started > seconds:
                listed = ", ".join(loaded)
                said = f"{self.where} still lists {listed} {seconds:g} s after the request to unload the model"
                raise EndpointError("hung", said, "eject the model in LM Studio, or run `lms unload --all`")
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - started

    @property
    def _root(self) -> str:
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    def _own_facts(self) -> ModelFacts | None:
        entry = self._entry("/api/v1/models", "models", "key") or self._entry("/api/v0/models", "data", "id")
        if entry is None:
            return None
        words = entry.get("params_string")
        # The context of the loaded instance is used, because for a longer context the model would be loaded again.
        contexts = [first_number(config, "context_length") for config in _configs(entry)]
        return ModelFacts(
            model=self.model,
            billions=billions_in(words) if isinstance(words, str) else None,
            context_tokens=min((c for c in contexts if c), default=None)
            or first_number(entry, "loaded_context_length", "max_context_length"),
            size_bytes=first_number(entry, "size_bytes"),
            enforces_schema="response_format" not in self._unwanted,
            here=self.here,
        )

    def _entry(self, path: str, listing: str, key: str) -> dict[str, Any] | None:
        """Return this model's entry in LM Studio's list at ``path``; None when the entry or the list is missing.

        A version of LM Studio that has no such list answers with status 200, but without the list.
        """
        data = self.get(self._root + path).data
        entries = data.get(listing) if isinstance(data, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and self.model in (entry.get(key), *_ids(entry)):
                return entry
        return None

    def _instances(self) -> list[str]:
        entry = self._entry("/api/v1/models", "models", "key")
        return _ids(entry) if entry else []


def _loaded(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = entry.get("loaded_instances")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _ids(entry: Mapping[str, Any]) -> list[str]:
    return [each["id"] for each in _loaded(entry) if isinstance(each.get("id"), str)]


def _configs(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each["config"] for each in _loaded(entry) if isinstance(each.get("config"), dict)]
