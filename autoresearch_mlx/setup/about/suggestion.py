"""Ask a model which number, files and tests a sentence means.

The reply is read as data and never run.  Without a model, rules decide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.agents.choose_model import open_endpoint, suitable_model
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import EndpointError
from autoresearch_mlx.models.wire import Ask, Endpoint, Message, closed_object
from autoresearch_mlx.setup.about.sentence import MEANINGS, Number
from autoresearch_mlx.setup.about.tests_of import test_lines
from autoresearch_mlx.setup.about.tree import Tree

NOBODY = "none"
"""Value of --model with which no model is asked and the rules alone decide."""
_MOST_PATHS, _MOST_FILES, _REPLY_TOKENS, _SECONDS = 300, 20, 1000, 120.0
_CHARACTERS_A_TOKEN = 3


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a model's reply says about a sentence."""

    number: Number
    editable: tuple[str, ...]
    guard: str | None
    """The shell line that the model chose as the guard, from the lines that it was offered; None if it chose none."""


def find_model(name: str | None, office: Office) -> tuple[Endpoint | None, str]:
    """Return the model to ask (None for no model), and the reason for this choice.

    If ``name`` is None, the model is chosen as `run` chooses.  Raises AgentError for a name that no model has.
    """
    if name == NOBODY:
        return None, "as you said"
    if name is not None:
        return open_endpoint(name, office), "as you said"
    return suitable_model(office)


def suggest(endpoint: Endpoint, sentence: str, tree: Tree, numbers: Sequence[Number]) -> Suggestion | str:
    """Ask the model once; return its suggestion, or a text that says why its reply cannot be used."""
    lines = [tests.line for tests in test_lines(tree)]
    text = _prompt(sentence, tree, numbers, lines)
    schema = closed_object(
        number={"type": "string", "enum": list(numbers)},
        editable={"type": "array", "items": {"type": "string"}},
        guard={"type": ["string", "null"]},
    )
    messages = (Message("user", text),)
    ask = Ask(messages, len(text) // _CHARACTERS_A_TOKEN, _REPLY_TOKENS, _SECONDS, schema, temperature=0.0)
    try:
        reply = endpoint.ask(ask)
    except EndpointError as error:
        return f"{endpoint.name} gave no answer: {error}"
    finally:
        endpoint.close()
    return read_reply(reply.text, tree, numbers, lines)


def _prompt(sentence: str, tree: Tree, numbers: Sequence[Number], lines: Sequence[str]) -> str:
    paths = tree.own[:_MOST_PATHS]
    more = f"\n... and {len(tree.own) - len(paths)} more files" if len(tree.own) > len(paths) else ""
    kinds = "\n".join(f"- {number}: {MEANINGS[number]}" for number in numbers)
    guards = "\n".join(f"- {line}" for line in lines) or "- none was found"
    return (
        "A program will improve one number of a repository by editing some of its files, and will check each edit.\n"
        f"The person wants: {json.dumps(sentence, ensure_ascii=False)}\n\n"
        f"Numbers that can be measured here:\n{kinds}\n\nCommands that check an edit:\n{guards}\n\n"
        f"Files:\n" + "\n".join(paths) + f"{more}\n\n"
        "Choose the number that the person means, the files that may be edited for it (as few as serve the wish; not\n"
        "the files that measure or test, unless the wish is about them), and the command that checks an edit.\n"
        'Answer with JSON alone: {"number": "...", "editable": ["path", ...], "guard": "command" or null}'
    )


def read_reply(text: str, tree: Tree, numbers: Sequence[Number], lines: Sequence[str]) -> Suggestion | str:
    """Return the suggestion in a model's reply, or a text that says why the reply cannot be used."""
    found = re.search(r"\{.*\}", text, re.DOTALL)
    try:
        said: Any = json.loads(found[0]) if found else None
    except (json.JSONDecodeError, RecursionError):
        said = None
    if not isinstance(said, Mapping):
        return f"the model's reply is not a JSON object: {terms.cut(terms.one_line(text), 60)!r}"
    number, editable, guard = said.get("number"), said.get("editable"), said.get("guard")
    if number not in numbers:
        return f"the model's reply names the number {_shown(number)}, which cannot be measured here"
    if not isinstance(editable, list) or not 0 < len(editable) <= _MOST_FILES:
        return f"the model's reply has no list of 1 to {_MOST_FILES} files"
    for path in editable:
        if not isinstance(path, str) or path not in tree.own:
            return f"the model's reply names the file {_shown(path)}, which is not one of the repository's own files"
    chosen = next(each for each in numbers if each == number)
    return Suggestion(chosen, tuple(dict.fromkeys(editable)), guard if guard in lines else None)


def _shown(value: object) -> str:
    return terms.cut(terms.one_line(repr(value)), 60)
