"""Ask a small model for proposals in each form, and let it share nights with the optimiser.

    python -m bench.small_models --url http://127.0.0.1:8080/v1               the table of forms
    python -m bench.small_models --url http://127.0.0.1:8080/v1 --night 20    a night as hybrid, and one of knobs alone
    python -m bench.small_models --url http://127.0.0.1:8080/v1 --night 20 --simulated --nights 8    pairs of nights
    python -m bench.small_models --guess --night 20 --simulated --nights 80                          without a model

The server may be any OpenAI-compatible one; docs/models.md says how the published figures were made.  For the table,
the model is asked in each form for ``--proposals`` experiments of two labs: ``train_mlx.py`` and ``examples/sieve``.
Nothing is measured for the table: each edit counts as a small loss, so that the next question differs.  ``valid``
counts the edits that could be measured, at the first reply; ``distinct`` counts the edits that repeat no earlier one.
Tokens and seconds are means over all replies.

A night runs the real command line on a lab whose program takes ``--seconds`` and prints a value of a synthetic
landscape (``bench/landscapes.py``) for the knobs in its file.  One night says little about two agents, so
``--simulated`` compares them over several seeds: the model's answers are real, and the values come from the landscape
without runs.  With ``--guess`` each answer is drawn at random from those that the schema allows, which shows what a
model without any skill costs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoresearch_mlx.agents import load_agent
from autoresearch_mlx.agents.chat import Chat
from autoresearch_mlx.agents.choose_model import open_endpoint
from autoresearch_mlx.agents.hybrid import Hybrid
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import AutoresearchError
from autoresearch_mlx.experiment import Agent, Context, Experiment, History, Measurement, Proposal
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.lab.source import changed_knobs, fingerprint, read_knobs
from autoresearch_mlx.models.wire import Ask, Endpoint, ModelFacts, Reply
from bench.knob_file import TEXT
from bench.landscapes import FAMILIES, Landscape, draw
from bench.simulated_night import Night, local

ROOT = Path(__file__).resolve().parents[1]
FORMS = ("whole", "blocks", "values, no schema", "values", "menu, no schema", "menu", "auto")
LABS = {
    "train_mlx.py": (ROOT / "train_mlx.py", "val_bpb", 1.8, ROOT / "program.md"),
    "sieve": (ROOT / "examples" / "sieve" / "sieve.py", "milliseconds", 40.0, None),
}


@dataclass(frozen=True, slots=True)
class Row:
    """The outcome of one form on one lab."""

    lab: str
    form: str
    asked: int
    valid: int
    distinct: int
    prompt_tokens: float
    reply_tokens: float
    seconds: float
    problem: str = ""


class NoSchema:
    """The same endpoint without schemas, as for a server that ignores them."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.name = endpoint.name

    def facts(self) -> ModelFacts:
        return replace(self._endpoint.facts(), enforces_schema=False)

    def ask(self, ask: Ask) -> Reply:
        return self._endpoint.ask(replace(ask, schema=None))

    def release(self) -> float | None:
        return None

    def close(self) -> None:
        pass


def row(url: str, model: str, lab: str, form: str, proposals: int) -> Row:
    """Ask for a number of proposals, one after the other, each with a seed of its own."""
    path, metric, value, brief = LABS[lab]
    settings = AgentSettings(
        base_url=url,
        model=model,
        format=form.partition(",")[0],
        temperature=0.7,
        repairs=0,
        patience_seconds=0.0,
    )
    office = Office(settings, seed=1)
    endpoint: Endpoint = open_endpoint(model, office)
    files = {path.name: path.read_text()}
    done = [_experiment(0, "keep", value, None, Proposal("baseline", {}), files)]
    rng, seen = np.random.default_rng(1), {fingerprint(files)}
    replies: list[Any] = []
    valid = distinct = 0
    for number in range(1, proposals + 1):
        chat = Chat(NoSchema(endpoint) if "no schema" in form else endpoint, office)
        program = brief.read_text() if brief else ""
        context = Context(number, program, files, History(tuple(done), metric, "min"), "2 CPU cores", 42)
        try:
            proposal = chat.propose(context)
        except AutoresearchError as error:
            return Row(lab, form, number - 1, valid, distinct, *_means(replies), str(error))
        replies.append(proposal.talk)
        whole = {**files, **proposal.files}
        new = bool(proposal.files) and fingerprint(whole) not in seen
        seen.add(fingerprint(whole))
        clean = bool(proposal.files) and not proposal.problem
        valid, distinct = valid + clean, distinct + (clean and new)
        status = "invalid" if not clean else "discard" if new else "duplicate"
        loss = abs(float(rng.normal(0, 0.001))) * value
        done.append(_experiment(number, status, value + loss if status == "discard" else None, loss, proposal, files))
    return Row(lab, form, proposals, valid, distinct, *_means(replies))


def _means(talks: list[Any]) -> tuple[float, float, float]:
    def mean(name: str) -> float:
        return float(np.mean([talk.get(name) or 0 for talk in talks])) if talks else float("nan")

    return mean("prompt_tokens"), mean("completion_tokens"), mean("think_seconds")


