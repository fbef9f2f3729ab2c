"""Find a sandbox that works on this system, by running a program in it.

found = find_sandbox()
if isinstance(found, Sandbox):
    command = found.wrap(command, permissions)
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from autoresearch_mlx.trial.sandbox import landlock, linux_sandbox, seatbelt
from autoresearch_mlx.trial.sandbox.enter import ENTER, EXIT_NO_SANDBOX
from autoresearch_mlx.trial.sandbox.permissions import Permissions, python_paths, real

_TRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The sandbox of this system, which has been tried with a program."""

    kind: Literal["landlock", "seatbelt"]
    words: str
    """The sandbox's name in a few words, for doctor and for the record of a measurement."""
    lacks: tuple[str, ...] = ()
    """Phrases for the things that the sandbox does not prevent."""
    leave_group: bool = False
    """Whether a process can leave the child's process group.  The parent must then look for processes that left."""

    def wrap(self, command: Sequence[str], permissions: Permissions) -> list[str]:
        """Return a command that first confines its own process and then runs ``command`` in the same process.

        So process group, pipes and exit code are the ones of ``command`` itself.  The permissions are an argument of
        the returned command, so the edited code cannot change them.
        """
        fit = replace(permissions, leave_group=permissions.leave_group or self.leave_group)
        enter = [sys.executable, "-P", "-m", ENTER]
        return [*enter, fit.to_json(), "--", *command]


@dataclass(frozen=True, slots=True)
class NoSandbox:
    """The result of the search if this system has no sandbox; ``words`` are the reason."""

    words: str


def find_sandbox(platform: str = sys.platform) -> Sandbox | NoSandbox:
    """Run a program in this system's sandbox (about 0.1 s); return the sandbox, or the reason why there is none."""
    if platform == "linux":
        return _found_linux()
    if platform == "darwin":
        return _found_macos()
    return NoSandbox(f"no sandbox is known for {platform}")


def refused(returncode: int | None, log_tail: str) -> str | None:
    """Return why a wrapped command could not enter the sandbox, or None if it could.

    Returns None as well if the command entered the sandbox and failed later.
    """
    if returncode != EXIT_NO_SANDBOX:
        return None
    if seatbelt.NESTED in log_tail:
        return seatbelt.explain(returncode, log_tail)
    said = [line for line in log_tail.splitlines() if line.startswith("sandbox: ")]
    return f"the sandbox could not be entered: {said[-1].removeprefix('sandbox: ')}" if said else None


def _found_linux() -> Sandbox | NoSandbox:
    if (why := linux_sandbox.why_not()) is not None:
        return NoSandbox(why)
    found = Sandbox("landlock", f"Landlock {landlock.abi()} and seccomp", linux_sandbox.lacks())
    why = _tried(found)
    return found if why is None else NoSandbox(why)


def _found_macos() -> Sandbox | NoSandbox:
    """Try a profile that keeps processes in their group; if that profile fails here, try one without this rule."""
    if (why := seatbelt.why_not()) is not None:
        return NoSandbox(why)
    unlimited = "memory, disk and number of processes are watched, not limited"
    strict = Sandbox("seatbelt", "sandbox-exec", (unlimited,))
    if (why := _tried(strict)) is None:
        return strict
    loose = replace(strict, lacks=(unlimited, "a process can leave its group"), leave_group=True)
    return loose if _tried(loose) is None else NoSandbox(why)


def _tried(sandbox: Sandbox) -> str | None:
    """Run Python once in the sandbox; return the reason if that fails, else None."""
    permissions = Permissions(real(python_paths()), (), listed=real([Path(__file__).parents[3]]))
    command = sandbox.wrap([sys.executable, "-P", "-c", "pass"], permissions)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TRY_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"a program in the sandbox could not be started, or did not end: {error}"
    if done.returncode == 0:
        return None
    if sandbox.kind == "seatbelt":
        return seatbelt.explain(done.returncode, done.stderr)
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return f"a program in the sandbox failed: {said}"
