"""Anybody's log is read as it is, or refused with its file and line; nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import command_line, write_command_lab

from autoresearch_mlx.compare.imports import read_log
from autoresearch_mlx.compare.log import Log
from autoresearch_mlx.errors import TableError

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription"
ROWS = [
    "a1\t1.400000\t20.1\tkeep\tbaseline",
    "b2\t1.380000\t20.1\tkeep\thalve batch to 2^15",
    "c3\t1.390000\t20.1\tdiscard\tmatrix LR 0.04 -> 0.06",
    "d4\t0.000000\t0.0\tcrash\tdepth 4 -> 8 (OOM)",
]
UPSTREAM = [HEADER, *ROWS]


def log_of(folder: Path, lines: list[str], name: str = "results.tsv", hardware: str = "") -> Log:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_log(path, hardware)


def told(log: Log) -> list[tuple[int, str | None, float | None, str, str]]:
    return [(run.order, run.commit, run.value, run.status, run.axis) for run in log.runs]


EXPECTED = [
    (0, "a1", 1.4, "keep", "baseline"),
    (1, "b2", 1.38, "keep", "batch"),
    (2, "c3", 1.39, "discard", "lr.matrix"),
    (3, "d4", None, "crash", "depth"),
]


def test_upstreams_five_columns(tmp_path: Path) -> None:
    log = log_of(tmp_path, UPSTREAM, hardware="M3 Max")
    assert (log.name, log.source, log.metric, told(log)) == ("M3 Max", "results.tsv", "val_bpb", EXPECTED)
    assert log.runs[2].changes == {"MATRIX_LR": (0.04, 0.06)}


def test_without_a_header(tmp_path: Path) -> None:
    assert told(log_of(tmp_path, ROWS)) == EXPECTED


def test_other_orders_names_and_words(tmp_path: Path) -> None:
    lines = [
        "Status\texp\tDescription\tMetric\tpeak_vram\tSHA",
        "baseline\t0\tbaseline\t1.4\t20.1 GB\ta1",
        "KEPT\t1\thalve batch to 2^15\t1.38\t\tb2",
        "Reverted\t2\tmatrix LR 0.04 -> 0.06\t1.39\tn/a\tc3",
        "OOM\t3\tdepth 4 -> 8\t\t\td4",
    ]
    assert told(log_of(tmp_path, lines)) == EXPECTED


def test_commas_quotes_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    rows = [
        "commit,bpb,memory_gb,status,description",
        "a1,1.4,20.1,keep,baseline",
        'b2,1.38,,keep,"halve batch, to 2^15"',
    ]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    assert [run.value for run in read_log(path).runs] == [1.4, 1.38]
    assert read_log(path).runs[1].note == "halve batch, to 2^15"


def test_blank_lines_comments_and_stray_tabs_at_the_end(tmp_path: Path) -> None:
    log = log_of(tmp_path, ["# mine", HEADER, "", ROWS[0], "b2\t1.38\t20\tkeep\tmatrix LR\t0.04 -> 0.03"])
    assert log.runs[1].changes == {"MATRIX_LR": (0.04, 0.03)}


def test_what_stands_before_the_first_keep_is_left_out_and_said(tmp_path: Path) -> None:
    log = log_of(tmp_path, [HEADER, ROWS[3], *ROWS])
    assert told(log) == EXPECTED
    assert "rows before the first kept one are left out: 1" in log.caveats


def test_control_characters_of_a_stranger_stay_out_of_the_terminal(tmp_path: Path) -> None:
    log = log_of(tmp_path, [HEADER, ROWS[0], "b2\t1.38\t20\tkeep\tred \x1b[31m\x00 alert"])
    assert log.runs[1].note == "red  [31m  alert"


def test_a_run_that_changes_nothing_tells_the_noise(tmp_path: Path) -> None:
    log = log_of(tmp_path, [*UPSTREAM, "e5\t1.382\t20\tdiscard\tre-run of the same config"])
    assert log.noise.estimate and log.noise.sigma == pytest.approx(0.002 / 2**0.5)


@pytest.mark.parametrize(
    ("lines", "fact"),
    [
        ([], "no rows"),
        (["hello", "world"], "line 1: neither a header nor upstream's columns"),
        (["commit\tloss\tstatus\tdescription", "a\t1\tkeep\tx"], "line 1: no column for value"),
        (["commit\tval_bpb\tnote", "a\t1\tx"], "line 1: no column for status"),
        ([*UPSTREAM, "e5\tgood\t1\tkeep\tx"], "line 6: the value 'good' is not a number"),
        ([*UPSTREAM, "e5\t-37.8\t1\tkeep\tx"], "line 6: the value -37.8 cannot be bits per byte"),
        ([*UPSTREAM, "e5\t1.3\t1\tmaybe\tx"], "line 6: unknown status 'maybe'"),
        ([*UPSTREAM, "e5\t0.0\t1\tkeep\tx"], "line 6: kept without a value"),
        ([*UPSTREAM, "e5\t1.3\tmuch\tkeep\tx"], "line 6: the memory 'much' is not a number"),
        ([*UPSTREAM, "e5\t1.3"], "line 6: the row has 2 cells, not 5"),
        ([HEADER, ROWS[2]], "no run was kept"),
        (["<<<<<<< HEAD", *UPSTREAM], "line 1: neither a header"),
        (['{"event": "session"}'], "results.tsv, line 1"),
    ],
)
def test_what_cannot_be_understood_is_refused(tmp_path: Path, lines: list[str], fact: str) -> None:
    with pytest.raises(TableError, match=fact) as caught:
        log_of(tmp_path, lines)
    assert str(tmp_path / "results.tsv") in str(caught.value)
    assert caught.value.hint


def test_what_is_no_text_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.tsv").write_bytes(b"\xff\xd8\xff\xe0")
    for path in (tmp_path / "photo.tsv", tmp_path / "missing.tsv", tmp_path):
        with pytest.raises(TableError, match="cannot read"):
            read_log(path)


def test_a_session_of_ours_by_its_ledger_and_by_its_table(tmp_path: Path) -> None:
    lab = write_command_lab(tmp_path / "lab")
    assert command_line("run", "--tag", "t", "--experiments", "2", "--agent", "knobs", cwd=lab.root).returncode == 0
    ledger, table = (read_log(lab.folder("t") / name) for name in ("ledger.jsonl", "results.tsv"))
    assert ledger.metric == table.metric == "score"
    assert [run.value for run in ledger.runs] == pytest.approx([run.value for run in table.runs])
