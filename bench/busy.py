"""Compare a night on a busy machine with one on a quiet machine: ``python -m bench.busy [--seconds 10] [--quick]``

Both nights are real nights on the training target with a scripted agent: 12 edits without effect (a weight decay of
1e-9 more), 3 real wins and 3 real losses, in random order.  One night has the machine to itself.  In the other night,
two to six busy programs are switched on and off by a random schedule, each in a session of its own, because the
scheduler shares the processors by session.  For each edit, the script prints the verdict, the effect in sigma, the
speed of its runs, and the factor by which their time was lengthened.  Then it prints

    beyond 3       edits without effect that are reported beyond 3 sigma (at most one should be)
    kept           edits without effect that are kept (none should be)
    wins, losses   real wins and losses that are judged right
    agree          edits whose effect in the busy night lies within the intervals (90 % each) of the quiet one
    extra          wall-clock time of the busy night's trainings over that of the quiet night's

With ``--quick`` there are 4 edits without effect, a win and a loss, with 4 s of training each.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from autoresearch_mlx.experiment import Experiment, Measurement
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.lab import SCRIPT
from autoresearch_mlx.lab.source import set_knobs
from autoresearch_mlx.store.ledger import FILE, Journal, read

Kind = Literal["nothing", "win", "loss"]
SPOILED: Mapping[str, float] = {"UNEMBEDDING_LR": 0.0015, "WARMDOWN_RATIO": 0.99, "WARMUP_RATIO": 0.4}
"""Bad values of knobs for the bench's baseline, so that the shipped values are real wins.

