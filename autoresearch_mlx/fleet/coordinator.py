"""Run the coordinator of a fleet: make certificates, record what machines need, and keep Dask's scheduler running."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from autoresearch_mlx.errors import ConfigError, LabError
from autoresearch_mlx.fleet.admission import Wanted
from autoresearch_mlx.fleet.pairing import FOLDER, OWN, PAIRING, make_pairing, need_dask, read_pairing, write_private
from autoresearch_mlx.fleet.serving import PORT, engine, free_port, kept_running, own_address, refuse_port
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.locks import take_lock
from autoresearch_mlx.targets.contract import Say

WANTED, STATE = "wanted.json", "scheduler.json"


def start(lab: Lab, wanted: Wanted, host: str | None, port: int | None, anew: bool, say: Say) -> None:
    """Start the coordinator of this lab's fleet and keep its scheduler running, until Ctrl-C.

    The address of an earlier start is used again, so that machines that joined earlier reconnect by themselves.  Raises
    ConfigError if Dask is not installed, and LabError if the address is in use or a coordinator is running already.
    """
    need_dask()
    lab.make_state()
    folder = lab.state / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        if not take_lock(file, 0.2):
            raise LabError(
                "the coordinator of this lab's fleet is running already", "`autoresearch-mlx fleet status` shows it"
            )
        host, port = _place(folder, host, port, anew)
        refuse_port(host, port)
        shown = f"[{host}]" if ":" in host else host
        pairing = make_pairing(folder, f"tls://{shown}:{port}", anew)
        write_private(folder / WANTED, json.dumps(asdict(wanted)) + "\n")
        said = False

        def told(event: dict[str, object]) -> bool:
            nonlocal said
            if event["kind"] == "ready" and not said:
                said = True
                say(f"the fleet's coordinator listens at {shown}, port {port}")
                if event.get("dashboard"):
                    say(f"Dask's own page: {event['dashboard']}")
                say(f"pairing file: {pairing}")
                say("copy this file to every other machine, and call `autoresearch-mlx fleet join pairing.json` there")
                say("to let this machine measure too, call `fleet join` in another terminal")
                say("`run --fleet` starts a night")
                say("Ctrl-C ends the coordinator; machines join again when the coordinator is started again")
            elif event["kind"] == "ready":
                say("the scheduler runs again")
            elif event["kind"] == "news":
                say(str(event["words"]))
            return False

        command = engine("scheduler", str(folder), host, str(port))
        kept_running(command, told, lambda why: say(f"the scheduler died: {why}"))


def _place(folder: Path, host: str | None, port: int | None, anew: bool) -> tuple[str, int]:
    """Return the host and the port at which to listen.

    A missing ``host`` or ``port`` is taken from the last start.  At the first start, this machine's own address and
    Dask's usual port are used.  Raises LabError if a file of the last start is damaged and ``anew`` is false.
    """
    before = None
    for path in (folder / OWN, folder / PAIRING):
        try:
            before = urlsplit(read_pairing(path).address) if path.exists() else before
        except ConfigError:
            if not anew:
                hint = "`fleet start --new-keys` makes a new pairing file; copy it to each machine, and join again"
                raise LabError(f"{path} is damaged", hint) from None
    host = host or (before.hostname if before is not None else None) or own_address()
    port = port if port is not None else ((before.port if before is not None else None) or PORT)
    return host, port or free_port(host)
