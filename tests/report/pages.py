"""Make nights of any length on a made-up Mac, written with the real ledger, for the page's tests."""

from __future__ import annotations

import json
import math
import random
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from autoresearch_mlx.experiment import Experiment, Measurement, Seconds
from autoresearch_mlx.lab.source import literal
from autoresearch_mlx.store.ledger import Ledger
from autoresearch_mlx.store.records import experiment_to, measurement_to

MACHINE = {"chip": "Apple M4 Pro", "system": "Darwin", "device": "gpu", "memory_gb": 24.0, "mlx": "0.32.2"}
SIGMA = 0.0021
CHANGES: list[tuple[str, str, tuple[Any, Any]]] = [
    ("batch", "TOTAL_BATCH_SIZE", (2**16, 2**15)),
    ("lr.matrix", "MATRIX_LR", (0.04, 0.028)),
    ("lr.embedding", "EMBEDDING_LR", (0.6, 0.83)),
    ("schedule.warmdown", "WARMDOWN_RATIO", (0.5, 0.72)),
    ("attention.window", "WINDOW_PATTERN", ("SSSL", "L")),
    ("depth", "DEPTH", (4, 5)),
    ("rope", "ROPE_BASE", (10_000, 200_000)),
    ("residual.x0", "X0_LAMBDA", (0.1, 0.05)),
    ("weight_decay.matrix", "WEIGHT_DECAY", (0.2, 0.12)),
    ("init.matrix", "INIT_SCALE", (1.0, 0.8)),
    ("muon.momentum", "MUON_RAMP_STEPS", (300, 180)),
    ("adam.betas", "ADAM_BETAS", ((0.8, 0.95), (0.85, 0.95))),
]
CODE = [
    "weight tying of embedding and head",
    "GELU instead of squared ReLU in the MLP",
    "parallel attention and MLP, one norm for both",
    "value embeddings only in the last three layers",
]
FAILURES = [
    ("crash", "ValueError: [matmul] Last dimension of first input with shape (16,256) must match second"),
    ("timeout", "no step within 60 s"),
    ("invalid", "the model looks ahead: logits before token 97 changed with it"),
    ("duplicate", "the same as experiment 3 (discard, val_bpb 2.436022): MATRIX_LR 0.04 -> 0.028"),
    ("crash", "killed by the system (signal 9): most often out of memory"),
]


BASE = "".join(f"{knob} = {literal(was)}\n" for _, knob, (was, _) in CHANGES) + "\n\ndef build_model():\n    pass\n"


def sha(number: int) -> str:
    return f"{number + 1:04d}c0ffee" * 4


def edited(text: str, knobs: Any, title: str) -> str:
    """Return the text with these knobs set, or with one more line of code."""
    for knob, (_, now) in knobs.items():
        lines = text.splitlines(keepends=True)
        text = "".join(f"{knob} = {literal(now)}\n" if line.startswith(f"{knob} =") else line for line in lines)
    return text if knobs else f"{text}    # {title}\n    layers = [norm(x) for x in layers if x < 3 && x > 0]\n"