def _experiment(
    number: int, status: Any, value: float | None, loss: float | None, proposal: Proposal, files: dict[str, str]
) -> Experiment:
    knobs = {k: v for path, text in proposal.files.items() for k, v in changed_knobs(files[path], text).items()}
    return Experiment(
        number,
        status,
        value,
        None if value is None or loss is None else -loss,
        f"c{number}",
        "c0",
        None,
        proposal.title,
        proposal.axis,
        knobs,
        proposal.agent or "baseline",
        proposal.problem,
        "",
        "",
        measurements=(Measurement(value, 42),) if value is not None else (),
        talk=proposal.talk,
    )


def table(rows: Iterator[Row]) -> Iterator[str]:
    yield f"{'lab':<14}{'form':<20}{'valid':>9}{'distinct':>10}{'prompt':>9}{'reply':>7}{'seconds':>9}"
    for r in rows:
        counts = f"{r.valid} of {r.asked}"
        yield (
            f"{r.lab:<14}{r.form:<20}{counts:>9}{r.distinct:>10}{r.prompt_tokens:>9.0f}{r.reply_tokens:>7.0f}{r.seconds:>9.1f}"
            f"{'  ' + r.problem[:60] if r.problem else ''}"
        )


# -- a night -------------------------------------------------------------------------------------------

PROGRAM = """\
import sys, time
sys.path.insert(0, {root!r})
import numpy as np
from bench.small_models import landscape_of, values_in

time.sleep({seconds})
values = values_in(open("train_mlx.py").read())
found = landscape_of({family!r}, {seed}).measure(values, np.random.default_rng())
if found is None:
    raise SystemExit("out of memory")
print(f"METRIC val_bpb={{found:.6f}}")
"""
LAB = """\
[target]
kind = "command"
editable = ["train_mlx.py"]
run = "{python} measure.py"
metric = "val_bpb"
direction = "min"

[sandbox]
enabled = "never"

[agent]
base_url = "{url}"
model = "{model}"
"""


def landscape_of(family: str, seed: int) -> Landscape:
    return draw(next(f for f in FAMILIES if f.name == family), seed)


def values_in(text: str) -> dict[str, Any]:
    return {name: knob.value for name, knob in read_knobs(text).items()}


