"""Run the tests in a copy of the lab, each time in a new child of this process, so that pytest is loaded only once."""

import gc
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

try:
    import coverage
    import pytest
except ModuleNotFoundError as error:
    raise SystemExit(f"{sys.executable} has no {error.name}: run the line `install` of lab.toml") from None

LEFT_OUT = shutil.ignore_patterns(".git", ".autoresearch", ".tools", "__pycache__", ".venv", "node_modules")


def load_plugins():
    """Load pytest and its plugins into this process, so that no child has to."""
    nothing = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(nothing), redirect_stderr(nothing):
        pytest.main(["-c", os.devnull, "--rootdir", folder, "-p", "no:cacheprovider", folder])
    gc.freeze()  # so that the garbage collection at pytest's end, in each child, skips what is loaded here


def copied(folder):
    """Copy the lab into a new folder, and return the folder."""
    return Path(shutil.copytree(".", folder, ignore=LEFT_OUT, symlinks=True))


def reached(tree, files, plugin=None, options=()):
    """Run the tests under coverage.py; return its report as a dictionary, and the seconds that it took.

    ``plugin``: a plugin of pytest; its ``tests`` are added to the report.  Ends this program when the tests do not
    pass, unless there is a plugin to tell which of them fail.
    """
    began = time.monotonic()
    report = tree / ".reached.json"

    def work():
        measured = coverage.Coverage(data_file=None, branch=True, source=["."])
        measured.set_option("report:include_namespace_packages", True)  # so that files that nobody imports count
        measured.start()
        code = pytest.main(list(options), plugins=[plugin] if plugin else [])
        measured.stop()
        measured.json_report(outfile=str(report), include=[str(path) for path in files])
        found = json.loads(report.read_text())
        report.write_text(json.dumps({**found, "tests": getattr(plugin, "tests", {})}))
        return code

    code, output = _child(tree, work, None)
    if code not in ((0, 1) if plugin else (0,)):
        raise SystemExit(f"the tests fail (exit code {code}):\n{output[-2000:]}")
    return json.loads(report.read_text()), time.monotonic() - began


def passed(tree, options, seconds):
    """Return whether the tests pass within this time."""
    return _child(tree, lambda: pytest.main(options), seconds)[0] == 0


def watched(tree, plugin, options, seconds=None):
    """Run the tests with a plugin of pytest; return (exit code, what they printed, its ``tests``, seconds).

    The exit code is -1 when the tests took longer than ``seconds``.  The time does not include the start of pytest.
    """
    began, report = time.perf_counter(), tree / ".watched.json"
    report.unlink(missing_ok=True)

    def work():
        code = pytest.main(list(options), plugins=[plugin])
        report.write_text(json.dumps(plugin.tests))
        return code

    code, output = _child(tree, work, seconds)
    spent = time.perf_counter() - began
    return code, output, json.loads(report.read_text()) if report.exists() else {}, spent


def _child(tree, work, seconds):
    """Do the work in a child of this process, in the folder ``tree``; return its exit code and what it printed."""
    output, here = tree / ".output", Path.cwd()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setsid()
            os.chdir(tree)
            _look_in(tree, here)
            file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            code = int(work())
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    ends = None if seconds is None else time.monotonic() + seconds
    while ends is None or time.monotonic() < ends:
        done, status = os.waitpid(child, 0 if ends is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), output.read_text(errors="replace")
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1, "did not end in time"


def _look_in(tree, here):
    """Let this process import from the copy of the lab, and keep its temporary files there."""
    sys.dont_write_bytecode = True  # two versions of a file that are written in one second would share their bytecode
    places = [Path(entry or here).resolve() for entry in sys.path]
    sys.path[:] = [
        str(tree / place.relative_to(here)) if place.is_relative_to(here) else str(place) for place in places
    ]
    sys.path.insert(0, str(tree))
    (tree / ".tmp").mkdir(exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(tree / ".tmp")
