"""Record the calls that the tests make to the edited files, for replay.py: `python3 measuring/record.py`.

The public functions of the editable modules, and the methods of their public classes, are wrapped while the tests run.
A call from outside the module is recorded with its arguments.  Calls inside the module are not recorded, because an
edit may change them.
"""

import functools
import inspect
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MOST_CALLS, MOST_BYTES, MOST_SECONDS = 2000, 1_000_000, 0.5
editable = [str((ROOT / path).resolve()) for path in json.loads((HERE / "replay.json").read_text())["editable"]]
calls, seen, objects = [], set(), {}
state = {"depth": 0, "bytes": 0, "seconds": 0.0}


def packed(*values):
    """Return the values as bytes, or None if they cannot be stored."""
    try:
        data = pickle.dumps(values, protocol=4)
        pickle.loads(data)
    except Exception:
        return None
    return data


def room(data):
    """Return whether the limits leave room for one more call, with this ``data``."""
    return len(calls) < MOST_CALLS and state["bytes"] + len(data) < MOST_BYTES and state["seconds"] < MOST_SECONDS


def outermost(function, before, after):
    """Wrap a function: ``before`` and ``after`` are called around each call that comes from outside."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        if state["depth"]:
            return function(*args, **kwargs)
        note = before(args, kwargs)
        state["depth"] += 1
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            state["depth"] -= 1
            state["seconds"] += time.perf_counter() - began
            after(note, args)

    return wrapped


def of_function(module, name, function):
    """Return the wrapped function."""

    def before(args, kwargs):
        data = packed(args, kwargs)
        key = (module, name, data)
        if data is not None and key not in seen and room(data):
            seen.add(key)
            state["bytes"] += len(data)
            calls.append({"module": module, "name": name, "data": data})

    return outermost(function, before, lambda note, args: None)


def of_class(module, name, cls):
    """Wrap the constructor and the public methods of a class, in place: each object is recorded with its calls."""

    def made(args, kwargs):
        data = packed(args[1:], kwargs)
        if data is None or not room(data):
            return None
        return {"module": module, "name": name, "data": data, "methods": []}

    def keep(note, args):
        if note is not None:
            objects[id(args[0])] = (note, args[0])  # the object is kept, so that no other one gets its id
            state["bytes"] += len(note["data"])
            calls.append(note)

    def of_method(method):
        def before(args, kwargs):
            note, _ = objects.get(id(args[0]), (None, None))
            data = None if note is None else packed(args[1:], kwargs)
            if data is not None and room(data):
                state["bytes"] += len(data)
                note["methods"].append((method, data))

        return before

    for method, value in list(vars(cls).items()):
        if not inspect.isfunction(value):
            continue
        if method == "__init__":
            setattr(cls, method, outermost(value, made, keep))
        elif not method.startswith("_") or method in ("__call__", "__len__", "__getitem__"):
            setattr(cls, method, outermost(value, of_method(method), lambda note, args: None))


def wrap():
    """Wrap what the editable modules define, even where other modules have imported it.

    Return the paths of the modules.
    """
    names = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and str(Path(file).resolve()) in editable and name != "__main__":
            names[name] = module
    replaced = {}
    for name, module in names.items():
        for attribute, value in list(vars(module).items()):
            if getattr(value, "__module__", None) != name or attribute.startswith("_"):
                continue
            if inspect.isfunction(value) and not inspect.iscoroutinefunction(value):
                replaced[id(value)] = (value, of_function(name, attribute, value))
            elif inspect.isclass(value) and not issubclass(value, BaseException):
                of_class(name, attribute, value)
    for module in list(sys.modules.values()):
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if id(value) in replaced:
                setattr(module, attribute, replaced[id(value)][1])
    return {name: str(Path(module.__file__).resolve().relative_to(ROOT)) for name, module in names.items()}


def write(modules, paths):
    """Write the recording."""
    inside = [os.path.relpath(path or ".", ROOT) for path in paths if Path(path or ".").resolve().is_relative_to(ROOT)]
    inside = [path for path in dict.fromkeys(inside) if path != HERE.name and "site-packages" not in path]
    settings = json.loads((HERE / "replay.json").read_text())
    settings |= {"modules": modules, "paths": inside}
    (HERE / "replay.json").write_text(json.dumps(settings, indent=1) + "\n")
    (HERE / "calls.pickle").write_bytes(pickle.dumps(calls, protocol=4))
    once, again = probed(), probed()
    kept = [note for note, one, two in zip(calls, once, again, strict=True) if one is not None and one == two]
    (HERE / "calls.pickle").write_bytes(pickle.dumps(kept, protocol=4))
    print(f"{len(kept)} calls recorded, {len(calls) - len(kept)} left out because they cannot be repeated")
    if not kept:
        raise SystemExit("the tests call no public function of the editable files with arguments that can be stored")


def probed():
    """Repeat each recorded call in a new process; return a line about it, or None if it cannot be repeated."""
    command = [sys.executable, str(HERE / "replay_worker.py"), "probe"]
    fixed = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, input="", capture_output=True, text=True, env=fixed)
    return json.loads(done.stdout) if done.returncode == 0 else [None] * len(calls)


class Plugin:
    """Hooks of pytest."""

    def __init__(self):
        self.modules, self.paths = {}, []

    def pytest_collection_finish(self, session):
        self.modules, self.paths = wrap(), list(sys.path)  # pytest removes its paths from sys.path at the end


def with_pytest():
    """Run the tests by pytest; return its exit code, the modules, and the import path."""
    import pytest

    plugin = Plugin()
    code = pytest.main(["-q", "-o", "addopts=", "-p", "no:cacheprovider", "--rootdir", str(ROOT)], plugins=[plugin])
    return int(code), plugin.modules, plugin.paths


def with_unittest(start):
    """Run the tests by unittest; return an exit code, the modules, and the import path."""
    import unittest

    top = "." if (ROOT / start / "__init__.py").exists() else None
    suite = unittest.defaultTestLoader.discover(start, top_level_dir=top)
    modules = wrap()
    return int(not unittest.TextTestRunner(verbosity=0).run(suite).wasSuccessful()), modules, list(sys.path)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.path[0] = str(ROOT)
    sys.dont_write_bytecode = True
    runner = json.loads((HERE / "replay.json").read_text())["tests"]
    code, modules, paths = with_pytest() if runner == "pytest" else with_unittest(runner)
    if code == 0:
        write(modules, paths)
    sys.exit(code)
