"""Run Dask's scheduler for a coordinator, as a process of its own:

    python -m autoresearch_mlx.fleet.engine.scheduler FOLDER HOST PORT

The process ends when its standard input closes, so it never outlives the process that started it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
from distributed import Scheduler
from distributed.comm.core import connect

from autoresearch_mlx.fleet.admission import Wanted, refusals
from autoresearch_mlx.fleet.coordinator import STATE, WANTED
from autoresearch_mlx.fleet.corpora import offered, part_of
from autoresearch_mlx.fleet.engine.security import security_of
from autoresearch_mlx.fleet.pairing import own_pairing, write_private
from autoresearch_mlx.targets.corpus.prepare import default_cache

LEFT = "left.json"
_TTL = "20s"
_REACH_SECONDS = 15.0


def tell(kind: str, **facts: Any) -> None:
    print(json.dumps({"kind": kind, **facts}), flush=True)


class _Roster:
    """The list of machines that have joined since this scheduler started, and of machines that have left."""

    def __init__(self, scheduler: Scheduler, folder: Path) -> None:
        self._scheduler, self._folder = scheduler, folder
        self._machines: dict[str, dict[str, Any]] = _read_left(folder)
        self._leaving: set[str] = set()
        self._refused: dict[str, list[str]] = {}
        """Name of a machine that is not admitted -> the reasons."""

    async def hello(self, name: str, address: str, facts: dict[str, Any]) -> list[str]:
        """Admit a machine and return an empty list, or return the reasons why it is not admitted.

        A machine to which the coordinator cannot connect is not admitted.
        """
        why = list(refusals(self._wanted(), facts))
        if not why:
            try:
                arguments = self._scheduler.connection_args
                comm = await asyncio.wait_for(connect(address, timeout=_REACH_SECONDS, **arguments), _REACH_SECONDS)
                await comm.close()
            except Exception:
                why = [
                    f"the coordinator cannot reach {address} on this machine, so no result could be fetched: allow "
                    "incoming connections in this machine's firewall, or choose an open port with --port"
                ]
        known = self._machines.get(name)
        other = known is not None and known["address"] != address and known["facts"].get("part") != facts.get("part")
        if not why and known is not None and other and self._alive(known["address"]):
            why = [f"another machine of this fleet is called {name}: choose another name with --name"]
        if why:
            if self._refused.get(name) != why:
                tell("news", words=f"{name} was refused: {'; '.join(why)}")
            self._refused[name] = why
            return why
        self._refused.pop(name, None)
        if known is None or known["left"]:
            tell("news", words=f"{name} takes part ({facts.get('machine')})")
        self._machines[name] = {"name": name, "address": address, "facts": facts, "left": False}
        self._write_left()
        return []

    async def stay(self, name: str, address: str) -> str:
        """Return what a machine must do: take part (``yes``), join again (``unknown``) or leave (``leave``).

        A machine must join again if the scheduler does not know it, or if it lacks something that a new session needs,
        such as a corpus.
        """
        if name in self._leaving:
            return "leave"
        known = self._machines.get(name)
        fits = known is not None and known["address"] == address and not self._misses(known)
        return "yes" if fits else "unknown"

    async def corpus(self) -> dict[str, Any]:
        """Return the offer of the session's corpus, empty if the session needs no corpus or the corpus is too large."""
        digest = self._wanted().corpus
        return {} if digest is None else await asyncio.to_thread(offered, digest, default_cache())

    async def part(self, digest: str, name: str, at: int) -> bytes:
        """Return a part of the corpus's file ``name``, from byte ``at`` on."""
        return await asyncio.to_thread(part_of, digest, name, at, default_cache())

    async def leave(self, name: str) -> bool:
        """Let a machine leave at its next report; return whether the machine took part."""
        known = self._machines.get(name)
        if known is None or known["left"]:
            return False
        self._leaving.add(name)
        return True

    async def bye(self, name: str) -> None:
        self._leaving.discard(name)
        known = self._machines.get(name)
        if known is not None and not known["left"]:
            known["left"] = True
            self._write_left()
            tell("news", words=f"{name} has left")

    async def roster(self) -> list[dict[str, Any]]:
        """Return the facts about every admitted machine.

        ``here`` says whether the machine is connected; ``seen`` is the time of its last report, in seconds since 1970.
        A machine that has left may still be finishing a run, but it counts as not connected.
        """
        found = []
        for machine in self._machines.values():
            worker = self._scheduler.workers.get(machine["address"])
            seen = None if worker is None else worker.last_seen
            machine["seen"] = machine.get("seen") if seen is None else seen
            here = worker is not None and not machine["left"] and not self._misses(machine)
            found.append({**machine, "here": here, "busy": here and bool(worker.processing)})
        return found

    def _write_left(self) -> None:
        """Write the machines that have left into a file, so that a scheduler that is started again knows them."""
        left = [{"seen": None, **machine} for machine in self._machines.values() if machine["left"]]
        if left or (self._folder / LEFT).exists():
            with suppress(OSError):  # a full disk of the coordinator must not keep machines out
                write_private(self._folder / LEFT, json.dumps(left) + "\n")

    def _misses(self, machine: Mapping[str, Any]) -> bool:
        return any(refusals(self._wanted(), machine["facts"]))

    def _alive(self, address: str) -> bool:
        return address in self._scheduler.workers

    def _wanted(self) -> Wanted:
        return Wanted(**json.loads((self._folder / WANTED).read_text()))


def _read_left(folder: Path) -> dict[str, dict[str, Any]]:
    with suppress(OSError, ValueError, LookupError, TypeError):
        left = json.loads((folder / LEFT).read_text(encoding="utf-8"))
        keys = ("name", "address", "facts", "seen")
        return {each["name"]: {**{key: each[key] for key in keys}, "left": True} for each in left}
    return {}


async def serve(folder: Path, host: str, port: int) -> None:
    dask.config.set(
        {
            "distributed.scheduler.worker-ttl": _TTL,
            "distributed.scheduler.allowed-failures": 0,
            "distributed.comm.timeouts.connect": "10s",
        }
    )
    page = "status" if find_spec("bokeh") is not None else "info/main/workers.html"  # its charts need bokeh
    async with Scheduler(
        host=host,
        port=port,
        protocol="tls",
        security=security_of(own_pairing(folder), folder),
        dashboard=True,
        dashboard_address="127.0.0.1:0",
        jupyter=False,
    ) as scheduler:
        roster = _Roster(scheduler, folder)
        scheduler.handlers |= {
            "fleet_hello": roster.hello,
            "fleet_stay": roster.stay,
            "fleet_corpus": roster.corpus,
            "fleet_part": roster.part,
            "fleet_leave": roster.leave,
            "fleet_bye": roster.bye,
            "fleet_roster": roster.roster,
        }
        shown = f"http://127.0.0.1:{scheduler.http_server.port}/{page}"
        write_private(folder / STATE, json.dumps({"address": scheduler.address, "dashboard": shown}) + "\n")
        tell("ready", dashboard=shown)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
