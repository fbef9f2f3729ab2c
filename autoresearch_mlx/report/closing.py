"""Write the last lines of a command: the state of a session, a verdict, or a prepared corpus."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.judge.history import gained, runs_of, standing
from autoresearch_mlx.judge.waiting import waiting, waiting_in_words
from autoresearch_mlx.report.status import count_outcomes

if TYPE_CHECKING:
    from autoresearch_mlx.targets.corpus.rows import Corpus


_MOST_TIMES = 20
"""Largest gain, as a multiple of the first value, that is given in percent.  A larger gain means
that the first value is near zero."""


def closing_line(history: History, reason: str, whole_step: str = "") -> str:
    """Describe the state of the session, and say why this run ended.

    ``whole_step`` is the result for the whole training step with kernels; this text comes first if it is not empty.
    """
    first = f"whole step: {whole_step}" if whole_step else ""
    lines = [first, outcome(history), _chosen(history), waiting_in_words(waiting(history)), f"stopped: {reason}"]
    return "\n".join(line for line in lines if line)


def outcome(history: History) -> str:
    """Return one sentence with baseline, incumbent and counts, or an empty string before there is a baseline."""
    baseline, best = history.baseline, history.incumbent
    if baseline is None or best is None:
        return ""
    first, now = standing(history, baseline), standing(history, best)
    counts = count_outcomes(history.experiments)
    said = f"{terms.plural(counts.experiments, 'experiment')}: {counts.in_words()}"
    if best.number == 0:
        none = "nothing has replaced" if waiting(history) else "nothing beat"
        return f"{said}; {none} the baseline's {history.metric} {terms.value(first)}"
    if (gain := gained(history)) is None:
        apart = "the baseline was measured under other conditions and cannot be compared"
        return f"{said}; {history.metric} {terms.value(now)}, experiment {best.number}; {apart}"
    near_zero = abs(first) < abs(gain) / _MOST_TIMES  # for example, a logarithm that begins at 0
    percent = "" if near_zero or not first else f", {100 * gain / abs(first):.2f} %"
    if history.metric == terms.LOGARITHM:
        percent = f", {terms.times_as_fast(gain)}"
    way = f"{history.metric} {terms.value(first)} -> {terms.value(now)}"
    return f"{said}; {way} ({terms.gain(gain)}{percent}), experiment {best.number}"


def _chosen(history: History) -> str:
    """Return a warning if the incumbent has only the runs by which it was chosen, so that its gain may be luck."""
    best = history.incumbent
    if best is None or best.number == 0 or any(run.fresh for run in runs_of(history, best)):
        return ""
    luck = f"the gain of #{best.number} may be luck, because it comes from the runs by which #{best.number} was chosen"
    return f"{luck}; `autoresearch-mlx certify` measures #{best.number} again"


def verdict(e: Experiment, metric: str, branch: str, editable: Sequence[str]) -> str:
    """Describe the result of ``try``: status, reason, and how to get the incumbent's file back.

    ``editable`` has the files that the user edited in the checkout; it is empty if the edit did not come from the
    checkout.
    """
    files = shlex.join(editable)  # a pattern such as src/* is for git, not for the shell
    lines = [f"experiment {e.number}: {e.status}", e.reason]
    if e.value is not None:
        lines.append(f"{metric} {terms.value(e.value)}" + (f" ({terms.gain(e.gain)})" if e.gain is not None else ""))
    if e.status == "keep":
        lines.append(f"kept as commit {(e.commit or '')[:7]} on branch {branch}")
    elif files:
        lines.append(f"to get the incumbent's file back: git restore --source {branch} -- {files}")
    if e.measurements:
        lines.append(f"numbers, diff and log: autoresearch-mlx show {e.number}")
    return "\n".join(lines)


def corpus_lines(corpus: Corpus) -> str:
    """Describe the prepared corpus, and say where it is."""
    m = corpus.manifest
    megabytes = sum(m.bytes.values()) / 1e6
    rows = ", ".join(f"{m.rows[split]:,} {split}" for split in ("train", "val", "hidden"))
    text = f"{m.source}: {megabytes:,.1f} MB of text"
    return "\n".join(
        [
            f"{text}, vocabulary {m.vocab_size:,}, {m.bytes_per_token:.2f} bytes per token",
            f"rows of {m.seq_len} tokens: {rows}",
            f"in {corpus.folder}",
        ]
    )
