"""Carry out the stage ``spec``: define an agent's questions, the form of its answers, and when an answer is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.setup.factory.asking import Answer, Asker, fitting
from autoresearch_mlx.setup.factory.build import described, tools
from autoresearch_mlx.setup.factory.ledger import Problem
from autoresearch_mlx.setup.factory.prompts import spec_prompt

_LONGEST = 1500
_TEXT = {"type": "string", "minLength": 3}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["title", "input", "output", "tools", "solved"],
    "properties": {
        "title": _TEXT,
        "input": _TEXT,
        "output": _TEXT,
        "tools": {"type": "array", "items": {"type": "string"}},
        "solved": _TEXT,
    },
}


def spec_text(spec: Mapping[str, Any]) -> str:
    """Return a specification as lines for a person."""
    names = {"input": "Input", "output": "Output", "solved": "Right when"}
    return "\n\n".join([spec["title"], *(f"{word}: {spec[name]}" for name, word in names.items())]) + "\n"


def write_spec(asker: Asker, problem: Problem) -> Answer[dict[str, Any]]:
    """Ask the model for the specification of an agent for a problem, and return it.

    Tools that the template does not have are left out.
    """
    known = tools()

    def read(text: str) -> dict[str, Any]:
        value = fitting(text, SCHEMA)
        spec: dict[str, Any] = {
            name: terms.printable(value[name]).strip()[:_LONGEST] for name in ("title", "input", "output", "solved")
        }
        spec["title"] = terms.one_line(spec["title"])[:120]
        spec["tools"] = [name for name in dict.fromkeys(value["tools"]) if name in known]
        return spec

    prompt = spec_prompt(problem.title, problem.statement, problem.evidence, described(known))
    return asker.ask(problem.number, "spec", prompt, read, SCHEMA)