With 55 steps, the baseline's val_bpb is 2.586 with a standard deviation of about 0.01 over seeds.  A win lowers it by
0.11 or more, and a loss raises it by 0.05 or more.  (With rates far below these, the baseline varied from 2.95 to 3.18
between seeds.)
"""
WINS: Sequence[Mapping[str, float]] = ({"UNEMBEDDING_LR": 0.012}, {"WARMDOWN_RATIO": 0.5}, {"WARMUP_RATIO": 0.0})
LOSSES: Sequence[Mapping[str, float]] = ({"UNEMBEDDING_LR": 0.0005}, {"EMBEDDING_LR": 0.02}, {"MATRIX_LR": 0.5})
SPIN = "while True: pass"


@dataclass(frozen=True, slots=True)
class Edit:
    """One step of the scripted agent, and its true effect."""

    kind: Kind
    step: Mapping[str, Any]


def without_effect(number: int) -> Edit:
    """Return an edit of the text that changes the weight decay too little to matter.

    The edit changes the text, because knobs are set with only six digits.
    """
    value = f"WEIGHT_DECAY = {0.2 + 1e-9 * number:.9f}"
    step = {"title": value, "axis": "weight_decay", "search": "WEIGHT_DECAY = 0.2 ", "replace": f"{value} "}
    return Edit("nothing", step)


def real(kind: Kind, knobs: Mapping[str, float]) -> Edit:
    """Return an edit that sets knobs to values with a real effect."""
    return Edit(kind, {"title": ", ".join(f"{name} = {value}" for name, value in knobs.items()), "knobs": dict(knobs)})


def edits(quick: bool, rng: random.Random) -> list[Edit]:
    nothing, each = (4, 1) if quick else (12, 3)
    found = [without_effect(number + 1) for number in range(nothing)]
    found += [real("win", knobs) for knobs in WINS[:each]]
    found += [real("loss", knobs) for knobs in LOSSES[:each]]
    rng.shuffle(found)
    return found


@contextmanager
def busy_programs(rng: random.Random, seconds: float) -> Iterator[None]:
    """Switch two to six programs on and off until the end of the block; a spell lasts up to four runs."""
    over = threading.Event()

    def spells() -> None:
        while not over.wait(rng.uniform(seconds, 4 * seconds)):
            command = [sys.executable, "-c", SPIN]
            running = [subprocess.Popen(command, start_new_session=True) for _ in range(rng.randint(2, 6))]
            over.wait(rng.uniform(seconds, 4 * seconds))
            for each in running:
                each.kill()
                each.wait()

    thread = threading.Thread(target=spells)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def lab(folder: Path, steps: Sequence[Edit]) -> Path:
    """Write a lab of its own for a night: the script, with bad values for its knobs, and the agent's steps."""
    folder.mkdir(parents=True)
    (folder / SCRIPT).write_text(set_knobs(asset(SCRIPT).read_text(), dict(SPOILED)))
    (folder / "lab.toml").write_text('[data]\nsource = "stdlib"\n')
    lines = [json.dumps(dict(each.step)) for each in steps]
    (folder / "steps.jsonl").write_text("\n".join(lines) + "\n")
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for arguments in (["init", "--quiet"], ["add", "-A"], ["commit", "--quiet", "-m", "start"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    return folder


def night(folder: Path, steps: Sequence[Edit], seconds: float) -> Journal:
    """Run the command ``run`` in a new lab; return the ledger."""
    here = lab(folder, steps)
    order = ["run", "--agent", "scripted:steps.jsonl", "--tag", "night", "--experiments", str(len(steps))]
    command = [sys.executable, "-m", "autoresearch_mlx", *order, "--budget", f"{seconds:g}"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    ledger = here / ".autoresearch" / "night" / FILE
    if done.returncode != 0 or not ledger.exists():
        raise SystemExit(done.stdout + done.stderr)
    print("\n".join(line for line in (done.stdout + done.stderr).splitlines() if "note: " in line))
    return read(ledger)


def tell(name: str, steps: Sequence[Edit], journal: Journal) -> None:
    print(f"\n{name} night")
    print(f"{'':>3}  {'truth':8} {'verdict':9} {'sigma':>6} {'runs':>4} {'tainted':>7}  speed  stretch  edit")
    for e in journal.history.experiments:
        kind = "baseline" if e.number == 0 else steps[e.number - 1].kind
        ran = e.measurements
        spoiled = sum(m.tainted for m in ran)
        print(
            f"{e.number:>3}  {kind:8} {e.status:9} {sigmas(e):>6.1f} {len(ran):>4} {spoiled:>7}"
            f"  {span([m.speed for m in ran]):11} {span([m.stretch for m in ran]):11} {e.title}"
        )
    done = [(steps[e.number - 1].kind, e) for e in journal.history.experiments if e.number]
    nothing = [e for kind, e in done if kind == "nothing"]
    print(f"beyond 3: {sum(abs(sigmas(e)) > 3 for e in nothing)} of {len(nothing)}")
    print(f"kept:     {sum(e.status == 'keep' for e in nothing)} of {len(nothing)}")
    for kind, right in (("win", "keep"), ("loss", "discard")):
        real = [e for each, e in done if each == kind]
        print(f"{kind}: {sum(e.status == right for e in real)} of {len(real)} judged right")


def sigmas(e: Experiment) -> float:
    return float(e.effect.get("z", 0.0))


def span(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{min(known):.2f}-{max(known):.2f}" if known else "-"


def compare(quiet: Journal, busy: Journal) -> None:
    pairs = list(zip(quiet.history.experiments[1:], busy.history.experiments[1:], strict=False))
    both = [(a.effect, b.effect) for a, b in pairs if "error" in a.effect and "error" in b.effect]
    agree = sum(abs(a["raw"] - b["raw"]) <= 1.645 * (a["error"] + b["error"]) for a, b in both)
    print(f"\nagree: {agree} of {len(both)} effects within the intervals of both nights")
    spent = [sum(m.seconds.train or 0.0 for m in runs(journal)) for journal in (quiet, busy)]
    counts = [len(runs(journal)) for journal in (quiet, busy)]
    means = [each / count for each, count in zip(spent, counts, strict=True)]
    print(f"trainings: {spent[0]:.0f} s in {counts[0]} runs, busy {spent[1]:.0f} s in {counts[1]} runs")
    print(f"extra: {spent[1] / spent[0] - 1:+.0%} of wall-clock time, {means[1] / means[0] - 1:+.0%} a run")
    slow = [m.speed for m in runs(busy) if m.speed is not None]
    print(f"speed of the busy night: {span(slow)}, mean {fmean(slow):.2f}" if slow else "speed unknown")


def runs(journal: Journal) -> list[Measurement]:
    history = journal.history
    return [*(m for e in history.experiments for m in e.measurements), *(r.measurement for r in history.repeats)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.busy", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, help="training of a run; default 10, quick 4")
    parser.add_argument("--seed", type=int, default=1, help="seed of the order of the edits and of the schedule")
    parser.add_argument("--quick", action="store_true", help="6 edits of 4 s each")
    parser.add_argument("--only", choices=["quiet", "busy"], help="one of the two nights")
    parser.add_argument("--keep", type=Path, help="an empty folder for the labs, which are kept there")
    options: Any = parser.parse_args()
    seconds = options.seconds or (4.0 if options.quick else 10.0)
    steps = edits(options.quick, random.Random(options.seed))
    found: dict[str, Journal] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        if options.only != "busy":
            found["quiet"] = night(folder / "quiet", steps, seconds)
            tell("quiet", steps, found["quiet"])
        if options.only != "quiet":
            with busy_programs(random.Random(options.seed + 1), seconds):
                found["busy"] = night(folder / "busy", steps, seconds)
            tell("busy", steps, found["busy"])
    if len(found) == 2:
        compare(found["quiet"], found["busy"])


if __name__ == "__main__":
    main()
