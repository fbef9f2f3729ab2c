"""Fit landscapes to real runs: ``python -m bench.fitted`` prints how well each landscape predicts held-out rows.

The table ``h200`` has 10,325 five-minute runs of karpathy/autoresearch's train.py on an H200 with different values of
14 knobs, published with arXiv:2603.24647 (``data/h200_trials.tsv.gz``).  The table ``cpu`` has runs of this
repository's train_mlx.py, made by ``bench/cpu_trials.py`` (``data/cpu_trials.tsv``).  A forest predicts the value of a
configuration, a second one its memory, and a third one whether it fails.  A landscape never returns a measured row
itself, so the noise in the rows is averaged out.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.forest import Forest, fit
from bench.knob_file import KnobFile, Row

DATA = Path(__file__).resolve().parent.parent / "data"
Values = Mapping[str, Any]

H200_KNOBS = KnobFile(
    (
        Row("DEPTH", "int", 4, 24, 8),
        Row("ASPECT_RATIO", "int", 32, 128, 64),
        Row("HEAD_DIM", "pow2", 64, 256, 128),
        Row("WINDOW_PATTERN", "choice", 0, 0, "SSSL", ("SSSL", "SLSL", "LLLL", "SSLL", "LSSL", "SSSS")),
        Row("TOTAL_BATCH_SIZE", "pow2", 2**16, 2**21, 2**19),
        Row("DEVICE_BATCH_SIZE", "pow2", 32, 256, 128),
        Row("EMBEDDING_LR", "log", 0.01, 2, 0.6),
        Row("UNEMBEDDING_LR", "log", 0.0005, 0.05, 0.004),
        Row("MATRIX_LR", "log", 0.005, 0.2, 0.04),
        Row("SCALAR_LR", "log", 0.05, 2, 0.5),
        Row("WEIGHT_DECAY", "lin", 0, 0.5, 0.2),
        Row("WARMUP_RATIO", "lin", 0, 0.3, 0.0),
        Row("WARMDOWN_RATIO", "lin", 0.1, 0.8, 0.5),
        Row("FINAL_LR_FRAC", "lin", 0, 0.2, 0.0),
    )
)


@dataclass(frozen=True, slots=True)
class Table:
    """Measured configurations, with val_bpb and memory in MB; both are NaN for a run that failed."""

    knobs: KnobFile
    rows: NDArray[np.float64]
    """Features of each run, as :func:`features` returns them; shape (runs, features)."""
    values: NDArray[np.float64]
    memory_mb: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A landscape made of real runs.

    ``true`` is hidden from every search; ``measure`` gives what a run would report.
    """

    knobs: KnobFile
    sigma: float
    value: Forest
    memory: Forest
    failing: Forest
    row_tokens: int = 0
    """Number of tokens in one row of a device batch, or 0 if a batch may be smaller than one pass."""

    def true(self, values: Values) -> float | None:
        """Return the value without noise, in bits per byte, or None if the run would fail."""
        if values["TOTAL_BATCH_SIZE"] < self.row_tokens * values["DEVICE_BATCH_SIZE"]:
            return None
        row = features(self.knobs, values)
        return None if self.failing.predict(row) > 0.5 else self.value.predict(row)

    def measure(self, values: Values, rng: np.random.Generator) -> float | None:
        value, shock = self.true(values), rng.normal()
        return None if value is None else value + self.sigma * shock

    def memory_mb(self, values: Values) -> float:
        """Return the peak memory of a run, in MB."""
        return float(np.exp(self.memory.predict(features(self.knobs, values))))


def features(knobs: KnobFile, values: Values) -> NDArray[np.float64]:
    """Return a configuration as numbers: logarithms of sizes and rates, shares as they are, 0 or 1 for each option."""
    found: list[float] = []
    for row in knobs.rows:
        value = values[row.name]
        if row.kind == "choice":
            found += [float(value == option) for option in row.choices]
        else:
            found.append(float(np.log(value)) if row.kind in ("log", "pow2") or row.low > 1 else float(value))
    return np.array(found)


def read(path: Path, knobs: KnobFile, study: str | None = None) -> Table:
    """Read a table of runs: one column for each knob, ``val_bpb``, ``memory_gb`` and ``status``.

    Only rows with ``study`` in the column ``seed`` are read, or all rows if ``study`` is None.
    """
    packed = path.read_bytes()
    text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    runs = list(csv.DictReader(io.StringIO("\n".join(lines)), delimiter="\t"))
    runs = [run for run in runs if study is None or run["seed"] == study]
    done = [run["status"] == "ok" for run in runs]
    return Table(
        knobs,
        np.array([features(knobs, _values(knobs, run)) for run in runs]),
        np.array([float(run["val_bpb"]) if ok else np.nan for run, ok in zip(runs, done, strict=True)]),
        np.array([1000 * float(run["memory_gb"]) if ok else np.nan for run, ok in zip(runs, done, strict=True)]),
    )


