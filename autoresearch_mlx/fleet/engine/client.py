"""Ask the machines of a fleet for runs: Dask's client."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
from distributed import Client

from autoresearch_mlx.experiment import Progress, Watch
from autoresearch_mlx.fleet.courier import end_job, result_of, take
from autoresearch_mlx.fleet.engine.security import security_of
from autoresearch_mlx.fleet.job import Delivery, Job, delivery_from
from autoresearch_mlx.fleet.machines import Lost, Machine
from autoresearch_mlx.fleet.pairing import own_pairing

_CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_EVERY_SECONDS = 0.5
_ATTRIBUTES = ("name", "address", "here", "busy", "left", "seen", "facts")


def _silence() -> None:
    """Keep Dask's own messages off the screen of a night; our own messages tell of a lost connection."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [logging.NullHandler()], False


def must_ask_again(status: str, asked_at: str, address: str) -> bool:
    """Return whether a request is of no use any more: it failed, or its machine has come back at another address.

    A task whose worker left in good order waits at Dask for a worker at that address, which may never come.
    """
    return status in ("cancelled", "lost", "error") or asked_at != address


class Fleet:
    """The coordinator's connection; several lanes use it at once.

    A thread keeps the connection and the list of machines, and connects again after the scheduler was restarted.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder of the coordinator.  Raises LabError when no fleet was started in this lab."""
        self._folder = folder
        self._pairing = own_pairing(folder)
        self._client: Any = None
        self._machines: tuple[Machine, ...] = ()
        self._looked, self._closed = threading.Event(), threading.Event()
        _silence()
        dask.config.set({"distributed.comm.timeouts.connect": f"{_CONNECT_SECONDS:g}s"})
        self._keeper = threading.Thread(target=self._keep, name="fleet", daemon=True)
        self._keeper.start()

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        return self._pairing.address

    def connected(self, patience: float = 2 * _CONNECT_SECONDS) -> bool:
        """Wait until the scheduler has answered; return whether it has within ``patience`` seconds."""
        self._looked.wait(patience)
        return self._client is not None

    def machines(self) -> tuple[Machine, ...]:
        """Return the admitted machines as the scheduler named them last, at most a second ago."""
        return self._machines

    def machine(self, name: str) -> Machine | None:
        """Return the machine of this name if it is here now."""
        return next((each for each in self._machines if each.name == name and each.here), None)

    def ask(
        self, name: str, job: Job, bundle: bytes, watch: Watch, away_seconds: float, most_seconds: float
    ) -> Delivery:
        """Let a machine take a run and wait for its delivery; ``watch`` is called meanwhile and may end the run.

        A lost connection is waited out: the same job is asked for again, and the machine's spool answers.  Raises Lost
        when the machine is away for ``away_seconds``, or when nothing has come back after ``most_seconds``.
        """
        text, future, began = job.text(), None, time.monotonic()
        asked_at = ""
        seen = began
        try:
            while True:
                watch(Progress("train"))
                now = time.monotonic()
                if (machine := self.machine(name)) is not None:
                    seen = now
                    if future is None or must_ask_again(future.status, asked_at, machine.address):
                        future, asked_at = self._submit(machine, job, text, bundle), machine.address
                elif now - seen > away_seconds:
                    raise Lost(f"{name} has not reported for {away_seconds:.0f} s")
                if now - began > most_seconds:
                    raise Lost(f"{name} has not delivered the run within {most_seconds:.0f} s")
                if future is not None and future.status == "finished":
                    with suppress(Exception):
                        return delivery_from(future.result(timeout=_CONNECT_SECONDS))
                    future = None
                time.sleep(_LOOK_SECONDS)
        except Lost:
            raise
        except BaseException:
            self._call(name, end_job, job.id, wait=False)
            raise

    def result(self, name: str, job: str) -> Delivery | None:
        """Return what a machine's spool has for a job; None while it measures, or when the machine does not answer."""
        text = self._call(name, result_of, job)
        return None if not text else delivery_from(text)

    def leave(self, name: str) -> bool:
        """Let a machine leave the fleet; return whether there was one of this name."""
        return bool(self._client is not None and self._client.sync(self._client.scheduler.fleet_leave, name=name))

    def close(self) -> None:
        self._closed.set()
        self._keeper.join(2 * _CONNECT_SECONDS)

    def _submit(self, machine: Machine, job: Job, text: str, bundle: bytes) -> Any:
        client = self._client
        with suppress(Exception):
            if client is not None:
                return client.submit(
                    take,
                    text,
                    bundle,
                    key=f"{job.role}-{job.number}-{uuid.uuid4().hex}",
                    workers=[machine.address],
                    allow_other_workers=False,
                    resources={"TRAIN": 1},
                    pure=False,
                    retries=0,
                )
        return None

    def _call(self, name: str, function: Any, job: str, wait: bool = True) -> Any:
        """Call a function on a machine beside its run; return None when that fails."""
        machine, client = self.machine(name), self._client
        with suppress(Exception):
            if machine is not None and client is not None:
                found = client.run(function, job, workers=[machine.address], wait=wait)
                return found[machine.address] if wait else None
        return None

    def _keep(self) -> None:
        while not self._closed.is_set():
            if self._client is None or self._client.status != "running":
                self._connect()
            if self._client is not None:
                try:
                    told = self._client.sync(self._client.scheduler.fleet_roster, callback_timeout=_CONNECT_SECONDS)
                    self._machines = tuple(Machine(*(each[name] for name in _ATTRIBUTES)) for each in told)
                except Exception:  # of many kinds: the scheduler is restarted, or the network is away
                    self._machines = tuple(each.away() for each in self._machines)
            self._looked.set()
            self._closed.wait(_EVERY_SECONDS)
        self._drop()

    def _connect(self) -> None:
        self._drop()
        with suppress(Exception):
            self._client = Client(
                self._pairing.address,
                security=security_of(self._pairing, self._folder),
                timeout=_CONNECT_SECONDS,
                set_as_default=False,
            )

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._machines = tuple(each.away() for each in self._machines)
        if client is not None:
            with suppress(Exception):
                client.close(timeout=1)
