"""Write the table ``results.tsv``, a view of the ledger that notebooks for karpathy/autoresearch can read."""

from __future__ import annotations

from pathlib import Path

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Experiment, History
from autoresearch_mlx.lab.lab import write_whole
from autoresearch_mlx.lab.source import describe

RESULTS = "results.tsv"


def write_results(folder: Path, history: History) -> None:
    """Rewrite ``results.tsv``: first the five columns of karpathy/autoresearch, then seven columns of this project.

    A failure is written as upstream writes a crash (0.000000, 0.0, crash), so that existing notebooks read the file;
    the sixth column has the status as in the ledger.
    """
    metric = history.metric
    lines = [f"commit\t{metric}\tmemory_gb\tstatus\tdescription\tverdict\tnumber\tgain\taxis\tknobs\tagent\tdirection"]
    lines += ["\t".join([*_row(e), history.direction]) for e in history.experiments]
    write_whole(folder / RESULTS, "\n".join(lines) + "\n")


_UPSTREAM = {"conflict": "discard", "limit": "discard"}
"""Words in the fourth column for statuses that upstream does not have.  An experiment with such a status may have a
value."""


def _row(e: Experiment) -> list[str]:
    memory = max((m.peak_memory_mb for m in e.measurements if m.peak_memory_mb is not None), default=0.0)
    if e.value is None:
        value, gigabytes, status = "0.000000", "0.0", "crash"
    else:
        value, gigabytes = _decimals(e.value, terms.HIDDEN_VALUE), f"{memory / 1024:.1f}"
        status = _UPSTREAM.get(e.status, e.status)
    gain = "" if e.gain is None else _decimals(e.gain, terms.HIDDEN_AMOUNT)
    words = [(e.commit or "")[:7], value, gigabytes, status, e.title, e.status, str(e.number), gain]
    # A cell must not have a tab, line end, control code or double quote, because programs that read tables take a quote
    # for the start of a string.
    return [terms.one_line(word).replace('"', "'") for word in [*words, e.axis or "", describe(e.knobs), e.agent]]


def _decimals(number: float, hidden: float) -> str:
    """Format a number with six decimals, as upstream does, or a very small number with six significant digits."""
    return f"{number:.6g}" if 0 < abs(number) < hidden else f"{number + 0.0:.6f}"  # never -0.000000
