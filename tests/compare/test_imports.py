"""A log of anybody is read unchanged, or refused with its file and line; nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import command_line, git, write_command_lab

from autoresearch_mlx.compare.imports import read_log
from autoresearch_mlx.compare.log import Log
from autoresearch_mlx.errors import TableError

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription"
ROWS = [
    "a1b2c31\t1.400000\t20.1\tkeep\tbaseline",
    "b2c3d42\t1.380000\t20.1\tkeep\thalve batch to 2^15",
    "c3d4e53\t1.390000\t20.1\tdiscard\tmatrix LR 0.04 -> 0.06",
    "d4e5f64\t0.000000\t0.0\tcrash\tdepth 4 -> 8 (OOM)",
]
UPSTREAM = [HEADER, *ROWS]
SCORE = "commit\tscore\tstatus\tdescription"


def log_of(folder: Path, lines: list[str], name: str = "results.tsv", hardware: str = "") -> Log:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_log(path, hardware)


def told(log: Log) -> list[tuple[int, str | None, float | None, str, str]]:
    return [(run.order, run.commit, run.value, run.status, run.axis) for run in log.runs]


EXPECTED = [
    (0, "a1b2c31", 1.4, "keep", "baseline"),
    (1, "b2c3d42", 1.38, "keep", "batch"),
    (2, "c3d4e53", 1.39, "discard", "lr.matrix"),
    (3, "d4e5f64", None, "crash", "depth"),
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
        "baseline\t0\tbaseline\t1.4\t20.1 GB\ta1b2c31",
        "KEPT\t1\thalve batch to 2^15\t1.38\t\tb2c3d42",
        "Reverted\t2\tmatrix LR 0.04 -> 0.06\t1.39\tn/a\tc3d4e53",
        "OOM\t3\tdepth 4 -> 8\t\t\td4e5f64",
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
    assert "rows before the first kept row are left out: 1" in log.caveats


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
        (["hello", "world"], "line 1: this is neither a header nor a row with upstream's columns"),
        (["commit\tloss\tstatus\tdescription", "a\t1\tkeep\tx"], "line 1: no column for value"),
        (["commit\tval_bpb\tnote", "a\t1\tx"], "line 1: no column for status"),
        ([*UPSTREAM, "e5\tgood\t1\tkeep\tx"], "line 6: the value 'good' is not a number"),
        ([*UPSTREAM, "e5\t-37.8\t1\tkeep\tx"], "line 6: the value -37.8 cannot be bits per byte"),
        ([*UPSTREAM, "e5\t0.0\t1\tkeep\tx"], "line 6: the run was kept, but has no value"),
        ([*UPSTREAM, "e5\t1.3\tmuch\tkeep\tx"], "line 6: the memory 'much' is not a number"),
        ([*UPSTREAM, "e5\t1.3"], "line 6: the row has 2 cells, not 5"),
        ([HEADER, ROWS[2]], "no run was kept"),
        ([HEADER, "a\t1.3\t1\tmaybe\tx"], "no run was kept.*1 row with an unknown status left out: maybe"),
        (["1\t1.4\t20\tkeep\tbaseline"], "line 1: the table has no header"),
        (["a1b2c31\t93.5\t20\tkeep\tbaseline"], "line 1: the table has no header"),
        (["a1b2c31\t0.93\t20\tkeep\tx", "b1b2c31\t0.95\t20\tkeep\tdepth 4 -> 5"], "its kept values rise"),
        ([*ROWS, "depth 4 -> 5\t1.3\t20\tkeep\tx"], "line 5: the table has no header"),
        (["commit\tms\tstatus\tdescription", "a\t1\tkeep\tx"], "line 1: no column for value"),
        (["commit\tmetric\tstatus\tdescription", "a\t3 ms\tkeep\tx", "b\t2 s\tkeep\tx"], "line 3: .*different unit"),
        (
            [SCORE, "a\t3\tkeep\tx", "b\t4\tkeep\tx", "c\t3.5\tkeep\tx"],
            "the table does not show whether lower or higher score is better",
        ),
        ([SCORE, "a\t0.5\tkeep\tx", "b\t0.4\tdiscard\ty"], "score is better: no kept row differs"),
        ([SCORE, "a\t3,4567\tkeep\tx"], "line 2: the value '3,4567' is not a number"),
        (["<<<<<<< HEAD", *UPSTREAM], "line 1: this is neither a header"),
        (['{"event": "session"}'], "results.tsv, line 1"),
    ],
)
def test_what_cannot_be_understood_is_refused(tmp_path: Path, lines: list[str], fact: str) -> None:
    with pytest.raises(TableError, match=fact) as caught:
        log_of(tmp_path, lines)
    assert str(tmp_path / "results.tsv") in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path: Path, mark: str, end: str) -> None:
    for name, between in (("r.tsv", "\t"), ("r.csv", ",")):
        path = tmp_path / name
        path.write_bytes((mark + end.join(UPSTREAM).replace("\t", between) + end).encode())
        assert told(read_log(path)) == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_table_that_a_windows_program_saved_is_read(tmp_path: Path, encoding: str) -> None:
    (path := tmp_path / "r.tsv").write_text("\r\n".join(UPSTREAM).replace("val_bpb", "val-bpb"), encoding=encoding)
    assert told(read_log(path)) == EXPECTED


def test_a_table_with_other_separators_is_refused_with_those_that_are_read(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="found 1 cell") as caught:
        log_of(tmp_path, [line.replace("\t", ";") for line in UPSTREAM])
    assert caught.value.hint == "separate the cells by tabs or commas"


def test_what_is_no_text_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.tsv").write_bytes(b"\xff\xd8\xff\xe0")
    for path in (tmp_path / "photo.tsv", tmp_path / "missing.tsv", tmp_path):
        with pytest.raises(TableError, match="cannot read"):
            read_log(path)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("keep (reworked)", "keep"),
        ("KEEP: simpler", "keep"),
        ("discard (noise)", "discard"),
        ("Discard - too slow", "discard"),
        ("CRASH (OOM)", "crash"),
        ("metric-error", "crash"),
        ("checks_failed", "crash"),
    ],
)
def test_the_word_before_a_remark_is_the_status(tmp_path: Path, word: str, status: str) -> None:
    log = log_of(tmp_path, [*UPSTREAM, f"e5\t1.3\t20\t{word}\tdepth 4 -> 5"])
    assert log.runs[-1].status == status
    assert not any("left out" in text for text in log.caveats)


@pytest.mark.parametrize(
    "word", ["no-op", "hook-blocked", "tentative", "", "keep (later reverted)", "keep -> discard", "ok?"]
)
def test_a_row_whose_status_is_not_known_is_left_out_and_counted(tmp_path: Path, word: str) -> None:
    log = log_of(tmp_path, [*UPSTREAM, f"e5\tFAILED\tx\t{word}\tdepth 4 -> 5", f"f6\t1.3\t20\t{word}\tx"])
    assert told(log) == EXPECTED
    assert f"2 rows with an unknown status left out: {word or 'none'} (2)" in log.caveats[1]


@pytest.mark.parametrize(
    ("lines", "metric", "direction"),
    [
        (["# metric_direction: higher_is_better", SCORE, "a\t80%\tbaseline\tx", "b\t85.5%\tkeep\ty"], "score", "max"),
        (["# lower is better", SCORE, "a\t900 ms\tkeep\tx", "b\t950 ms\tkeep\ty"], "score", "min"),
        ([SCORE, "a\t900\tkeep\tx", "b\t950\tdiscard\ty", "c\t870\tkeep\tz"], "score", "min"),
        ([SCORE, "a\t0.0\tkeep\tx", "b\t-0.4\tdiscard\ty", "c\t0.7\tkeep\tz"], "score", "max"),
        (["commit,value,status,description", "a,1e-9,keep,x", "b,2.5e-10,keep,y"], "value", "min"),
    ],
)
def test_a_column_that_names_no_metric_is_not_taken_for_bits_per_byte(
    tmp_path: Path, lines: list[str], metric: str, direction: str
) -> None:
    log = log_of(tmp_path, lines)
    assert (log.metric, log.direction) == (metric, direction)
    assert log.runs[0].value is not None
    assert f"the column is called {metric}" in log.caveats[-1]


def test_metric_and_direction_may_be_said(tmp_path: Path) -> None:
    (path := tmp_path / "r.tsv").write_text("commit\tacc\tmetric\tstatus\tdescription\na\t0.8\t1.3\tkeep\tx\n")
    log = read_log(path, metric="acc", direction="max")
    assert (log.metric, log.direction, log.runs[0].value) == ("acc", "max", 0.8)
    assert read_log(path, metric="val_bpb").metric == "val_bpb"
    with pytest.raises(TableError, match="no column loss; the header has commit, acc"):
        read_log(path, metric="loss")


def test_a_second_baseline_begins_anew(tmp_path: Path) -> None:
    rows = [
        *UPSTREAM,
        "e5\t2.0\t20\tkeep\tnew baseline (twice the data)",
        "f6\t1.9\t20\tkeep\tmatrix LR to 0.06",
        "g7\t2.1\t20\tdiscard\tbaseline rerun",
        "h8\t1.8\t20\tkeep\tdepth 4 -> 5",
    ]
    log = log_of(tmp_path, rows)
    assert [run.order for run in log.runs if run.opens] == [0, 4]
    assert {e.run.order: round(e.gain, 9) for e in log.effects if e.gain is not None} == {
        1: 0.02,
        2: -0.01,
        5: 0.1,
        7: 0.1,
    }
    assert log.runs[5].changes == {"MATRIX_LR": (None, 0.06)}
    assert log.ends == (2.0, 1.8)
    assert "a new baseline begins at run 4" in log.caveats[-1]


@pytest.mark.parametrize(
    ("status", "description"),
    [
        ("new baseline", "after the merge"),
        ("re-baseline", "twice the data"),
        ("keep", "reset to baseline"),
        ("keep", "[baseline] M3 Max"),
        ("keep", "clean baseline"),
        ("keep", "Baseline M4 Max"),
    ],
)
def test_a_second_baseline_has_many_names(tmp_path: Path, status: str, description: str) -> None:
    log = log_of(tmp_path, [*UPSTREAM, f"e5\t2.0\t20\t{status}\t{description}", "f6\t1.9\t20\tkeep\tdepth 4 -> 5"])
    assert [run.order for run in log.runs if run.opens] == [0, 4]
    assert [round(e.gain, 9) for e in log.effects if e.gain is not None and e.run.order > 3] == [0.1]


@pytest.mark.parametrize("description", ["better than baseline", "tune lr from baseline", "baseline + depth 5"])
def test_a_line_that_only_names_the_baseline_begins_nothing(tmp_path: Path, description: str) -> None:
    log = log_of(tmp_path, [*UPSTREAM, f"e5\t1.3\t20\tkeep\t{description}"])
    assert [run.order for run in log.runs if run.opens] == [0]


def test_a_repeated_baseline_says_nothing_about_the_incumbent(tmp_path: Path) -> None:
    log = log_of(tmp_path, [*UPSTREAM, "e5\t1.41\t20\tdiscard\tre-run of baseline (noise check)"])
    assert (log.runs[-1].axis, log.runs[-1].comparable, log.noise.sigma) == ("baseline", False, None)


def test_a_session_of_ours_by_its_ledger_and_by_its_table(tmp_path: Path) -> None:
    lab = write_command_lab(tmp_path / "lab")
    assert command_line("run", "--tag", "t", "--experiments", "2", "--agent", "knobs", cwd=lab.root).returncode == 0
    ledger, table = (read_log(lab.folder("t") / name) for name in ("ledger.jsonl", "results.tsv"))
    assert ledger.metric == table.metric == "score"
    assert [run.value for run in ledger.runs] == pytest.approx([run.value for run in table.runs])


@pytest.mark.slow
def test_a_table_of_ours_carries_its_direction(tmp_path: Path) -> None:
    lab = write_command_lab(tmp_path / "lab")
    settings = lab.root / "lab.toml"
    settings.write_text(settings.read_text().replace('metric = "score"', 'metric = "status"\ndirection = "max"'))
    (lab.root / "bench.py").write_text("from solver import X\nprint(f'METRIC status={900 + 100 * X}')\n")
    git(lab.root, "commit", "-qam", "maximise")
    assert command_line("run", "--tag", "t", "--experiments", "3", "--agent", "knobs", cwd=lab.root).returncode == 0
    table = lab.folder("t") / "results.tsv"
    log = read_log(table)
    assert (log.metric, log.direction) == ("status", "max")
    assert log.runs[0].value is not None and log.runs[0].value >= 900
    # This ledger is from before the column existed; the gains show the value.
    lines = [line.rpartition("\t")[0] for line in table.read_text().splitlines()]
    assert log_of(tmp_path, lines, "old.tsv").direction == "max"
