"""Run the user's own code in a separate process: tools, Python checks, a scripted model.

    python -P -m autoresearch_mlx.targets.evals.inside.scorer SETUP

SETUP is a JSON object.  Its field ``root`` is the lab's folder; ``tools`` and ``model`` are names of files in this
folder, or null.  The process answers each line of standard input with one line of JSON, and ends when standard input is
closed.  What the user's code prints goes to standard error.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from autoresearch_mlx.targets.evals.inside.checks import checked


class Own:
    """The user's modules, each loaded once from the lab's folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._loaded: dict[str, ModuleType] = {}

    def module(self, name: str) -> ModuleType:
        if name not in self._loaded:
            spec = importlib.util.spec_from_file_location(f"own_{len(self._loaded)}", self._root / name)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            self._loaded[name] = module
        return self._loaded[name]

    def function(self, place: str) -> Any:
        name, _, function = place.partition(":")
        return getattr(self.module(name), function)


def tools_of(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Return the tools of a module: its public functions, in the order of the file."""
    own = (f for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__)
    return {f.__name__: f for f in own if not f.__name__.startswith("_")}


def described(tools: Mapping[str, Callable[..., Any]]) -> list[dict[str, Any]]:
    """Return the name, parameters and description of each tool, for a prompt."""
    return [
        {
            "name": name,
            "parameters": list(inspect.signature(tool).parameters),
            "description": (inspect.getdoc(tool) or "").partition("\n\n")[0],
        }
        for name, tool in tools.items()
    ]


def answer(asked: Mapping[str, Any], setup: Mapping[str, Any], own: Own) -> dict[str, Any]:
    """Return the answer to one request; if the user's code raises an error, the answer describes the error."""
    what = asked["do"]
    try:
        if what == "check":
            score = checked(asked["check"], asked["answer"], asked["case"], own.function)
            return {"score": score.score, "why": score.why}
        if what == "model":
            reply = own.module(setup["model"]).reply(asked["messages"], asked["seed"])
            if not isinstance(reply, str):
                raise TypeError(f"{setup['model']}: reply returned a {type(reply).__name__}, not a string")
            return {"text": reply}
        tools = tools_of(own.module(setup["tools"])) if setup["tools"] else {}
        if what == "tools":
            return {"tools": described(tools)}
        if asked["name"] not in tools:
            return {"error": f"there is no tool {asked['name']!r}; tools: {', '.join(tools) or 'none'}"}
        found = tools[asked["name"]](**asked["arguments"])
        json.dumps(found)
        return {"result": found}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main(setup: Mapping[str, Any]) -> None:
    """Answer requests until standard input is closed."""
    say = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    root = Path(setup["root"])
    sys.path.insert(0, str(root))
    own = Own(root)
    for line in sys.stdin:
        say.write(json.dumps(answer(json.loads(line), setup, own), default=str) + "\n")
        say.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
