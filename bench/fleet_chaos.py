"""Disturb a night of a fleet at random instants, and count what is lost or measured twice.

    .venv/bin/python -m bench.fleet_chaos [--events 40] [--experiments 80] [--seed 1]

The events are:

- A machine is stopped for longer than it may be away (a closed lid) and continued, or stopped for a moment.
- ``kill -9`` ends a Dask worker, its nanny, the process that measures, the scheduler, the coordinator or the night.
- The disk under a spool is full.
- A visitor has a wrong certificate, is a plain TCP client, has another version of the code or another corpus, or cannot
  be reached by the coordinator.  Every visitor must be refused with the reason.

Whatever a person would start again is started again: the night, the coordinator, a machine's `fleet join`.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

import autoresearch_mlx
from bench.fleet_processes import MACHINES, Made, Running, counts, fleet, runs_twice, script, wait_for, wrong

_LID_SECONDS = 80.0
"""Seconds for which a machine with a closed lid is stopped: longer than a machine may be away."""


class Chaos:
    """The events of one night."""

    def __init__(self, running: Running, experiments: int, seed: int, small: Path | None) -> None:
        self.small = small
        self.running, self.experiments, self.random = running, experiments, random.Random(seed)
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.asleep: set[str] = set()
        self.answers: list[str] = []
        """The answers that refused visitors got."""
        self.failed: list[str] = []
        self.night, self.begun = running.run(experiments), time.time()
        self.again: dict[str, int] = Counter()
        kinds = {
            "lid": self.lid,
            "moment": self.moment,
            "worker": lambda: self.kill("spawn_main"),
            "nanny": lambda: self.kill("engine.machine"),
            "measurer": lambda: self.kill("fleet.measuring"),
            "join": self.join_again,
            "scheduler": self.scheduler,
            "coordinator": self.coordinator,
            "night": self.kill_night,
            "full disk": self.full_disk,
            "wrong certificate": self.wrong_certificate,
            "plain client": self.plain_client,
            "wrong code": self.wrong_code,
            "wrong corpus": self.wrong_corpus,
            "unreachable": self.unreachable,
        }
        self.kinds: dict[str, Callable[[], str]] = kinds

    def do(self, kind: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {kind}: {self.kinds[kind]()}", flush=True)

    def look(self) -> bool:
        """Take the planned actions whose time has come, and start the night again if it has died.

        Returns False, so that a condition can call it with ``or``.
        """
        due = [each for each in self.later if each[0] <= time.monotonic()]
        self.later = [each for each in self.later if each[0] > time.monotonic()]
        for _, action in due:
            action()
        if (code := self.night.poll()) is not None and not self.over:
            if code != -signal.SIGKILL:
                print(f"the night ended with {code}: {self.running.said('run')[-400:]}", flush=True)
                time.sleep(1)
            self.night, self.begun = self.running.run(self.left), time.time()
        return False

    @property
    def left(self) -> int:
        """Number of experiments that have not begun yet."""
        begun = {e["number"] for e in self.running.events("finished") if e["number"] > 0}
        open_ = {e["number"] for e in self.running.events("started") if e["number"] > 0} - begun
        gone = {e["number"] for e in self.running.events("abandoned")}
        return max(0, self.experiments - len(begun | open_ - gone))

    @property
    def over(self) -> bool:
        finished = {e["number"] for e in self.running.events("finished")}
        return len(finished) > self.experiments and self.night.poll() is not None

    def finish(self) -> None:
        """Take all planned actions now, so that no process stays stopped and no disk stays full."""
        for _, action in self.later:
            with suppress(OSError, psutil.Error):
                action()
        self.later.clear()

    # --- machines

    def machine(self) -> Made | None:
        able = [m for m in MACHINES if m.name not in self.asleep]
        return self.random.choice(able) if able else None

    def processes(self, name: str) -> list[psutil.Process]:
        """Return all processes of a machine, including those in sessions of their own."""
        home = str(self.running.folder / "cache" / "fleet" / name)
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                inside = process.environ().get("AUTORESEARCH_WORKS_IN") == home
                if inside or (
                    home in process.cmdline() and "autoresearch_mlx.fleet.engine.machine" in process.cmdline()
                ):
                    found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        join = self.running.processes[name]
        if join.poll() is None:
            found[join.pid] = psutil.Process(join.pid)
        return list(found.values())

    def stop(self, seconds: float) -> str:
        if (machine := self.machine()) is None:
            return "all sleep"
        stopped = self.processes(machine.name)
        self.asleep.add(machine.name)
        for process in stopped:
            with suppress(psutil.Error):
                process.suspend()

        def wake() -> None:
            for process in stopped:
                with suppress(psutil.Error):
                    process.resume()
            self.asleep.discard(machine.name)

        self.later.append((time.monotonic() + seconds, wake))
        return f"{machine.name} is stopped for {seconds:.0f} s ({len(stopped)} processes)"

    def lid(self) -> str:
        return self.stop(_LID_SECONDS) if len(self.asleep) < 2 else self.moment()

    def moment(self) -> str:
        return self.stop(self.random.uniform(1, 15))

    def kill(self, part: str) -> str:
        if (machine := self.machine()) is None:
            return "all sleep"
        for process in self.processes(machine.name):
            with suppress(psutil.Error):
                if any(part in word for word in process.cmdline()):
                    process.kill()
                    return f"{machine.name}, process {process.pid}"
        return f"{machine.name} has none"

    def join_again(self) -> str:
        if (machine := self.machine()) is None:
            return "all sleep"
        self.running.processes[machine.name].kill()
        self.running.processes[machine.name].wait()
        self.later.append((time.monotonic() + 3, lambda: self.running.join(machine)))
        return machine.name

    # --- the coordinator

    def scheduler(self) -> str:
        with suppress(psutil.Error):
            for child in psutil.Process(self.running.processes["coordinator"].pid).children():
                child.kill()
                return str(child.pid)
        return "none"

    def coordinator(self) -> str:
        self.running.processes["coordinator"].kill()
        self.running.processes["coordinator"].wait()
        self.later.append((time.monotonic() + 2, self.running.coordinate))
        return "and started again"

    def kill_night(self) -> str:
        self.night.kill()
        self.night.wait()
        return "and started again"

    # --- full disks and visitors

    def full_disk(self) -> str:
        """Fill the disk of the machine `tiny` for a while."""
        if self.small is None:
            return "not tried: this process may not mount a small disk"
        fill = self.small / "fill"
        with suppress(OSError), fill.open("wb") as file:
            while True:
                file.write(b"0" * 2**20)
        self.later.append((time.monotonic() + 20, lambda: fill.unlink(missing_ok=True)))
        return "the disk of `tiny` is full for 20 s"

    def visitor(self, name: str, pairing: Path, says: str, **environment: str) -> str:
        """Let a machine try to join, and check that it is refused with the reason."""
        home = self.running.folder / f"home-{name}"
        command = [sys.executable, "-m", "autoresearch_mlx", "fleet", "join", str(pairing), "--name", name]
        command += ["--host", "127.0.0.1", "--home", str(home)]
        with (self.running.folder / f"{name}.txt").open("wb") as said:
            around = {**self.running.environment, **environment}
            place = self.running.folder
            process = subprocess.Popen(command, cwd=place, stdout=said, stderr=said, env=around)
        with suppress(SystemExit):
            wait_for(lambda: self.look() or says in self.running.said(name) or process.poll() is not None, says, 90)
        process.terminate()
        process.wait(30)
        told = self.running.said(name).strip()
        self.answers.append(told)
        if says not in told:
            self.failed.append(f"{name}: {told}")
        return told.splitlines()[0] if told else "(nothing)"

    def wrong_certificate(self) -> str:
        other = self.running.folder / "other"
        if not other.exists():
            from autoresearch_mlx.fleet.pairing import make_pairing

            make_pairing(other, json.loads(self.running.pairing.read_text())["address"])
        return self.visitor("stranger", other / "pairing.json", "certificate")

    def plain_client(self) -> str:
        address = json.loads(self.running.pairing.read_text())["address"].removeprefix("tls://")
        host, port = address.rsplit(":", 1)
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=5) as plain:
            plain.sendall(b"\x00" * 1000 + b"GET / HTTP/1.0\r\n\r\n")
            plain.settimeout(5)
            while data := plain.recv(1000):
                if b"fleet" in data:
                    self.failed.append(f"a plain client was told {data!r}")
        return "no answer"

    def wrong_code(self) -> str:
        """Let a machine whose package differs in one line try to join."""
        copy = self.running.folder / "changed"
        if not copy.exists():
            package = Path(autoresearch_mlx.__file__).parent
            shutil.copytree(package, copy / package.name, ignore=shutil.ignore_patterns("__pycache__"))
            with (copy / package.name / "terms.py").open("a") as file:
                file.write("\n# another version\n")
        return self.visitor("other-code", self.running.pairing, "install the same commit", PYTHONPATH=str(copy))

    def wrong_corpus(self) -> str:
        """Let a machine that lacks the corpus of the session try to join."""
        path = self.running.pairing.with_name("wanted.json")
        with suppress(SystemExit):  # a new night writes this file once
            wait_for(lambda: path.stat().st_mtime > self.begun or self.night.poll() is not None, "the night", 30)
        before = path.read_text()
        path.write_text(json.dumps({**json.loads(before), "corpus": "0" * 12, "source": "stdlib"}))
        try:
            return self.visitor("other-corpus", self.running.pairing, "prepare stdlib")
        finally:
            path.write_text(before)

    def unreachable(self) -> str:
        """Let a machine try to join under an address at which nothing answers, like a machine behind a firewall."""
        program = (
            "import asyncio, sys\n"
            "from pathlib import Path\n"
            "from distributed.core import rpc\n"
            "from autoresearch_mlx.fleet.admission import facts_here\n"
            "from autoresearch_mlx.fleet.engine.security import security_of\n"
            "from autoresearch_mlx.fleet.pairing import read_pairing\n"
            "side = read_pairing(Path(sys.argv[1])); folder = Path(sys.argv[2])\n"
            "async def main():\n"
            "    args = security_of(side, folder).get_connection_args('worker')\n"
            "    async with rpc(side.address, connection_args=args) as there:\n"
            "        facts, closed = facts_here(folder), 'tls://127.0.0.1:9'\n"
            "        why = await there.fleet_hello(name='walled', address=closed, facts=facts)\n"
            "        print('; '.join(why))\n"
            "asyncio.run(main())\n"
        )
        command = [sys.executable, "-c", program, str(self.running.pairing), str(self.running.folder / "walled")]
        done = subprocess.run(command, capture_output=True, text=True, env=self.running.environment, timeout=60)
        told = done.stdout.strip()
        self.answers.append(told)
        if "cannot reach" not in told and done.returncode == 0:
            self.failed.append(f"unreachable: {told}")
        return told or done.stderr.strip().splitlines()[-1]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Yield a folder on a small disk of its own, or None if this process may not mount a disk."""
    place = folder / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1100m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], capture_output=True)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=40)
    parser.add_argument("--experiments", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    steps = script(wanted.experiments)
    with (
        tempfile.TemporaryDirectory() as name,
        small_disk(Path(name)) as small,
        fleet(Path(name), MACHINES, steps, 2.0) as running,
    ):
        if small is not None:
            running.join(Made("tiny", 0.1, 1.0), home=small / "home")
            wait_for(lambda: "takes part" in running.said("tiny"), "tiny")
        chaos = Chaos(running, wanted.experiments, wanted.seed, small)
        try:
            wait_for(lambda: any(e["number"] == 0 for e in running.events("finished")), "the baseline")
            names = [*chaos.kinds] * (wanted.events // len(chaos.kinds) + 1)
            order = names[: wanted.events]
            chaos.random.shuffle(order)
            if "lid" in order:
                order.remove("lid")
                order.insert(0, "lid")
            for kind in order:
                end = time.monotonic() + chaos.random.uniform(0.5, 4.0)
                while time.monotonic() < end:
                    chaos.look()
                    time.sleep(0.05)
                chaos.do(kind)
            print("the events are over", flush=True)
            end = time.monotonic() + 900
            while not chaos.over and time.monotonic() < end:
                chaos.look()
                time.sleep(0.2)
            report(chaos, order)
        finally:
            chaos.finish()


def report(chaos: Chaos, order: list[str]) -> None:
    running = chaos.running
    lost, doubled = counts(running, chaos.experiments)
    mistaken = wrong(running)
    print(f"{len(order)} events: {dict(Counter(order))}")
    print(f"statuses {dict(Counter(e['status'] for e in running.events('finished')))}")
    print(f"lost {lost}, doubled {doubled}, runs counted twice {runs_twice(running)}")
    print(f"late runs, not counted: {len(running.events('late'))}")
    print(f"wrong verdicts: {len(mistaken)}", *mistaken, sep="\n  ")
    print(f"refusals without the expected words: {chaos.failed}")
    for event in running.events("finished"):
        if event["status"] == "interrupted":
            print(f"  interrupted: #{event['number']} {event['reason']}")


if __name__ == "__main__":
    main()