def night(url: str, model: str, agent: str, experiments: int, seconds: float, family: str, seed: int) -> str:
    """Run a night in a folder of its own, and return its outcome in one line."""
    with tempfile.TemporaryDirectory(prefix="small-models-") as name:
        lab = Path(name) / "lab"
        lab.mkdir()
        (lab / "train_mlx.py").write_text(TEXT)
        (lab / "measure.py").write_text(PROGRAM.format(root=str(ROOT), seconds=seconds, family=family, seed=seed))
        (lab / "lab.toml").write_text(LAB.format(url=url, model=model, python=sys.executable))
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "begin"]):
            subprocess.run(["git", "-c", "user.name=bench", "-c", "user.email=bench", *command], cwd=lab, check=True)
        began = time.monotonic()
        tool = [sys.executable, "-m", "autoresearch_mlx"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(
            [*tool, "run", "--agent", agent, "--experiments", str(experiments), "--seed", str(seed)],
            cwd=lab, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        took = time.monotonic() - began
        told = subprocess.run([*tool, "log", "--json"], cwd=lab, env=environment, capture_output=True, text=True)
        done = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
        status = subprocess.run([*tool, "status"], cwd=lab, env=environment, capture_output=True, text=True).stdout
        branch = next(line.split()[-1] for line in status.splitlines() if line.startswith("session"))
        text = subprocess.run(
            ["git", "show", f"{branch}:train_mlx.py"], cwd=lab, capture_output=True, text=True, check=True
        ).stdout
    if ran.returncode:
        return f"{agent}: exit {ran.returncode}: {ran.stderr[-300:]}"
    asked = [e for e in done if (e.get("talk") or {}).get("form")]
    lost = [e for e in done if e["number"] > 0 and e["status"] in ("invalid", "duplicate")]
    thought = sum((e.get("seconds") or {}).get("propose", 0.0) for e in asked)
    crashed = sum(e["status"] == "crash" for e in done)
    form = next((" ".join(line.split()[1:]) for line in status.splitlines() if line.startswith("form")), "no model")
    true = landscape_of(family, seed).true(values_in(text))
    return (
        f"{agent:<8}{len(done) - 1:>4} experiments in {took:>6.0f} s, {len(lost)} lost, {crashed} crashed, true value"
        f" {true:.4f}; the model: {len(asked)} answers, {100 * thought / took:.1f} % of the time; {form}"
    )


class Guesser:
    """An endpoint without a model: it draws its choices, and the values of one to three knobs, at random."""

    name = "guesser"

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def facts(self) -> ModelFacts:
        return ModelFacts(self.name, context_tokens=8192, enforces_schema=True, billions=0.1)

    def ask(self, ask: Ask) -> Reply:
        found = (ask.schema or {}).get("properties", {})
        if "choice" in found:
            answer: dict[str, Any] = {"choice": self._random.choice(found["choice"]["enum"]), "why": ""}
        elif "knobs" in found and "anyOf" in found["knobs"]["items"]:
            branches = found["knobs"]["items"]["anyOf"]
            drawn = self._random.sample(branches, min(self._random.randint(1, 3), len(branches)))
            answer = {"knobs": [self._change(branch["properties"]) for branch in drawn], "hypothesis": ""}
        else:
            answer = {}  # it writes no code
        return Reply(json.dumps(answer), "stop", self.name)

    def _change(self, properties: dict[str, Any]) -> dict[str, Any]:
        return {"name": properties["name"]["enum"][0], "value": self._random.choice(properties["value"]["enum"])}

    def release(self) -> float | None:
        return None

    def close(self) -> None:
        pass


def simulated(url: str, model: str, experiments: int, family: str, seeds: Iterable[int]) -> Iterator[str]:
    """Compare ``hybrid`` with ``knobs`` on the same landscapes, without waiting for runs; ``url`` is empty for the
    guesser."""
    ends: list[tuple[float, float]] = []
    for seed in seeds:
        landscape, office = landscape_of(family, seed), Office(AgentSettings(base_url=url, model=model), seed=seed)
        endpoint: Endpoint = open_endpoint(model, office) if url else Guesser(seed)
        optimiser, chat = load_agent("knobs", office), Recording(endpoint, office)
        alone = _simulated(optimiser, landscape, experiments, seed)
        shared = _simulated(Hybrid(chat, optimiser, office), landscape, experiments, seed)
        ends.append((alone.chosen[-1], shared.chosen[-1]))
        forms = ", ".join(f"{form} {chat.asked.count(form)}" for form in dict.fromkeys(chat.asked))
        yield (
            f"seed {seed}  knobs {ends[-1][0]:.4f}, hybrid {ends[-1][1]:.4f}; the model: {len(chat.asked)} answers"
            f" ({forms}), {chat.refused} refused, {shared.seconds / max(len(chat.asked), 1):.1f} s each"
        )
    gaps = np.array([shared - alone for alone, shared in ends])
    error = gaps.std(ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else float("nan")
    means = np.array(ends).mean(axis=0)
    worse, better = int((gaps > 0).sum()), int((gaps < 0).sum())
    yield (
        f"{family}, {len(gaps)} nights of {experiments}: knobs {means[0]:.4f}, hybrid {means[1]:.4f},"
        f" difference {gaps.mean():+.4f} ± {error:.4f}, median {np.median(gaps):+.4f} (lower is better); hybrid ends"
        f" better in {better} and worse in {worse}"
    )


def _simulated(agent: Agent, landscape: Landscape, experiments: int, seed: int) -> Night:
    return local(lambda _: agent.propose)(landscape, experiments, seed)


class Recording(Chat):
    """A chat agent that remembers the form of each of its answers, and how many were refused."""

    def __init__(self, endpoint: Endpoint, office: Office) -> None:
        super().__init__(endpoint, office, patience_seconds=0.0)
        self.asked: list[str] = []
        self.refused = 0

    def propose(self, context: Context) -> Proposal:
        found = super().propose(context)
        if found.problem or not found.files:
            self.refused += 1
        else:
            self.asked.append(str(found.talk.get("form")))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument("--url", default="", help="the server, such as http://127.0.0.1:8080/v1")
    server.add_argument("--guess", action="store_true", help="no server: draw each answer (for --night, --simulated)")
    parser.add_argument("--model", default="any")
    parser.add_argument("--proposals", type=int, default=20)
    parser.add_argument("--form", choices=FORMS, action="append")
    parser.add_argument("--lab", choices=list(LABS), action="append")
    parser.add_argument("--night", type=int, metavar="N", help="run nights of N experiments in place of the table")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of one run in a night")
    parser.add_argument("--family", choices=[f.name for f in FAMILIES], default="interacting")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--nights", type=int, default=1)
    parser.add_argument("--agent", choices=("hybrid", "knobs"), action="append")
    parser.add_argument("--simulated", action="store_true", help="take values from the landscape, without runs")
    args = parser.parse_args()
    if args.guess and not (args.night and args.simulated):
        parser.error("--guess needs --night and --simulated")
    seeds = range(args.first_seed, args.first_seed + args.nights)
    if args.night and args.simulated:
        for line in simulated(args.url, args.model, args.night, args.family, seeds):
            print(line, flush=True)
        return
    if args.night:
        for seed in seeds:
            for agent in args.agent or ("hybrid", "knobs"):
                said = night(args.url, args.model, agent, args.night, args.seconds, args.family, seed)
                print(f"seed {seed}  {said}", flush=True)
        return
    asked = (
        row(args.url, args.model, lab, form, args.proposals) for lab in args.lab or LABS for form in args.form or FORMS
    )
    for line in table(asked):
        print(line, flush=True)


if __name__ == "__main__":
    main()
