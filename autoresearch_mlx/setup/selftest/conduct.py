"""Run the checks of the self-test one after the other, each in its own process with its own time limit."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.hardware.surroundings import machine_for
from autoresearch_mlx.setup.selftest.check import Check, Finding, Ground, Result
from autoresearch_mlx.setup.selftest.one import RESULT
from autoresearch_mlx.setup.selftest.scene import settings_here
from autoresearch_mlx.targets.corpus.prepare import default_cache
from autoresearch_mlx.trial.autopsy import how_it_ended
from autoresearch_mlx.trial.orphans import end_orphans
from autoresearch_mlx.trial.runner import Event, Log, child_process_environment, python_command, run_child
from autoresearch_mlx.trial.sandbox.limits import MARKER, Limits, Watch

Say = Callable[[str], None]


def selftest(checks: Sequence[Check], start: Path, may_sleep: bool, say: Say) -> Iterator[Finding]:
    """Run the checks and yield a finding for each check; meanwhile the machine is kept awake and reserved as for a run.

    ``start`` is the directory in which the user gave the command.  Raises LockedError while another command measures
    on the GPU.
    """
    settings, machine = settings_here(start), read_machine()
    gpu = choose_profile(machine, settings.hardware.profile).device == "gpu"
    with (
        machine_for(start, "self-test", settings.machine, gpu, default_cache(), say),
        tempfile.TemporaryDirectory(prefix="autoresearch-selftest-", ignore_cleanup_errors=True) as name,
    ):
        yield from conduct(checks, Ground(Path(name).resolve(), start, may_sleep), say)


def conduct(checks: Sequence[Check], ground: Ground, say: Say) -> Iterator[Finding]:
    """Run the checks and yield a finding for each check; ``say`` is called with messages about what a check is doing.

    ``ground`` has the conditions for the checks; each check gets an empty folder of its own in ``ground.folder``.  No
    process and no file of a check remains, even after an exception.
    """
    for check in checks:
        with tempfile.TemporaryDirectory(
            prefix=f"{check.name}-", dir=ground.folder, ignore_cleanup_errors=True
        ) as name:
            folder = Path(name).resolve()
            try:
                yield _run(check, replace(ground, folder=folder), say)
            finally:
                end_orphans(folder)


def _run(check: Check, ground: Ground, say: Say) -> Finding:
    began, doing = time.monotonic(), [check.what]

    def hear(event: Event) -> None:
        if event.get("event") == "doing":
            doing[0] = str(event.get("words"))
            say(f"{check.name}: {doing[0]}")

    def late() -> str | None:
        seconds = time.monotonic() - began
        return None if seconds <= check.limit else f"did not end within {check.limit:g} s and was ended ({doing[0]})"

    mark, log = uuid.uuid4().hex, ground.folder / "check.log"
    given = {**asdict(ground), "folder": str(ground.folder), "start": str(ground.start)}
    say(f"{check.name}: {check.what}")
    with Log(log) as file:
        ended = run_child(
            python_command("-m", "autoresearch_mlx.setup.selftest.one", check.name, json.dumps(given)),
            cwd=ground.folder,
            environment=child_process_environment({MARKER: mark}),
            log=file,
            allowed=late,
            on_event=hear,
            watch=Watch(Limits(), mark),
        )
    if ended.killed is not None:
        result = Result("fail", ended.killed)
    else:
        with suppress(OSError, ValueError, KeyError, TypeError):
            result = Result.from_json(json.loads((ground.folder / RESULT).read_text(encoding="utf-8")))
            return Finding(check.name, check.what, result, round(time.monotonic() - began, 1))
        result = Result("fail", f"the check itself failed while {doing[0]}: {how_it_ended(ended.returncode, log)}")
    return Finding(check.name, check.what, result, round(time.monotonic() - began, 1))
