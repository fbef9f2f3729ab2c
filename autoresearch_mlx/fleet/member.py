"""Let this machine join and leave a fleet: `fleet join` and `fleet leave`, without the parts that use Dask."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import ConfigError, LabError
from autoresearch_mlx.fleet.handshake import refused_certificate
from autoresearch_mlx.fleet.pairing import need_dask, read_pairing
from autoresearch_mlx.fleet.serving import engine, kept_running
from autoresearch_mlx.hardware.awake import kept_awake
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.store.locks import held, take_lock
from autoresearch_mlx.targets.contract import Say
from autoresearch_mlx.targets.corpus.prepare import default_cache

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
LEAVE = "leave"
"""File in a machine's home that asks the machine to leave."""
_HOME = "home"
"""File in the cache with the path of a machine's home, because `--home` can choose a home on another disk."""


def join(pairing: Path, name: str | None, host: str | None, port: int, home: Path | None, say: Say) -> None:
    """Take part in a fleet until Ctrl-C or `fleet leave`.

    ``home`` is the folder of this machine's jobs, results and repositories.  Raises ConfigError for a bad pairing
    file or name, and LabError if the coordinator refuses this machine or a machine with this name already runs here.
    """
    need_dask()
    side = read_pairing(pairing)
    if pairing.stat().st_mode & 0o077:
        say(f"note: other people on this machine may read {pairing}; `chmod 600 {pairing}` lets only you read it")
    name = name or _own_name(home)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot be a machine's name", "use letters, digits, dots and hyphens, 40 at most")
    home = home or homes() / name
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    (home / LEAVE).unlink(missing_ok=True)
    if (why := refused_certificate(side, home / "tls")) is not None:
        raise LabError(why, "then join again")
    refused: list[str] = []
    admitted = away = False

    def told(event: dict[str, Any]) -> bool:
        nonlocal admitted, away
        if event["kind"] == "refused" and admitted:  # another session may need something else for a while
            if not away:
                say(f"the coordinator refuses this machine now: {'; '.join(event['words'])}; trying again")
            away = True
            return False
        if event["kind"] == "refused":
            refused.extend(event["words"])
        elif event["kind"] == "joined":
            say(f"{name} takes part in the fleet of {event['words']}" + (" again" if away else ""))
            admitted, away = True, False
        elif event["kind"] == "away":
            say(f"no connection to the coordinator at {side.address} ({event['words']}); trying again")
            away = True
        elif event["kind"] == "left":
            say(f"{name} has left the fleet")
        elif event["kind"] == "said":
            say(event["words"])
        return event["kind"] in ("refused", "left")

    def lost(why: str) -> None:
        if not away:
            say(f"Dask's worker died ({why}) and is started again")

    with (home / "lock").open("a+") as file, kept_awake(True):
        if not take_lock(file, 0.2):
            said = f"a machine called {name} already takes part from {home}"
            raise LabError(said, "to join twice on this computer, choose another name with --name")
        note = homes() / name / _HOME
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(str(home.resolve()))
        where = str(pairing.resolve()), str(home.resolve())
        kept_running(engine("machine", *where, name, host or "", str(port)), told, lost)
    if refused:
        raise LabError(f"the coordinator refuses this machine: {'; '.join(refused)}", "then join again")


def leave_here(name: str | None) -> list[str]:
    """Ask the machines of a fleet on this computer to leave, and return the names of the asked machines.

    With ``name``, only the machine of this name is asked.
    """
    found = []
    for note in sorted(homes().glob(f"*/{_HOME}")):
        home = Path(note.read_text())
        if name in (None, note.parent.name) and held(home / "lock"):
            (home / LEAVE).touch()
            found.append(note.parent.name)
    return found


def homes() -> Path:
    return default_cache() / "fleet"


def _own_name(home: Path | None) -> str:
    """Return this machine's name, which is the same each time: words of the chip's name, and random digits.

    So the name reveals nothing personal.
    """
    note = (home or homes()) / "name"
    if note.exists() and _NAME.fullmatch(found := note.read_text().strip()):
        return found
    chip = (read_machine().chip or "machine").lower()
    words = [word for word in re.findall(r"[a-z0-9]+", chip) if word not in ("apple", "intel", "amd", "r", "tm", "cpu")]
    made = f"{'-'.join(words[:2]) or 'machine'}-{secrets.token_hex(2)}"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(made + "\n")
    return made
