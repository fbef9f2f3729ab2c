"""Run the training child from the parent, which measures the time and kills a child that exceeds its limits.

The parent serves the batches and counts them (``serving``).  ``timing`` says when the budget's time runs, and ``meter``
how much of the budget is used.  ``allowances`` limits the time outside the budget.  ``Curve`` keeps the losses.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from autoresearch_mlx.experiment import Assignment, Failure, Progress, Reference
from autoresearch_mlx.trial.allowances import (
    MOST_PARAMS,
    Spent,
    after_the_budget,
    compile_seconds,
    larger,
    start_seconds,
    step_share,
)
from autoresearch_mlx.trial.autopsy import how_it_ended
from autoresearch_mlx.trial.blame import CANDIDATE, Blame, blame
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.confined import confined, why_killed
from autoresearch_mlx.trial.curve import Curve
from autoresearch_mlx.trial.meter import meter_of
from autoresearch_mlx.trial.runner import Ended, Event, Log, python_command, run_child
from autoresearch_mlx.trial.sandbox.child_permissions import training_permissions
from autoresearch_mlx.trial.sandbox.limits import Limits, Watch
from autoresearch_mlx.trial.serving import RowServer
from autoresearch_mlx.trial.spec import (
    TRAIN_ENV,
    WEIGHTS,
    TrainSpec,
    count,
    not_plain,
    not_weights,
    shapes_of,
    write_spec,
)
from autoresearch_mlx.trial.speed.clock import ReferenceClock, RunSpeed
from autoresearch_mlx.trial.speed.probe import Probe
from autoresearch_mlx.trial.timing import MOST_STRETCH, Timing

_START_SECONDS, _START_SHARE = 30.0, 0.1
"""Time to import the script and build the model: a number of seconds, plus a share of the budget."""
_SAVE_SECONDS = 20.0
"""Time limit for saving the weights, in seconds."""
_BATCHES_UNDER_WAY = 3
"""Largest number of batches that MLX may still have to compute when the last batch is served."""

Phase = Literal["start", "compile", "train", "save"]


class Training:
    """Runs one training child, and records when each phase began and what the child reported."""

    def __init__(self, conditions: Conditions, assignment: Assignment) -> None:
        self.facts: dict[str, Any] = {}
        self.stopped: Mapping[str, Any] | None = None
        """The early stop's verdict, if there is one; if its ``audit`` is true, the run goes on, to test the verdict."""
        self._conditions = conditions
        self._assignment = assignment
        self._weights = assignment.folder / WEIGHTS
        self._phase: Phase = "start"
        self._failed: str | None = None
        self._invalid: str | None = None
        self._curve = Curve()
        self._usual = assignment.usual
        self._meter = meter_of(conditions, self._usual.tables if self._usual else None)
        self._server: RowServer | None = None
        self._watch = Watch(Limits())
        self._timing = Timing(
            start_seconds(self._usual, _START_SECONDS + _START_SHARE * self._meter.scale),
            compile_seconds(self._usual, conditions.compile_seconds),
            charged=self._meter.ends_by_clock,
            clock=self._reference_clock(),
            counting=assignment.reference is not None,
            reference=assignment.reference,
        )
        self._cut = False
        """Whether the run was ended because it had used all of the wall-clock time that it may take."""
        self._budget_end: float | None = None
        self._cpu = self._cpu_at_first = self._cpu_at_end = 0.0
        """Processor seconds of the run at the last reading, at its first batch, and at the end of its budget."""
        self._told = Progress("start")

    def run(self, log: Log) -> Ended:
        """Train in the sandbox until the child ends or is killed.  Raises OSError if the child cannot be started."""
        with RowServer(self._conditions.train_rows, self._assignment.seed, self._may_serve, self._share) as server:
            self._server = server
            return self._train(server, log)

    def _train(self, server: RowServer, log: Log) -> Ended:
        conditions, folder = self._conditions, self._assignment.folder
        timing = self._timing
        timing.look()
        timing.enter("start")
        stretch = 2 * MOST_STRETCH if timing.counts else 1.0  # the parent's clock always ends the run first
        spec = TrainSpec(
            rows=server.theirs,
            vocab_size=conditions.vocab_size,
            seq_len=conditions.seq_len,
            seed=self._assignment.seed,
            budget_seconds=stretch * conditions.budget_seconds,
            compile_seconds=stretch * timing.compile_seconds,
            launched=timing.began["start"],
            start_seconds=stretch * timing.start_seconds,
            weights=str(self._weights),
            device=conditions.device,
            steps=conditions.steps,
            memory_limit_bytes=conditions.memory_limit_bytes,
            tokens=conditions.budget_tokens,
            flops=conditions.budget_flops,
            tables=self._usual.tables if self._usual else None,
        )
        write_spec(spec, folder / "train.json")
        permissions = training_permissions(conditions, self._assignment)
        room = confined(conditions, self._assignment, python_command(conditions.script), permissions)
        self._watch = room.watch
        ended = run_child(
            room.command,
            cwd=self._assignment.tree,
            environment={**room.environment, TRAIN_ENV: str(folder / "train.json")},
            log=log,
            allowed=self._overstayed,
            on_event=self._hear,
            watch=room.watch,
            inherited=server.theirs,
            on_start=server.started,
        )
        self._count(server, ended)
        return ended

    def _count(self, server: RowServer, ended: Ended) -> None:
        """Store in ``facts`` what the parent itself has measured of the finished run."""
        self._mark_the_end(server)
        self.facts |= {"tokens": server.tokens, "refused": server.refused} if server.tokens else {}
        self.facts["held"] = self._usual is not None and self._usual.ending is not None
        began, ends = self._timing.budget_began(), self._timing.began["start"] + ended.seconds
        self._timing.ended = server.refused_at or ends
        if began is not None:
            self.facts["step_seconds"] = self._timing.rate * server.pace(began)
            late = 0.0 if self._budget_end is None else max(0.0, ends - self._budget_end)
            self.facts |= {"ending_seconds": round(late, 3)}
            if self._conditions.device == "cpu":
                self.facts |= {"ending_cpu_seconds": round(self._cpu - self._cpu_at_end, 3) if late else 0.0}
                self.facts |= {"train_cpu_seconds": round(self._cpu - self._cpu_at_first, 3)}
        with contextlib.suppress(OSError, ValueError):
            self.facts |= count(
                shapes_of(self._weights), self._conditions.vocab_size, self._usual.tables if self._usual else None
            )

    def failure(self, ended: Ended, log: Path) -> tuple[Failure, str] | None:
        """Return the status and the reason if the training failed, or None if there are weights to evaluate."""
        if self.stopped is not None and not self.stopped["audit"] and ended.killed == self.stopped["reason"]:
            return "stopped", f"{ended.killed}: stopped"
        if (killed := why_killed(ended, log)) is not None:
            return killed
        if self._invalid is not None:
            return "invalid", self._invalid
        if self._failed is not None:
            return "crash", self._failed
        if ended.returncode != 0:
            return "crash", how_it_ended(ended.returncode, log)
        if "trained" not in self._timing.began or not self._weights.exists():
            return "invalid", "the script ended without training: it must end with harness.main(build_model, train)"
        fault = self._meter.fault(self._timing.spent(), self.facts, self._weights) or self._outside_the_rules()
        return None if fault is None else ("invalid", fault)

    def blame(self, ended: Ended, log: Path) -> Blame:
        """Decide whether the candidate, the machine or the tool is to blame for the failure of the training."""
        return CANDIDATE if self._failed is not None or self._invalid is not None else blame(ended, log)

    def _outside_the_rules(self) -> str | None:
        """Return which rule about reports, saved weights or time the run broke, as a sentence, or None."""
        server, steps = self._server, self.facts.get("steps")
        assert server is not None
        if steps is not None and not 0 < steps <= server.batches:
            return f"the script reported {steps:,} steps, but {server.batches:,} batches were served"
        try:
            wrong = not_plain(self._weights) or not_weights(self._weights)
            size = self._weights.stat().st_size
        except (OSError, ValueError) as error:
            return f"the weights cannot be read: {error}"
        most = MOST_PARAMS * self._usual.num_params if self._usual and self._usual.num_params else None
        if wrong is None and most is not None and self.facts.get("num_params", 0) > most:
            wrong = f"the model has {self.facts['num_params']:,} weights, but only {most:,} are allowed: "
            wrong += f"{MOST_PARAMS} times the baseline's"
        if wrong is not None or "ending_seconds" not in self.facts or self._budget_end is None:
            return wrong
        trained = self._budget_end - self._timing.began["start"]
        pace = server.pace(self._timing.budget_began() or self._timing.began["start"])
        clock = self._meter.ends_by_clock
        most_over = step_share(self._meter.scale)
        steps_under_way = min(pace or most_over, most_over) if clock else _BATCHES_UNDER_WAY * pace
        spent = Spent(self.facts["ending_seconds"], self.facts.get("ending_cpu_seconds"))
        return after_the_budget(self._usual, spent, steps_under_way, size, self._cpu_at_end / max(trained, 0.1))

    def size(self) -> float:
        """Return the model's work divided by the baseline's; at least 1.

        The result is the larger of two ratios: of the numbers of matrix weights, and of the training times per token.
        """
        usual, ratios = self._usual, [1.0]
        if usual is None:
            return 1.0
        if usual.matrix_params and (matrix := self.facts.get("matrix_params")):
            ratios.append(matrix / usual.matrix_params)
        tokens, spent = self.facts.get("tokens"), self._timing.trained_for()
        if usual.token_seconds and tokens:
            ratios.append(spent / tokens / usual.token_seconds)
        return max(ratios)

    def operation_time(self, evaluated: Spent) -> float | None:
        """Return the time for each token and matrix weight, divided by the baseline's, or None if unknown.

        A budget of tokens, operations or steps counts a batch once, even if the script passes it through the model
        several times.  Every pass takes time, so more passes give a larger result.  The time is the processor time on a
        CPU, and the budget's time elsewhere.  Weights that are never used would lower the result, so a model counts as
        larger only as far as its evaluation took longer.
        """
        usual, facts = self._usual, self.facts
        tokens, matrix = facts.get("tokens"), facts.get("matrix_params")
        if self._meter.ends_by_clock or usual is None or not usual.matrix_params or not tokens or not matrix:
            return None
        spent, before = facts.get("train_cpu_seconds"), usual.token_cpu
        if self._conditions.device != "cpu":
            spent, before = self._timing.trained_for(), usual.token_seconds
        if not spent or not before:
            return None
        size = matrix / usual.matrix_params
        took = larger(self._usual, evaluated)
        return float(spent / tokens / before / (size if took is None else min(size, took)))

    def seconds(self, ended: Ended) -> dict[str, float | None]:
        """Return the wall-clock seconds of each phase by the phase's name; None for a phase that did not begin."""
        marks = [*(self._timing.began.get(mark) for mark in ("start", "compile", "train")), self._timing.ended]
        end = self._timing.began["start"] + ended.seconds
        spans = []
        for at, mark in enumerate(marks[:3]):
            after = next((m for m in marks[at + 1 :] if m is not None), end)
            spans.append(None if mark is None else round(max(0.0, after - mark), 3))
        return dict(zip(("start", "compile", "train"), spans, strict=True))

    def tokens_per_second(self) -> float | None:
        """Return the tokens per second after the first step, which compiles; None if there was no second batch."""
        tokens, spent = self.facts.get("tokens"), self._timing.wall_spent()
        batches = 0 if self._server is None else self._server.batches
        if not tokens or batches < 2 or spent <= 0:
            return None
        return round(float(tokens * (batches - 1) / batches / spent), 1)

    def speed(self) -> RunSpeed:
        """Return the machine's speed during the training, as far as it is known."""
        return self._timing.speed(cut=self._cut)

    def stretch(self) -> float | None:
        """Return the wall-clock time divided by the budget in seconds; None for other budgets or before the end."""
        by_clock = self._meter.ends_by_clock and "trained" in self._timing.began
        return round(self._timing.wall_spent() / self._meter.scale, 3) if by_clock else None

    def curve(self) -> tuple[tuple[float, float], ...]:
        """Return the losses of the run so far, as pairs: the share of the budget used, and the loss."""
        return self._curve.points()

    def _reference_clock(self) -> ReferenceClock | None:
        """Return the clock that measures the machine's speed, or None on a GPU, where processor time says little."""
        if self._conditions.device != "cpu":
            return None
        return ReferenceClock(self._assignment.reference or Reference(), lambda: self._watch.pids(), Probe().take)

    def _may_serve(self) -> bool:
        """Return whether the child may have another batch; the thread that serves the batches calls this method."""
        server, timing = self._server, self._timing
        if server is None or self._phase == "save":
            return False
        if (began := timing.budget_began()) is None:
            return not self._meter.ended(0.0, server.tokens, 0.0)
        self._cut = self._cut or self._out_of_wall_time()
        return not self._cut and not self._meter.ended(timing.spent(), server.tokens, timing.rate * server.pace(began))

    def _out_of_wall_time(self) -> bool:
        """Return whether a run with a budget in reference seconds has used all the wall-clock time that it may take."""
        timing, meter = self._timing, self._meter
        return timing.counts and meter.ends_by_clock and timing.wall_spent() >= MOST_STRETCH * meter.scale

    def _share(self) -> float | None:
        """Return the share of the budget used, which the script's schedules need; None if the budget is not a time."""
        return self._meter.share(self._timing.spent()) if self._meter.ends_by_clock else None

    def _mark_the_end(self, server: RowServer) -> None:
        """Store when the budget ended, by the clock or with the last batch, and the processor time until then."""
        self._cpu = max(self._cpu, self._watch.cpu_seconds())
        at = server.last
        if self._meter.ends_by_clock:
            if self._budget_end is not None:
                return
            over = self._timing.since_budget() - self._meter.scale
            at = time.monotonic() - max(over, 0.0) / self._timing.rate if over >= 0 or self._cut else None
        if at != self._budget_end:
            self._budget_end, self._cpu_at_end = at, self._cpu

    def _hear(self, event: Event) -> None:
        kind = event.get("event")
        self._look_at_the_server()
        if self._server is not None and self._server.tokens:
            event = {**event, "tokens": self._server.tokens}
        self._meter.hear(event, self._timing.spent())
        if kind == "train" and self._phase == "compile":
            self._phase = "train"
            self._timing.enter("train")
        elif kind == "trained":
            self._phase = "save"
            self._timing.enter("train")  # a run of one step ends before the clock begins
            self._timing.enter("trained")
            self.facts |= {k: _number(event, k) for k in ("steps", "loss")}
            self._draw(event)
        elif kind == "probe" and self._phase == "train" and (probe := _number(event, "product_ms")):
            self._timing.probes.append(abs(float(probe)))
        elif kind == "saved":
            self.facts |= {"peak_memory_mb": _number(event, "peak_memory_mb")}
        elif kind == "failed":
            self._failed = str(event.get("reason"))
        elif kind == "invalid":
            self._invalid = str(event.get("reason"))
        elif kind == "step" and self._phase in ("compile", "train"):
            self._draw(event)
        self._show(event)

    def _look_at_the_server(self) -> None:
        """Begin the phase ``compile``, which is the first step, after the child has asked for its first batch."""
        if self._phase == "start" and self._server is not None and self._server.first is not None:
            self._phase = "compile"
            self._timing.enter("compile", self._server.first)

    def _draw(self, event: Event) -> None:
        """Add an event's loss to the curve; the first step's loss is at share 0, before the budget's clock starts."""
        loss = _number(event, "loss")
        if loss is not None:
            self._curve.add(self._meter.share(self._timing.spent()), float(loss))
            self._ask_whether_lost()

    def _ask_whether_lost(self) -> None:
        """Ask the early stop whether the run has lost, if the early stop has given no verdict yet."""
        stop = self._assignment.stop
        if stop is not None and self.stopped is None and self._conditions.steps is None and self._phase == "train":
            by_clock = self._meter.ends_by_clock and self._server is not None
            self.stopped = stop(self._curve.points(), self._server.tokens if by_clock and self._server else None)

    def _show(self, event: Event) -> None:
        if self._phase == "save":
            return
        left, share = self._left()
        step, loss, rate = (_number(event, k) for k in ("step", "loss", "tokens_per_second"))
        self._told = Progress(self._phase, step, loss, rate, left, share)
        self._assignment.watch(self._told)

    def _still_there(self) -> None:
        """Report progress between two steps too, so that the watch can end the run at any time."""
        if self._phase == "train":
            left, share = self._left()
            self._told = replace(self._told, seconds_left=left, share=share)
        self._assignment.watch(self._told)

    def _left(self) -> tuple[float | None, float | None]:
        """Return the seconds left and the share of the budget used, both None outside the training phase."""
        spent = self._timing.spent()
        return (self._meter.left(spent), min(self._meter.share(spent), 1.0)) if self._phase == "train" else (None, None)

    def _overstayed(self) -> str | None:
        """Return the reason why the child must be killed now, as a sentence, or None if it may go on."""
        self._timing.look()
        self._look_at_the_server()
        self._still_there()
        assert self._server is not None
        self._mark_the_end(self._server)
        if self.stopped is not None and not self.stopped["audit"]:
            return str(self.stopped["reason"])
        if self._phase == "train":
            return self._meter.overstayed(self._timing.spent())
        compile_seconds, scale = self._conditions.compile_seconds, self._meter.scale
        limit, what = {
            "start": (_START_SECONDS + _START_SHARE * scale, "the script did not ask for a first batch"),
            "compile": (2 * compile_seconds + scale, "the first step did not end"),
            "save": (_SAVE_SECONDS, "the weights were not saved"),
        }[self._phase]
        since = self._timing.since("trained" if self._phase == "save" else self._phase)
        return f"{what} within {limit:.0f} s; killed" if since > limit else None


def _number(event: Event, name: str) -> Any:
    """Return the event's field ``name`` if it is a finite number, else None; the script can send anything."""
    value = event.get(name)
    return value if isinstance(value, int | float) and abs(value) < 2**63 else None  # False for NaN and infinities
