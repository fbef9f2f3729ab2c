"""JSON schemas as the strict modes of the servers want them."""

from __future__ import annotations

from typing import Any


def closed_object(**properties: Any) -> dict[str, Any]:
    """An object with all of these properties and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
