"""Make the recorded calls for replay.py.  The argument names the version: ``first`` or ``edited``."""

import importlib
import importlib.abc
import importlib.util
import json
import os
import pickle
import re
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from time import process_time

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LEAST_SECONDS, MOST_PASSES, DEPTH = 0.01, 20, 12


class FirstVersion(importlib.abc.MetaPathFinder):
    """Finds the first version of the editable modules."""

    def __init__(self, modules):
        self.modules = modules

    def find_spec(self, name, path=None, target=None):
        if name not in self.modules:
            return None
        loader = SourceFileLoader(name, str(HERE / "first" / (self.modules[name] + ".txt")))
        there = ROOT / self.modules[name]
        inside = [str(there.parent)] if there.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, there, loader=loader, submodule_search_locations=inside)


def shape(value, depth=DEPTH):
    """Describe a value by its contents and not by its address: objects with equal contents count as equal."""
    if depth == 0:
        return "..."
    if isinstance(value, str | bytes | int | float | complex | bool | None.__class__ | range):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(shape(each, depth - 1) for each in value)})"
    if isinstance(value, dict):
        pairs = (f"{shape(key, depth - 1)}: {shape(each, depth - 1)}" for key, each in value.items())
        return f"{type(value).__name__}{{{', '.join(pairs)}}}"
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({', '.join(sorted(shape(each, depth - 1) for each in value))})"
    names = [*getattr(value, "__dict__", {}), *(getattr(type(value), "__slots__", ()) or ())]
    public = [name for name in names if not name.startswith("_") and hasattr(value, name)]
    if public:
        held = ", ".join(f"{name}={shape(getattr(value, name), depth - 1)}" for name in sorted(public))
        return f"{type(value).__name__}({held})"
    return type(value).__name__ if type(value).__repr__ is object.__repr__ else repr(value)


def consumed(value):
    """Return the result of a call; an iterator is run to its end, because a generator does its work only then."""
    return list(value) if hasattr(value, "__next__") else value


def one(note):
    """Return a function without arguments that makes one recorded call, and the arguments."""
    found = getattr(sys.modules[note["module"]], note["name"])
    args, kwargs = pickle.loads(note["data"])
    methods = [(name, *pickle.loads(data)) for name, data in note.get("methods", ())]

    def call():
        result = found(*args, **kwargs)
        if "methods" not in note:
            return consumed(result)
        return [consumed(getattr(result, name)(*given, **named)) for name, given, named in methods]

    return call, (args, kwargs)


def a_pass(settings, notes):
    """Load the modules again and make all calls; return the seconds, and the result of each call."""
    for name in settings["modules"]:
        sys.modules.pop(name, None)
    for name in settings["modules"]:
        importlib.import_module(name)
    prepared, outcomes = [one(note) for note in notes], []
    began = process_time()
    for call, arguments in prepared:
        try:
            outcomes.append((call(), arguments))
        except Exception as error:
            outcomes.append((error, arguments))
    seconds = process_time() - began
    return seconds, outcomes


def told(note, outcome):
    """Return a line about one call: its name, its result, and its arguments after it."""
    result, arguments = outcome
    raised = isinstance(result, Exception)
    said = f"raises {type(result).__name__}: {result}" if raised else shape(result)
    return re.sub(r" at 0x[0-9a-f]+", "", f"{note['name']} -> {said} | {shape(arguments)}".replace("\n", " "))


def probe(settings, notes):
    """Return, as JSON, a line for each call that can be repeated, and null for each one that cannot."""
    for name in settings["modules"]:
        importlib.import_module(name)
    lines = []
    for note in notes:
        try:
            call = arguments = None
            call, arguments = one(note)
            lines.append(told(note, (call(), arguments)))
        except OSError:  # probably needs a file that only the test had
            lines.append(None)
        except Exception as error:
            lines.append(told(note, (error, arguments)) if call else None)
    return json.dumps(lines)


def serve(which):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps the functions' output out of the answers
    sys.dont_write_bytecode = True
    settings = json.loads((HERE / "replay.json").read_text())
    sys.path[:0] = [str(ROOT / path) for path in settings["paths"]]
    if which == "first":
        sys.meta_path.insert(0, FirstVersion(settings["modules"]))
    os.chdir(ROOT)
    notes = pickle.loads((HERE / "calls.pickle").read_bytes())
    if which == "probe":
        answers.write(probe(settings, notes) + "\n")
        answers.flush()
    for how in sys.stdin:
        passes, spent, most = 0, 0.0, 1 if how.strip() == "once" else MOST_PASSES
        while passes == 0 or (spent < LEAST_SECONDS and passes < most):
            seconds, outcomes = a_pass(settings, notes)
            spent += seconds
            passes += 1
        answers.write(f"{spent / passes:.9f} {len(notes)}\n")
        answers.writelines(told(note, outcome) + "\n" for note, outcome in zip(notes, outcomes, strict=True))
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