def _values(knobs: KnobFile, run: Mapping[str, str]) -> dict[str, Any]:
    return {
        row.name: run[row.name] if row.kind == "choice" and isinstance(row.start, str) else float(run[row.name])
        for row in knobs.rows
    }


def landscape(table: Table, sigma: float | None, row_tokens: int = 0) -> Fitted:
    """Fit the three forests to all rows.

    ``sigma`` is the noise that ``measure`` adds, in bits per byte.  If ``sigma`` is None, the noise is the standard
    deviation of the table's runs of the first configuration.
    """
    done = ~np.isnan(table.values)
    return Fitted(
        table.knobs,
        _deviation_at_start(table) if sigma is None else sigma,
        fit(table.rows[done], table.values[done]),
        fit(table.rows[done], np.log(table.memory_mb[done])),
        fit(table.rows, (~done).astype(float)),
        row_tokens,
    )


CPU_KNOBS = KnobFile(
    (
        Row("DEPTH", "int", 1, 6, 2),
        Row("ASPECT_RATIO", "lin", 32, 128, 64),
        Row("HEAD_DIM", "choice", 0, 0, 128, (32, 64, 128)),
        Row("MLP_RATIO", "lin", 2, 6, 4.0),
        Row("TOTAL_BATCH_SIZE", "pow2", 2**10, 2**14, 2**11),
        Row("DEVICE_BATCH_SIZE", "pow2", 1, 32, 8),
        Row("EMBEDDING_LR", "log", 0.05, 3, 0.6),
        Row("UNEMBEDDING_LR", "log", 0.0005, 0.05, 0.012),
        Row("MATRIX_LR", "log", 0.004, 0.2, 0.04),
        Row("SCALAR_LR", "log", 0.05, 2, 0.5),
        Row("WARMDOWN_RATIO", "lin", 0.1, 1, 0.5),
        Row("FINAL_LR_FRAC", "lin", 0, 0.3, 0.0),
        Row("WEIGHT_DECAY", "lin", 0, 0.8, 0.2),
        Row("MUON_MOMENTUM", "lin", 0.85, 0.98, 0.95),
        Row("EMBEDDING_INIT_STD", "log", 0.1, 3, 1.0),
        Row("X0_LAMBDA", "lin", 0, 0.4, 0.1),
    )
)


def _deviation_at_start(table: Table) -> float:
    same = np.all(table.rows == features(table.knobs, table.knobs.start), axis=1) & ~np.isnan(table.values)
    return float(table.values[same].std(ddof=1))


@dataclass(frozen=True, slots=True)
class Source:
    """A table of runs in ``data/`` and its knob file; the other fields are arguments of :func:`landscape`."""

    file: str
    knobs: KnobFile
    sigma: float | None
    row_tokens: int = 0


# Upstream's train.py stops when TOTAL_BATCH_SIZE is less than one pass of DEVICE_BATCH_SIZE rows of 2048 tokens.  The
# study tried no such pair, so a forest fitted to it cannot learn this rule.  Sigma is from 27 jobs that ran one file.
TABLES = {
    "h200": Source("h200_trials.tsv.gz", H200_KNOBS, 0.0005, 2048),
    "cpu": Source("cpu_trials.tsv", CPU_KNOBS, None),
}


def there(name: str) -> bool:
    """Return whether the table of a landscape has been made."""
    return (DATA / TABLES[name].file).exists()


@cache
def table_named(name: str, path: Path | None = None, study: str | None = None) -> Fitted:
    """Fit the landscape of this name to its table, or to another table of the same form."""
    source = TABLES[name]
    return landscape(read(path or DATA / source.file, source.knobs, study), source.sigma, source.row_tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landscape", choices=list(TABLES), default="h200")
    parser.add_argument("--table", type=Path, help="another table of the same form")
    args = parser.parse_args()
    source = TABLES[args.landscape]
    table = read(args.table or DATA / source.file, source.knobs)
    held = np.random.default_rng(0).random(len(table.rows)) < 0.2
    kept = landscape(_part(table, ~held), source.sigma)
    done, failed = held & ~np.isnan(table.values), held & np.isnan(table.values)
    print(f"{len(table.rows)} runs, {int(np.isnan(table.values).sum())} failed; a fifth is held out of the fit")
    for name, forest, wanted in (("value", kept.value, table.values), ("memory", kept.memory, table.memory_mb)):
        found = [forest.predict(row) for row in table.rows[done]]
        print(f"{name}: rank correlation {rank_correlation(np.array(found), wanted[done]):.3f} on held-out runs")
    for name, rows, right in (("failed", failed, True), ("ran", done, False)):
        if rows.any():
            share = np.mean([(kept.failing.predict(row) > 0.5) is right for row in table.rows[rows]])
            print(f"{name}: {share:.1%} of {int(rows.sum())} predicted correctly")


def _part(table: Table, chosen: NDArray[np.bool_]) -> Table:
    return Table(table.knobs, table.rows[chosen], table.values[chosen], table.memory_mb[chosen])


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation; equal values are ranked in their order."""
    first, second = (np.argsort(np.argsort(values, kind="stable")) for values in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


if __name__ == "__main__":
    main()
