"""Labs in which processes are killed: one number in a file, measured in milliseconds, and agents without a model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from conftest import command_line, git, write_command_lab

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
    lab: Lab, *options: str, command: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``run`` in a process of its own until it ends, however it ends; ``command`` replaces what Python runs."""
    if not command and env is None:
        return command_line("run", "--tag", TAG, *options, cwd=lab.root)
    return subprocess.run(
        [sys.executable, "-P", *(command or ("-m", "autoresearch_mlx")), "run", "--tag", TAG, *options],
        cwd=lab.root,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
    )


def die_at(lab: Lab, effect: int, *options: str) -> tuple[bool, list[str]]:
    """Kill a ``run`` at its n-th effect; return whether it came that far, and its effects."""
    log = lab.root.parent / "effects.txt"
    done = run(lab, *options, command=(str(DIE_AT), str(effect), str(log)))
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0, log.read_text().splitlines()


class Loop(subprocess.Popen[str]):
    """A ``run`` in progress; its output goes into a file."""

    talk: Path

    def stderr_text(self) -> str:
        return self.talk.read_text()

    def ended(self, seconds: float = 60) -> int:
        """Return its exit code; fail with its output if it does not end by itself."""
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it went on for {seconds:g} s: {self.stderr_text()[-2000:]}") from None


@contextmanager
def start(lab: Lab, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Loop]:
    """Start ``run`` in a process of its own; kill it at the end of the block if it is still running."""
    talk = lab.root.parent / "talk.txt"
    with talk.open("w") as file:
        loop = Loop(
            [sys.executable, "-P", "-m", "autoresearch_mlx", "run", "--tag", TAG, *options],
            cwd=lab.root,
            env={**os.environ, **(env or {})},
            stdout=subprocess.DEVNULL,
            stderr=file,
            text=True,
            start_new_session=True,
        )
    loop.talk = talk
    try:
        yield loop
    finally:
        loop.kill()
        loop.wait()
