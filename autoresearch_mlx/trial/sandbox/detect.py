"""Find the sandbox that this system has, by trying it.

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
from autoresearch_mlx.trial.sandbox.enter import EXIT_NO_SANDBOX
from autoresearch_mlx.trial.sandbox.permissions import Permissions, python_paths, real

_TRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that has started a program here."""

    kind: Literal["landlock", "seatbelt"]
    words: str
    """Its name in a few words, for doctor and for the record of a measurement."""
    lacks: tuple[str, ...] = ()
    """What it does not prevent: one phrase each."""
    leave_group: bool = False
    """Whether processes can leave their group, so that the parent has to look for those that did."""

    def wrap(self, command: Sequence[str], permissions: Permissions) -> list[str]:
        """Return the command that confines itself and then becomes ``command``.

        It stays the same process, with the same group, pipes and exit code.  The permissions travel as an argument,
        which the child cannot change.
        """
        fit = replace(permissions, leave_group=permissions.leave_group or self.leave_group)
        enter = [sys.executable, "-P", "-m", "autoresearch_mlx.trial.sandbox.enter"]
        return [*enter, fit.to_json(), "--", *command]


@dataclass(frozen=True, slots=True)
class NoSandbox:
    """This system has no sandbox; ``words`` say why."""

    words: str


def find_sandbox(platform: str = sys.platform) -> Sandbox | NoSandbox:
    """Return the sandbox of this system after running one program in it (some 0.1 s), or the reason for having none."""
    if platform == "linux":
        return _found_linux()
    if platform == "darwin":
        return _found_macos()
    return NoSandbox(f"no sandbox is known for {platform}")


def refused(returncode: int | None, log_tail: str) -> str | None:
    """Say why a wrapped child could not enter the sandbox; return None when it did, however its command ended."""
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
    """Try a profile that keeps processes in their group, then one without that rule, which not every macOS knows."""
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
        return f"a program in the sandbox did not end: {error}"
    if done.returncode == 0:
        return None
    if sandbox.kind == "seatbelt":
        return seatbelt.explain(done.returncode, done.stderr)
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return f"a program in the sandbox failed: {said}"
