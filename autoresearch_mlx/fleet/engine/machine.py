"""Run Dask's nanny and worker on a machine of a fleet, as a process of its own:

    python -m autoresearch_mlx.fleet.engine.machine PAIRING HOME NAME HOST PORT

The process prints a JSON line for each event that the user should know about.  It connects again after a lost
connection, and ends when its standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
from distributed import Nanny
from distributed.comm import CommClosedError

from autoresearch_mlx.errors import CorpusError
from autoresearch_mlx.fleet.admission import LEAST_FREE_BYTES, facts_here, space
from autoresearch_mlx.fleet.corpora import fetch, offer_from
from autoresearch_mlx.fleet.courier import saved_limits
from autoresearch_mlx.fleet.engine.security import security_of
from autoresearch_mlx.fleet.handshake import refused_certificate
from autoresearch_mlx.fleet.member import LEAVE
from autoresearch_mlx.fleet.pairing import read_pairing
from autoresearch_mlx.fleet.spool import HOME
from autoresearch_mlx.targets.corpus.prepare import default_cache

_AGAIN_SECONDS = 2.0
_LOOK_SECONDS = 1.0
_LEAVE_SECONDS = 3.0
_HUNG_SECONDS = 60.0
_FETCH_AGAIN_SECONDS = 60.0
"""Shortest time between two attempts to fetch the same corpus; an attempt fails if the disk is full, for example."""
HUNG = 4
"""Exit code of a process that its watchdog has ended because it hung."""
REFUSED = 3
"""Exit code after the coordinator has refused this machine."""


def tell(kind: str, words: Any = "") -> None:
    print(json.dumps({"kind": kind, "words": words}), flush=True)


class _Watchdog:
    """Ends this process if it hangs; then `fleet join` starts a new process.

    Dask's nanny can hang if it loses the connection to the scheduler during its start.
    """

    def __init__(self) -> None:
        self.fed = time.monotonic()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while (before := time.monotonic()) - self.fed < _HUNG_SECONDS:
            time.sleep(_LOOK_SECONDS)
            if time.monotonic() - before > 10 * _LOOK_SECONDS:  # this whole process stood still
                self.fed = time.monotonic()
        os._exit(HUNG)


async def stay(pairing: Path, home: Path, name: str, host: str, port: int, closing: asyncio.Event) -> int:
    """Take part in the fleet, and join again after each lost connection; return the exit code of this process."""
    side = read_pairing(pairing)
    dask.config.set({"distributed.nanny.pre-spawn-environ": {}, "distributed.comm.timeouts.connect": "10s"})
    environment = {HOME: str(home), **saved_limits(os.environ)}
    facts, said = {**facts_here(home), "part": _part(home)}, ""
    watchdog, tried = _Watchdog(), dict[str, float]()
    while True:
        watchdog.fed = time.monotonic()
        try:
            async with Nanny(
                side.address,
                name=f"{name}-{secrets.token_hex(2)}",  # Dask gives no reason when it refuses a used name; _Roster does
                nthreads=1,
                resources={"TRAIN": 1},
                security=security_of(side, home / "tls"),
                host=host or None,
                worker_port=port,
                protocol="tls",
                memory_limit=None,
                local_directory=str(home / "dask"),
                env=environment,
                silence_logs=50,
                preload="autoresearch_mlx.fleet.courier",
                dashboard=False,
            ) as nanny:
                facts = await _with_corpus(nanny.scheduler, facts, home, watchdog, tried)
                if why := await nanny.scheduler.fleet_hello(name=name, address=nanny.worker_address, facts=facts):
                    tell("refused", why)
                    return REFUSED
                tell("joined", side.address)
                said, refused = "", list[str]()
                while nanny.status.name == "running":
                    watchdog.fed = time.monotonic()
                    leaves = closing.is_set() or (home / LEAVE).exists()
                    here = nanny.worker_address
                    why = []
                    answer = "leave" if leaves else await nanny.scheduler.fleet_stay(name=name, address=here)
                    if answer == "leave":
                        (home / LEAVE).unlink(missing_ok=True)
                        await nanny.scheduler.fleet_bye(name=name)
                        tell("left")
                        return 0
                    if answer == "unknown" and here is not None:  # the worker or the scheduler is new
                        facts = await _with_corpus(nanny.scheduler, facts | space(home), home, watchdog, tried)
                        why = await nanny.scheduler.fleet_hello(name=name, address=here, facts=facts)
                        if why and why != refused:
                            tell("refused", why)
                    # The machine takes part again once the session needs nothing that the machine lacks.
                    if refused and not why:
                        tell("joined", side.address)
                    refused = why
                    with suppress(TimeoutError):
                        await asyncio.wait_for(closing.wait(), _LOOK_SECONDS)
                tell("away", "this machine's worker ended")
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if (why := await asyncio.to_thread(refused_certificate, side, home / "tls")) is not None:
                tell("refused", [why])
                return REFUSED
            words = str(error).split("\n")[0] or type(error).__name__
            if words != said:
                tell("away", words)
            said = words
        await asyncio.sleep(_AGAIN_SECONDS)


async def _with_corpus(
    coordinator: Any, facts: dict[str, Any], home: Path, watchdog: _Watchdog, tried: dict[str, float]
) -> dict[str, Any]:
    """Fetch the session's corpus if this machine lacks it; return ``facts`` with the corpora that the machine then has.

    ``tried`` maps the hash of a corpus to the time from which the corpus may be fetched again.  If a fetch fails, a
    message says so, and the coordinator will refuse this machine.
    """
    values = await coordinator.fleet_corpus()
    digest, now = str(values.get("digest")), time.monotonic()
    if not values or digest in facts["corpora"] or now < tried.get(digest, 0.0):
        return facts
    tried[digest] = now + _FETCH_AGAIN_SECONDS

    async def ask(name: str, at: int) -> bytes:
        watchdog.fed = time.monotonic()
        return bytes(await coordinator.fleet_part(digest=offer.digest, name=name, at=at))

    try:
        offer, cache = offer_from(values), default_cache()
        cache.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(cache).free < offer.size + LEAST_FREE_BYTES:
            tell("said", f"the session's corpus of {offer.size / 1e6:,.1f} MB does not fit onto the disk of {cache}")
            return facts
        tell("said", f"receiving the session's corpus: {offer.name}, {offer.size / 1e6:,.1f} MB")
        await fetch(offer, ask, cache)
    except CommClosedError:  # `stay` reports the lost connection and joins again
        raise
    except (CorpusError, OSError) as error:
        tell("said", f"the session's corpus did not arrive: {error}")
    return facts | space(home)


def _part(home: Path) -> str:
    """Return the random word in this machine's home, by which the coordinator recognises the machine again."""
    note = home / "part"
    if not note.exists():
        note.write_text(secrets.token_hex(8))
    return note.read_text().strip()


async def main(arguments: list[str]) -> int:
    pairing, home, name, host, port = arguments
    closing, loop = asyncio.Event(), asyncio.get_running_loop()
    working = asyncio.create_task(stay(Path(pairing), Path(home), name, host, int(port), closing))
    closed = loop.run_in_executor(None, sys.stdin.read)
    await asyncio.wait({working, closed}, return_when=asyncio.FIRST_COMPLETED)
    closing.set()
    await asyncio.wait({working}, timeout=_LEAVE_SECONDS)
    return working.result() if working.done() else 0


if __name__ == "__main__":
    code = asyncio.run(main(sys.argv[1:]))
    sys.stdout.flush()
    os._exit(code)  # a thread still reads the standard input
