"""Decide what to do when the machine ends a candidate's runs again and again.

A run that the machine ended does not count and is repeated.  After three such runs in a row there are two explanations:
the machine does not work, or the file makes the machine fail (or prints what a failing machine prints).  One run of the
incumbent shows which explanation is right.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch_mlx.experiment import History, Measurement, Verdict
from autoresearch_mlx.judge.evidence import Again, Decision

FAULTS_IN_A_ROW = 3
"""Number of runs in a row that the machine may end before the incumbent is run to see whether the machine works."""
_PARTIES = ("machine", "tool")


def fault_of(measured: Measurement) -> str | None:
    """Return how the machine or the tool ended this run, as text, or None if neither ended it."""
    if measured.extra.get("fault") not in _PARTIES:
        return None
    return str(measured.extra.get("tainted") or measured.reason)


def fault_with_step(measured: Measurement) -> str:
    """Return the text of :func:`fault_of`, followed by what the user can do about it."""
    step = measured.extra.get("next_step")
    return f"{fault_of(measured)}; {step}" if step else f"{fault_of(measured)}"


def faults_at_the_end(measurements: Sequence[Measurement]) -> int:
    """Return how many of the newest runs in a row were ended by the machine."""
    count = 0
    for measured in reversed(measurements):
        if fault_of(measured) is None:
            break
        count += 1
    return count


def decide_faults(history: History, measurements: Sequence[Measurement], tried: bool) -> Decision | None:
    """Return what to do after the machine has ended three runs in a row, or None while there are fewer such runs.

    ``tried`` is True if the incumbent was measured after these runs; the incumbent's run is then the newest repeat in
    the history.  The decision's reason does not say how the machine ended the runs, because the loop adds that.
    """
    if (count := faults_at_the_end(measurements)) < FAULTS_IN_A_ROW:
        return None
    if history.incumbent is None:
        step = measurements[-1].extra.get("next_step")
        return Verdict("invalid", f"the machine ended {count} runs in a row" + (f": {step}" if step else ""))
    if not tried:
        return Again(
            f"the machine ended {count} runs in a row, so the incumbent is run as a test", "incumbent", trial=True
        )
    works = bool(history.repeats) and fault_of(history.repeats[-1].measurement) is None
    if works:
        said = f"{count} runs in a row ended with an error that is most often the machine's, and the incumbent then ran"
        return Verdict("invalid", f"{said}, so this file counts as the cause")
    return Verdict("interrupted", f"the machine ended {count} runs in a row, and the incumbent's run too")


def confirmed(decision: Decision, history: History, measurements: Sequence[Measurement]) -> Decision:
    """Return the decision, or ask for one more run if a keep rests on one run and the machine ended the candidate's
    other runs.

    Without the repeat, a file could imitate the machine's errors whenever its run goes badly, and would be judged by
    its best run.
    """
    kept = isinstance(decision, Verdict) and decision.status == "keep"
    ended = sum(fault_of(m) is not None for m in measurements)
    whole = sum(not m.tainted and m.value is not None for m in measurements)
    if not kept or not ended or whole > 1 or history.incumbent is None:
        return decision
    runs = "run was" if ended == 1 else "runs were"
    return Again(f"{ended} {runs} ended by the machine, so the run that counts is repeated")
