"""Let a machine leave a fleet, from that machine or from the coordinator's lab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from autoresearch_mlx.errors import AutoresearchError, LabError
from autoresearch_mlx.fleet.member import leave_here
from autoresearch_mlx.fleet.pairing import FOLDER, need_dask
from autoresearch_mlx.lab.lab import find_lab


def leave(here: Path, name: str | None) -> Iterator[str]:
    """Ask machines to leave, and yield a message about each machine.

    Without ``name``, all machines on this computer are asked.  A machine ``name`` that is not on this computer is asked
    through the coordinator of the lab ``here``.  Raises LabError if there is no machine to ask.
    """
    if found := leave_here(name):
        yield from (f"{each} leaves the fleet within seconds" for each in found)
        return
    if name is None:
        hint = "`autoresearch-mlx fleet leave NAME` in the coordinator's lab lets another machine leave"
        raise LabError("no machine of a fleet runs on this computer", hint)
    need_dask()
    from autoresearch_mlx.fleet.engine.client import Fleet

    try:
        folder = find_lab(here).state / FOLDER
    except AutoresearchError:
        said = f"no machine called {name} runs on this computer"
        raise LabError(said, "to let another machine leave, call `fleet leave` in the coordinator's lab") from None
    fleet = Fleet(folder)
    try:
        if not fleet.connected():
            said = f"the coordinator does not answer at {fleet.address}"
            raise LabError(said, "`autoresearch-mlx fleet start` starts it")
        if not fleet.leave(name):
            known = ", ".join(each.name for each in fleet.machines() if not each.left) or "none"
            raise LabError(f"no machine called {name} takes part", f"machines of this fleet: {known}")
        yield f"{name} leaves the fleet within seconds"
    finally:
        fleet.close()
