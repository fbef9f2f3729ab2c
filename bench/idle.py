"""Measure how long a machine waits for a model: nights with and without thinking ahead, with a scripted endpoint.

    .venv/bin/python -m bench.idle [--experiments 20] [--seconds 10] [--think 5] [--agent chat]

Both nights run at the same time, each in a process and a lab of its own.  The program sleeps for ``--seconds``.  The
endpoint, a real HTTP server on this machine, answers after ``--think`` seconds with a new edit each time; every seventh
edit gains.  Idle time is the time without measuring or judging, from the start of the first experiment to the end of
the last.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser
from collections import Counter
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.lanes import check, finished, make_lab

AGENT = '\n[agent]\nname = "{agent}"\nmodel = "m"\nbase_url = "{url}"\nshare = 1.0\nthink_ahead = {ahead}\n'
_GAINS = 7


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--think", type=float, default=5.0)
    parser.add_argument("--agent", choices=("chat", "hybrid"), default="chat")
    wanted = parser.parse_args()
    with Endpoint(wanted.think) as endpoint, tempfile.TemporaryDirectory() as folder:
        nights = {}
        for ahead in ("auto", "false"):
            lab = make_lab(Path(folder) / ahead, wanted.experiments, wanted.seconds)
            words = f'"{ahead}"' if ahead == "auto" else ahead
            with (lab / "lab.toml").open("a") as settings:
                settings.write(AGENT.format(agent=wanted.agent, url=endpoint.url, ahead=words))
            nights[ahead] = threading.Thread(target=night, args=(lab, wanted.experiments))
            nights[ahead].start()
        for each in nights.values():
            each.join()
        for ahead in nights:
            lab = Path(folder) / ahead
            check(lab, wanted.experiments)
            wall, busy = times(lab)
            counts = dict(Counter(e["status"] for e in finished(lab) if e["number"] > 0))
            print(f"think_ahead = {ahead}: {wall:.1f} s, idle {100 * (1 - busy / wall):.1f} %, {counts}")


def night(lab: Path, experiments: int) -> None:
    command = [sys.executable, "-m", "autoresearch_mlx", "run", "--tag", "t", "--experiments", str(experiments)]
    done = subprocess.run(command, cwd=lab, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def times(lab: Path) -> tuple[float, float]:
    """Return the seconds from the first experiment to the last, and how many of these went into measuring and
    judging."""
    done = finished(lab)
    first, last = datetime.fromisoformat(done[0]["started"]), datetime.fromisoformat(done[-1]["finished"])
    busy = sum(e["seconds"].get("measure", 0.0) for e in done)
    return (last - first).total_seconds(), busy


class Endpoint:
    """A server of OpenAI's chat completions that thinks for a fixed time before each answer."""

    def __init__(self, seconds: float) -> None:
        endpoint = self
        self.asked = 0

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self._send(json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                time.sleep(seconds)
                said = {"delta": {"role": "assistant", "content": endpoint.answer(body)}, "index": 0}
                events = [{"choices": [{**said, "finish_reason": None}]}]
                events.append({"choices": [{"delta": {}, "index": 0, "finish_reason": "stop"}]})
                text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
                self._send(text, "text/event-stream")

            def _send(self, text: str, kind: str = "application/json") -> None:
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def answer(self, body: dict[str, Any]) -> str:
        """Return the edit for the experiment that the prompt names; every seventh edit gains."""
        self.asked += 1
        prompt = " ".join(str(m["content"]) for m in body["messages"])
        number = int((re.findall(r"This is experiment (\d+)", prompt) or ["0"])[-1])
        x = 99.0 - number if number % _GAINS == 3 else 200.0 + number
        return json.dumps({"title": f"X {x}", "axis": "x", "hypothesis": "", "knobs": {"X": x}})

    def __enter__(self) -> Endpoint:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


if __name__ == "__main__":
    main()
