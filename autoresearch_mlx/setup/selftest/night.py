"""Check two conditions of a night: that a killed run continues without loss, and that an agent is found."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import AutoresearchError
from autoresearch_mlx.experiment import Tenant
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.lab import SCRIPT, Lab
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.setup.selftest.check import Doing, Ground, Result
from autoresearch_mlx.setup.selftest.scene import settings_here
from autoresearch_mlx.store.ledger import FILE, Journal, read
from autoresearch_mlx.targets import corpus
from autoresearch_mlx.trial.orphans import WORKS_IN
from autoresearch_mlx.trial.runner import child_process_environment, python_command

_TAG = "night"
_KNOBS = {"DEPTH": 1, "ASPECT_RATIO": 64, "HEAD_DIM": 32, "TOTAL_BATCH_SIZE": 2**10, "DEVICE_BATCH_SIZE": 8}
_TOML = """\
[budget]
seconds = 2.0
[data]
source = "folder"
path = "{text}"
vocab_size = 512
seq_len = 128
eval_rows = 32
[judge]
mode = "margin"
margin = 0.0
[machine]
clock = "wall"
quiet_seconds = 0
exclusive = "never"
keep_awake = "never"
probe = "never"
"""
_RUN = ("run", "--tag", _TAG, "--agent", "knobs", "--experiments", "1", "--no-calibrate")
_MOST_SECONDS, _INTO_SECONDS, _GONE_SECONDS = 120.0, 1.0, 5.0
"""Three times in seconds: the longest wait until the first edit is being measured, the wait from then to the kill, and
the longest wait until all processes have ended."""
_IDENTITY = ("-c", "user.name=self-test", "-c", "user.email=self-test", "-c", "commit.gpgsign=false")


def check_resume(ground: Ground, doing: Doing) -> Result:
    """Check that a killed run continues: kill it in an experiment, start it again, and count its experiments."""
    lab = _lab(ground.folder)
    temporary = ground.folder / "tmp"
    temporary.mkdir()
    # A killed run leaves its temporary files behind, so they are put into the folder that is removed after the check.
    added = {"AUTORESEARCH_CACHE": str(ground.folder / "cache"), "TMPDIR": str(temporary)}
    environment = {**child_process_environment({}), **added}
    command, said = python_command("-m", "autoresearch_mlx", *_RUN), ground.folder / "said.txt"
    doing("a run, until its first edit is measured")
    with said.open("wb") as out:
        first = subprocess.Popen(
            command,
            cwd=lab.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            begun = _wait_for_edit(lab, first)
        finally:
            with suppress(ProcessLookupError):
                os.kill(first.pid, signal.SIGKILL)
            first.wait()
        if not begun:
            return Result("fail", f"the run measured no edit within {_MOST_SECONDS:g} s: {_last_line(said)}")
        doing("the same run again, after kill -9")
        code = subprocess.run(
            command, cwd=lab.root, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        ).returncode
    if code != 0:
        return Result("fail", f"after kill -9 the run did not continue: {_last_line(said)}")
    return judge_resume(_journal(lab), _left(lab.root))


def judge_resume(journal: Journal | None, left: int) -> Result:
    """Return the result of :func:`check_resume`, from the experiments in the ledger.

    ``journal`` is None if the ledger cannot be read.  ``left`` is the number of processes that the runs left behind.
    """
    if journal is None:
        return Result("fail", "after kill -9 the ledger could not be read")
    done = journal.history.experiments
    counted = Counter(e.number for e in done)
    said = ", ".join(f"experiment {e.number} {e.status}" for e in done)
    if journal.running or any(times > 1 for times in counted.values()) or sorted(counted) != list(range(len(counted))):
        return Result("fail", f"after kill -9 an experiment is lost or counted twice: {said}")
    if len(done) < 3 or done[0].status != "keep" or "interrupted" not in {e.status for e in done[1:]}:
        return Result("fail", f"after kill -9 the ledger does not say what was interrupted: {said}")
    if left:
        return Result("fail", f"{said}; but {left} processes of the killed run have not ended")
    return Result("ok", f"killed with kill -9 and run again: {said}; nothing was lost, and no process was left")


def _lab(folder: Path) -> Lab:
    """Make a lab with a tiny model and a little text, namely some source files of this package."""
    root, text = folder / "lab", folder / "text"
    root.mkdir()
    source = Path(corpus.__file__).parent
    shutil.copytree(source, text, ignore=shutil.ignore_patterns("__pycache__"))
    script = set_knobs(asset(SCRIPT).read_text(encoding="utf-8"), _KNOBS)
    (root / SCRIPT).write_text(script, encoding="utf-8")
    (root / "lab.toml").write_text(_TOML.format(text=text), encoding="utf-8")
    for line in (("init", "--quiet"), ("add", "-A"), (*_IDENTITY, "commit", "--quiet", "-m", "a lab")):
        subprocess.run(["git", *line], cwd=root, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return Lab(root)


def _wait_for_edit(lab: Lab, run: subprocess.Popen[bytes]) -> bool:
    """Wait until the run is measuring its first edit; return False if the run ends first or takes too long."""
    end = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < end and run.poll() is None:
        journal = _journal(lab)
        if journal is not None and any(each.number == 1 for each in journal.running):
            time.sleep(_INTO_SECONDS)
            return run.poll() is None
        time.sleep(0.1)
    return False


def _journal(lab: Lab) -> Journal | None:
    path = lab.folder(_TAG) / FILE
    try:
        return read(path) if path.exists() else None
    except (AutoresearchError, OSError):
        return None


def _left(root: Path) -> int:
    """Return the number of processes that still work below ``root``; they get a few seconds to end."""
    end = time.monotonic() + _GONE_SECONDS
    while (
        count := sum(_works_below(process, root.resolve()) for process in psutil.process_iter())
    ) and time.monotonic() < end:
        time.sleep(0.2)
    return count


def _works_below(process: psutil.Process, root: Path) -> bool:
    with suppress(psutil.Error, OSError):
        where = process.environ().get(WORKS_IN)
        return where is not None and Path(where).is_relative_to(root) and process.status() != psutil.STATUS_ZOMBIE
    return False


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def check_agent(ground: Ground, doing: Doing) -> Result:
    """Check that the agent in the settings, or a server of models, is found; no model is asked."""
    settings = settings_here(ground.start).agent
    said: list[str] = []
    doing(f"looking for the agent {settings.name}")
    try:
        agent = load_agent(settings.name, Office(settings, say=said.append, memory_bytes=read_machine().memory_bytes))
    except AutoresearchError as error:
        return Result("fail", f"{error}; {error.hint}" if error.hint else str(error))
    words = "; ".join(said).removeprefix("agent: ") or f"the agent {settings.name} is found"
    alone = settings.name == "auto" and not isinstance(agent, Tenant)
    if isinstance(agent, Tenant):
        agent.close()
    return Result("note" if alone else "ok", words)
