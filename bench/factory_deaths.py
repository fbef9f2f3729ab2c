"""Kill a factory at random instants until it is done, and count what was lost or done twice.

    python -m bench.factory_deaths [--rounds 1] [--seed 1]

The posts are those of tests/setup/factory/posts; a scripted model on this machine answers.  Every call of the command
is killed after a random time of up to 12 s, unless it ends earlier.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "support")]
_LONGEST = 12.0
_OPTIONS = ("--agent", "openai:tiny-1b", "--cases", "20", "--builds", "1", "--experiments", "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    kills = lost = doubled = 0
    for number in range(1, given.rounds + 1):
        killed, problems, twice = _round(rng)
        kills, lost, doubled = kills + killed, lost + problems, doubled + twice
        print(f"round {number}: {killed} kills, {problems} lost, {twice} doubled", flush=True)
    print(f"{kills} kills, {lost} lost, {doubled} doubled (seed {given.seed})")


def _round(rng: random.Random) -> tuple[int, int, int]:
    """Return three counts: kills, problems without the expected end, and events that appear twice."""
    from autoresearch_mlx.setup.factory.ledger import FILE, open_book
    from autoresearch_mlx.store.journal import read_events

    kills = 0
    scripted, servers = importlib.import_module("factory_model"), importlib.import_module("openai_server")
    with tempfile.TemporaryDirectory(prefix="factory-") as folder, servers.OpenAIServer() as server:
        server.default = scripted.model()
        root = Path(folder) / "mine"
        posts = ROOT / "tests" / "setup" / "factory" / "posts"
        command = [sys.executable, "-m", "autoresearch_mlx", "factory", str(root), "--posts", str(posts), *_OPTIONS]
        environment = {**os.environ, "OPENAI_BASE_URL": server.base_url}
        while not (root / FILE).exists() or not open_book(root).read().over:
            started = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            end = time.monotonic() + rng.uniform(0.3, _LONGEST)
            while started.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
            if started.poll() is None:
                started.send_signal(signal.SIGKILL)
                kills += 1
            started.wait()
        state = open_book(root).read()
        events = Counter((e["event"], e.get("problem"), e.get("batch")) for e in read_events(root / FILE).events)
    ends = sorted(problem.state for problem in state.problems)
    wanted = ["discarded", "discarded", "shipped", "too little evidence"]
    lost = sum((Counter(wanted) - Counter(ends)).values())
    return kills, lost, sum(count - 1 for count in events.values())


if __name__ == "__main__":
    main()
