"""A small table of another machine's session, for the tests of the playbook."""

from __future__ import annotations

from pathlib import Path

from autoresearch_mlx.compare.reference import COLUMNS

ROWS = """\
0 baseline 1.0 keep baseline
1 a 0.9 keep batch BATCH 524288 262144
2 b 0.95 discard batch BATCH 262144 131072
3 c 0.85 keep depth DEPTH 8 9
4 d 0.83 keep lr.matrix MATRIX_LR 0.6 0.8
5 e 0.82 keep lr.matrix MATRIX_LR 0.8 0.9
6 f 0.81 keep schedule.warmdown WARMDOWN_RATIO 0.5 0.7
7 g 0.805 keep seed SEED 42 137
8 h 0.80 keep mlp
9 i 0.795 keep value VALUE_WD 0.0 0.003
"""
"""Rows with the columns order, commit, value, status, axis, knob, from and to."""


def table(folder: Path, rows: str = ROWS) -> Path:
    lines = ["# name: Elsewhere", "# source: a test", "\t".join(COLUMNS)]
    for row in rows.splitlines():
        order, commit, value, status, axis, *change = row.split()
        lines.append("\t".join([order, commit, value, "", status, axis, *(change or ["", "", ""]), "a note"]))
    path = folder / "table.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path
