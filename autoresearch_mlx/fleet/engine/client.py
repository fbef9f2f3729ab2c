"""Ask the machines of a fleet for runs, through Dask's client."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Sequence
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
_LOOK_SECONDS = 0.1
_EVERY_SECONDS = 0.5
_ATTRIBUTES = ("name", "address", "here", "busy", "left", "seen", "facts")


def _silence() -> None:
    """Keep Dask's own messages off the screen; a message of ours reports a lost connection."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [logging.NullHandler()], False


def must_ask_again(status: str, asked_at: str, address: str) -> bool:
    """Return whether a job must be requested again: the request failed, or its machine now has another address.

    When a worker ends properly, Dask keeps its tasks for a worker with the same address, and such a worker may never
    come.
    """
    return status in ("cancelled", "lost", "error") or asked_at != address


def why_lost(machines: Sequence[Machine], name: str, unseen: float, away_seconds: float) -> str | None:
    """Return why the coordinator no longer waits for a run of the machine ``name``, or None if it still waits.

    The machine is not connected; ``unseen`` is the number of seconds since its last connection.  The coordinator does
    not wait for a machine that has left.
    """
    if any(each.name == name and each.left for each in machines):
        return f"{name} has left the fleet"
    return f"{name} has not reported for {away_seconds:.0f} s" if unseen > away_seconds else None


class Fleet:
    """The coordinator's connection to the machines; several lanes use it at the same time.

    A thread keeps the list of machines up to date, and connects again after a restart of the scheduler.
    """

    def __init__(self, folder: Path) -> None:
        """Connect to the coordinator whose files are in ``folder``.  Raises LabError if these files do not exist."""
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
        """Wait at most ``patience`` seconds for an answer of the scheduler; return whether there was one."""
        self._looked.wait(patience)
        return self._client is not None

    def machines(self) -> tuple[Machine, ...]:
        """Return the admitted machines, as the scheduler listed them at most a second ago."""
        return self._machines

    def machine(self, name: str) -> Machine | None:
        """Return the machine with this name if it is connected now, else None."""
        return next((each for each in self._machines if each.name == name and each.here), None)

    def ask(
        self, name: str, job: Job, bundle: bytes, watch: Watch, away_seconds: float, most_seconds: float
    ) -> Delivery:
        """Let a machine make a run, and wait for its delivery; ``watch`` is called during the wait and may end the run.

        After a lost connection the same job is requested again, and the machine returns the result from its spool.
        Raises Lost if the machine has left, if it is away for ``away_seconds``, or if it has not delivered the run
        after ``most_seconds``.
        """
        text, future, began = job.text(), None, time.monotonic()
        asked_at = ""
        seen = began
        ended = threading.Event()

        def told(done: Any) -> None:
            if done.status == "finished":
                ended.set()

        try:
            while True:
                watch(Progress("train"))
                now = time.monotonic()
                if (machine := self.machine(name)) is not None:
                    seen = now
                    if future is None or must_ask_again(future.status, asked_at, machine.address):
                        future, asked_at = self._submit(machine, job, text, bundle), machine.address
                        if future is not None:
                            future.add_done_callback(told)
                elif (future is None or future.status != "finished") and (
                    why := why_lost(self._machines, name, now - seen, away_seconds)
                ):
                    raise Lost(why)
                if now - began > most_seconds:
                    raise Lost(f"{name} has not delivered the run within {most_seconds:.0f} s")
                if future is not None and future.status == "finished":
                    with suppress(Exception):
                        return delivery_from(future.result(timeout=_CONNECT_SECONDS))
                    future = None
                ended.wait(_LOOK_SECONDS)
                ended.clear()
        except BaseException as ended_by:
            if future is not None:
                with suppress(Exception):
                    future.cancel()  # so that the machine does not begin a job that still waits
            if not isinstance(ended_by, Lost):
                self._call(name, end_job, job.id, wait=False)
            raise

    def result(self, name: str, job: str) -> Delivery | None:
        """Return a job's delivery from a machine's spool.

        Returns None if the spool does not have the delivery yet, or if the machine does not answer.
        """
        text = self._call(name, result_of, job)
        return None if not text else delivery_from(text)

    def leave(self, name: str) -> bool:
        """Let the machine with this name leave the fleet; return whether a machine with this name took part."""
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
        """Call a function on a machine, even during a run.

        Returns the function's result, or None if the call fails.  Without ``wait``, the result is always None.
        """
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
                except Exception:  # errors of many kinds, as when the scheduler restarts or the network fails
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