@dataclass
class Night:
    """A night that grows experiment by experiment; the same seed gives the same night."""

    count: int
    seed: int = 7
    certify: bool = False
    hostile: str = ""
    """A string that is inserted wherever text from an agent or a log appears."""
    busy: bool = False
    """Whether the session knows the machine's speed; in such a session other programs slow the machine down now and
    then."""

    def __post_init__(self) -> None:
        self.marks: dict[str, int] = {}

    def write(self, folder: Path, root: Path | None = None) -> Path:
        """Write the session's folder; with ``root``, every experiment becomes a commit of a repository there."""
        self.random = random.Random(self.seed)
        self.folder, self.clock = folder, datetime.fromisoformat("2026-07-14T22:58:03+02:00")
        self.value, self.regime, self.kept = 2.512345, 0, 0
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"tag": folder.name, "target": "pretrain", "metric": "val_bpb", "direction": "min", "agent": "hybrid"}
        conditions = {"budget_seconds": 300.0, "source": "climbmix", "vocab_size": 8192, "seq_len": 1024}
        self.lines = [{"event": "session", **facts, "conditions": conditions}]
        self.baseline()
        for number in range(1, self.count + 1):
            self.experiment(number)
            if number % 10 == 0:
                self.repeat(number)
        if self.certify:
            self.certificate()
        if root is not None:
            self.commit_all(root)
        self.save()
        return folder

    def commit_all(self, root: Path) -> None:
        """Make one commit for each experiment, in one call of git; the ledger then names the real commits."""
        root.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "init", "--quiet", str(root)], check=True)
        texts: dict[str, str] = {}
        stream = []
        finished = [line for line in self.lines if line["event"] == "finished"]
        for mark, line in enumerate(finished, 1):
            before = texts.get(line["base"], BASE)
            text = texts[line["commit"]] = edited(before, line["knobs"], line["title"]) if line["base"] else BASE
            parent = [f"from :{self.marks[line['base']]}\n"] if line["base"] else []
            self.marks[line["commit"]] = mark
            data = text.encode()
            who = f"committer A <a@example.org> {mark} +0000"
            stream.append(f"commit refs/heads/n{mark}\nmark :{mark}\n{who}\ndata 1\nx\n".encode())
            stream += [p.encode() for p in parent]
            stream.append(b"M 644 inline train_mlx.py\ndata %d\n%b\n" % (len(data), data))
        done = ["git", "-C", str(root), "fast-import", "--quiet", f"--export-marks={root}/marks"]
        subprocess.run(done, input=b"".join(stream), check=True)
        shas = dict(line.split() for line in (root / "marks").read_text().splitlines())
        for line in finished:
            line["commit"] = shas[f":{self.marks[line['commit']]}"]
            line["base"] = shas[f":{self.marks[line['base']]}"] if line["base"] else None

    def save(self) -> None:
        """Save by the real writer, but without its sync after each line."""
        ledger = Ledger(self.folder)
        ledger.append(**self.lines[0])  # type: ignore[arg-type]
        with ledger.path.open("a", encoding="utf-8") as file:
            for line in self.lines[1:]:
                file.write(json.dumps({"schema": 1, **line}, allow_nan=False, ensure_ascii=False) + "\n")
        ledger.read()

    def baseline(self) -> None:
        runs = tuple(self.measured(0, at, self.value + self.random.gauss(0, SIGMA)) for at in range(3))
        self.value = sum(m.value or 0.0 for m in runs) / 3
        reason = f"baseline: val_bpb {self.value:.6f}"
        self.finish(0, "keep", "baseline", value=self.value, base=None, agent="", reason=reason, measurements=runs)

    def experiment(self, number: int) -> None:
        r = self.random
        if r.random() < 0.12:
            return self.failure(number)
        coded = r.random() < 0.2
        axis, knob, change = r.choice(CHANGES)
        title = r.choice(CODE) if coded else f"{knob} {change[0]} -> {change[1]}"
        fact: dict[str, Any] = {"axis": "code" if coded else axis, "knobs": {} if coded else {knob: change}}
        if r.random() < 0.06 and number > 20:
            return self.stopped(number, title, fact)
        scale = 0.03 * math.exp(-number / 40) + 0.0012
        truth = r.gauss(0.4, 1) * scale if r.random() < 0.3 else -abs(r.gauss(0.3, 1)) * scale * 3
        truth -= 0.6 if r.random() < 0.03 else 0.0
        value = self.value - truth + r.gauss(0, SIGMA)
        raw = self.value - value
        runs = [self.measured(number, 0, value)]
        if abs(raw) < 4 * SIGMA and raw > -SIGMA:
            runs.append(self.measured(number, 1, self.value - truth + r.gauss(0, SIGMA)))
        mean = sum(m.value or 0.0 for m in runs) / len(runs)
        error = SIGMA * math.sqrt(1 / len(runs) + 1 / 3)
        raw = self.value - mean
        gain = raw * 0.85
        effect = {"gain": gain, "low": gain - 1.8 * error, "high": gain + 1.8 * error, "z": gain / error,
                  "runs_candidate": len(runs), "runs_incumbent": 3, "error": error, "raw": raw}  # fmt: skip
        keep = gain > 1.5 * error
        words = f"{'gain' if gain > 0 else 'loss'} {abs(gain):.4f} +- {error:.4f} ({abs(gain / error):.1f} sigma)"
        self.finish(number, "keep" if keep else "discard", title, value=mean, gain=gain, effect=effect,
                    reason=f"{words}: {'keep' if keep else 'discard'}", measurements=tuple(runs), **fact)  # fmt: skip
        if keep:
            self.value, self.kept = mean, number

    def stopped(self, number: int, title: str, fact: dict[str, Any]) -> None:
        reason = "loss 5.1% above the incumbent's at 62% of the budget"
        stop = {"reason": reason, "share": 0.62, "audit": False, "gap": 0.051}
        run = Measurement(None, 42, "stopped", reason, Seconds(1.1, 2.0, 186.0), machine=self.machine(),
                          log=f"runs/{number:04d}-1/log.txt", extra={"stop": stop})  # fmt: skip
        self.finish(number, "discard", title, reason=reason, measurements=(run,), **fact)

    def failure(self, number: int) -> None:
        status, reason = self.random.choice(FAILURES)
        log = f"runs/{number:04d}-1/log.txt"
        run = Measurement(None, 42, status, reason, Seconds(1.1, 0.4), machine=self.machine(), log=log)  # type: ignore[arg-type]
        runs = () if status == "duplicate" else (run,)
        self.finish(number, status, self.random.choice(CODE), reason=reason, measurements=runs, axis="code")
        if runs:
            self.log(number, f"step 0 loss 9.01\nTraceback (most recent call last):\n{reason}\n")

    def measured(self, number: int, at: int, value: float) -> Measurement:
        self.clock += timedelta(seconds=326)
        speed = 94_000 - 3_500 * math.sin(number / 17) + self.random.gauss(0, 400)
        curve = tuple((round(i / 20, 2), round(9 * math.exp(-i / 5) + value, 4)) for i in range(1, 21))
        self.log(number, "".join(f"step {i} loss {loss:.4f} {self.hostile}\n" for i, (_, loss) in enumerate(curve)))
        return Measurement(
            value=value, seed=42 + at, seconds=Seconds(1.1, 2.2, 300.0, 18.4), steps=1740,
            tokens=int(speed * 300), tokens_per_second=speed, peak_memory_mb=9_210.4 + 40 * (number % 7),
            machine=self.machine(), log=f"runs/{number:04d}-1/log.txt", curve=curve, regime=self.regime,
            extra={"loss": value * 1.1, "num_params": 11_534_336}, **self.slowness(number),
        )  # fmt: skip

    def slowness(self, number: int) -> dict[str, Any]:
        if not self.busy:
            return {}
        slow = number % 7 in (3, 4)
        by = f"other programs took 34 % of the processor: Spotlight, python{self.hostile}"
        return {"speed": 0.66 if slow else 0.99, "stretch": 1.5 if slow else 1.01, "disturbed_by": by if slow else ""}

    def machine(self) -> dict[str, Any]:
        return {**MACHINE, "temperature_c": round(58 + 14 * (1 - math.exp(-self.clock.hour / 4)), 1)}

    def log(self, number: int, text: str) -> None:
        path = self.folder / "runs" / f"{number:04d}-1" / "log.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def repeat(self, number: int) -> None:
        moved = 0.012 * self.regime
        taken = [self.measured(self.kept, 3, self.value + moved + self.random.gauss(0, SIGMA))]
        if number == 70:
            self.regime = 1
            again = [self.measured(self.kept, 3, self.value + 0.012) for _ in range(2)]
            taken += again
        for m in taken:
            self.lines.append(
                {"event": "repeated", "number": self.kept, "during": number, "measurement": measurement_to(m)}
            )
        if number == 70:
            self.lines.append({"event": "epoch", "epoch": 1, "takes": 2, "reason": "beyond 3 sigma", "time": ""})

    def certificate(self) -> None:
        found = {"effect": 0.0812, "low": 0.0774, "high": 0.085, "probability_better": 0.9998, "pairs": 4,
                 "certified": True, "before": 0, "head": self.kept, "split": "hidden", "runs": 8,
                 "time": "2026-07-15T08:02:11+02:00", "words": "better by 0.0812"}  # fmt: skip
        self.lines.append({"event": "certified", **found})

    def finish(self, number: int, status: Any, title: str, **fields: Any) -> None:
        asked = number % 3 == 0 and number > 0
        talk = {"agent": "ollama:qwen3-coder:30b", "think_seconds": 21.4, "load_seconds": 3.1, "calls": 1}
        started = self.clock - timedelta(seconds=326 * len(fields["measurements"]))
        self.clock += timedelta(seconds=4)
        given = {
            "value": None, "gain": None, "commit": sha(number), "base": sha(self.kept),
            "ref": f"refs/autoresearch/{self.folder.name}/{number}", "axis": None, "knobs": {},
            "agent": "ollama:qwen3-coder:30b" if asked else "knobs", "talk": talk if asked else {},
            "seconds": {"propose": 27.0 if asked else 0.3, "commit": 0.1, "measure": 322.0, "settle": 0.2},
            "rationale": f"A shorter run wants a smaller step. {self.hostile}" if number else "",
            "started": started.isoformat(), "finished": self.clock.isoformat(),
        }  # fmt: skip
        fields["reason"] = f"{fields['reason']}{self.hostile}"
        if self.hostile and fields.get("axis"):
            fields["axis"] = f"{fields['axis']}{self.hostile}"
        e = Experiment(number=number, status=status, title=f"{title}{self.hostile}", **{**given, **fields})
        self.lines.append({"event": "finished", **experiment_to(e)})
