"""Labs in which processes are killed: one number in a file, measured in milliseconds, and agents without a model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from conftest import git, write_command_lab
from forked_command import Started, launcher

from autoresearch_mlx.lab.lab import Lab

TAG = "t"
BENCH = """\
import os
from solver import X
print(f"METRIC score={X + int(os.environ['AUTORESEARCH_SEED']) % 5 / 100:.6f}")
"""
RESEARCHERS = '''\
"""Better always gains, Worse never does, Turns is one after the other; none says the same thing twice.

Spread gains twice of three times, and says something new even while its last words are being measured.
"""
from autoresearch_mlx.experiment import Context, Proposal


class Better:
    name = "better"

    def propose(self, context: Context) -> Proposal:
        x = float(context.files["solver.py"].split("=")[1])
        return Proposal(f"X = {x - 1}", {"solver.py": f"X = {x - 1}\\n"}, axis="x", agent=self.name)


class Worse:
    name = "worse"

    def propose(self, context: Context) -> Proposal:
        x = 5000.0 + context.number
        return Proposal(f"X = {x}", {"solver.py": f"X = {x}\\n"}, axis="x", agent=self.name)


class Turns:
    name = "turns"

    def propose(self, context: Context) -> Proposal:
        return (Better, Worse)[context.number % 2]().propose(context)


class Spread:
    name = "spread"

    def propose(self, context: Context) -> Proposal:
        x = float(context.files["solver.py"].split("=")[1])
        x = 5000.0 + context.number if context.number % 3 == 0 else x - 1 - context.number / 1024
        return Proposal(f"X = {x}", {"solver.py": f"X = {x}\\n"}, axis="x", agent=self.name)
'''
BETTER, WORSE, TURNS, SPREAD = (f"researchers:{name}" for name in ("Better", "Worse", "Turns", "Spread"))
DIE_AT = Path(__file__).with_name("die_at.py")


def torture_lab(root: Path, judge: str = "margin") -> Lab:
    """Make a lab whose score is the number in solver.py, plus a little that depends on the seed; smaller is better."""
    lab = write_command_lab(root)
    (root / "solver.py").write_text("X = 1000.0\n")
    (root / "bench.py").write_text(BENCH)
    (root / "researchers.py").write_text(RESEARCHERS)
    with (root / "lab.toml").open("a") as file:
        file.write(f'\n[judge]\nmode = "{judge}"\nrefresh_every = 3\nremoval_every = 3\n')
    git(root, "add", "-A")
    git(root, "commit", "-qm", "to be killed in")
    return lab


def run(
    lab: Lab, *options: str, before: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``run`` in a process of its own until it ends, however it ends; ``before`` as in :mod:`forked_command`."""
    environment = {**os.environ, "COLUMNS": "100", **(env or {})}
    return launcher().run(("run", "--tag", TAG, *options), lab.root, environment, 120, before)


def die_at(lab: Lab, effect: int, *options: str) -> tuple[bool, list[str]]:
    """Kill a ``run`` at its n-th effect; return whether it came that far, and its effects."""
    log = lab.root.parent / "effects.txt"
    done = run(lab, *options, before=(str(DIE_AT), str(effect), str(log)))
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0, log.read_text().splitlines()


@dataclass
class Loop:
    """A ``run`` in progress; its output goes into a file."""

    process: Started | subprocess.Popen[str]
    talk: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        return self.process.poll()

    def kill(self) -> None:
        self.process.kill()

    def stderr_text(self) -> str:
        return self.talk.read_text()

    def ended(self, seconds: float = 60) -> int:
        """Return its exit code; fail with its output if it does not end by itself."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it went on for {seconds:g} s: {self.stderr_text()[-2000:]}") from None


@contextmanager
def start(lab: Lab, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Loop]:
    """Start ``run`` in a process of its own; kill it at the end of the block if it is still running."""
    talk, around = lab.root.parent / "talk.txt", {**os.environ, **(env or {})}
    arguments = ("run", "--tag", TAG, *options)
    with talk.open("w") as file, Path(os.devnull).open("w") as nowhere:
        if "LD_PRELOAD" in around:
            command = [sys.executable, "-P", "-m", "autoresearch_mlx", *arguments]
            process = subprocess.Popen(command, cwd=lab.root, env=around, stdout=nowhere, stderr=file, text=True)
            loop = Loop(process, talk)
        else:
            loop = Loop(launcher().start(arguments, lab.root, around, nowhere.fileno(), file.fileno()), talk)
    try:
        yield loop
    finally:
        loop.kill()
        loop.process.wait()
