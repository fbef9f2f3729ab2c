"""A reference table is read strictly: an error names the file and line of whatever does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_mlx.compare.reference import COLUMNS, ORIGIN, ReferenceRun, read_reference, read_references
from autoresearch_mlx.errors import TableError

HEAD = ["# name: B200", "# source: https://example.org/log", "\t".join(COLUMNS)]
BASELINE = "0\taaaaaaa\t0.9500\t40.0\tkeep\tbaseline\t\t\t\tas it was"


def write(folder: Path, *lines: str) -> Path:
    path = folder / "table.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_row_becomes_a_frozen_run(tmp_path: Path) -> None:
    row = "3\tabc1234\t0.9400\t41.5\tkeep\tdepth\tDEPTH+ASPECT_RATIO\t8+64\t9+57\tdeeper"
    reference = read_reference(write(tmp_path, *HEAD, BASELINE, row))
    assert (reference.name, reference.source) == ("B200", "https://example.org/log")
    assert reference.runs[1] == ReferenceRun(
        order=3,
        commit="abc1234",
        val_bpb=0.94,
        memory_gb=41.5,
        status="keep",
        axis="depth",
        changes={"DEPTH": (8, 9), "ASPECT_RATIO": (64, 57)},
        note="deeper",
    )


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ("SSSL", "SSSSL", ("SSSL", "SSSSL")),
        ("0.0", "0.05", (0.0, 0.05)),
        ("(0.8, 0.95)", "(0.9, 0.95)", ((0.8, 0.95), (0.9, 0.95))),
        ("57", "?", (57, None)),
    ],
)
def test_values_are_numbers_tuples_words_or_unknown(tmp_path: Path, before: str, after: str, change: object) -> None:
    row = f"1\tabc1234\t0.94\t\tdiscard\tdepth\tKNOB\t{before}\t{after}\t"
    assert read_reference(write(tmp_path, *HEAD, BASELINE, row)).runs[1].changes == {"KNOB": change}


def test_a_change_of_code_has_no_knobs(tmp_path: Path) -> None:
    row = "1\tabc1234\t\t\tcrash\tblock.parallel\t\t\t\tside by side"
    run = read_reference(write(tmp_path, *HEAD, BASELINE, row)).runs[1]
    assert (run.changes, run.val_bpb, run.memory_gb) == ({}, None, None)


@pytest.mark.parametrize(
    ("row", "fact"),
    [
        ("1\tabc\t0.9\t40.0\tkeep\tdepth", "the row has 6 columns, not 10"),
        ("", "the row has 1 columns, not 10"),
        ("one\tabc\t0.9\t40.0\tkeep\tdepth\t\t\t\t", "order 'one' is not a whole number"),
        ("-1\tabc\t0.9\t40.0\tkeep\tdepth\t\t\t\t", "order '-1' is not a whole number"),
        ("0\tabc\t0.9\t40.0\tkeep\tdepth\t\t\t\t", "order 0 appears twice"),
        ("1\t\t0.9\t40.0\tkeep\tdepth\t\t\t\t", "no commit"),
        ("1\tabc\tgood\t40.0\tkeep\tdepth\t\t\t\t", "val_bpb 'good' is not a positive decimal number"),
        ("1\tabc\tnan\t40.0\tkeep\tdepth\t\t\t\t", "val_bpb 'nan' is not a positive decimal number"),
        ("1\tabc\t0.000000\t40.0\tdiscard\tdepth\t\t\t\t", "val_bpb '0.000000' is not a positive decimal number"),
        ("1\tabc\t0.9\t0.0\tkeep\tdepth\t\t\t\t", "memory_gb '0.0' is not a positive decimal number"),
        ("1\tabc\t0.9\t40.0\tkept\tdepth\t\t\t\t", "unknown status 'kept' (known: keep, discard, crash, trial)"),
        ("1\tabc\t0.9\t\tcrash\tdepth\t\t\t\t", "a run with the status crash has no value, but here it is 0.9"),
        ("1\tabc\t\t40.0\tdiscard\tdepth\t\t\t\t", "a run with the status discard needs a value"),
        ("1\tabc\t0.9\t40.0\tkeep\t\t\t\t\t", "'' is not an axis (lower-case words joined by dots)"),
        ("1\tabc\t0.9\t40.0\tkeep\tdepth\tDEPTH+WIDTH\t8\t9\t", "2 knobs with 1 values before and 1 after"),
        ("1\tabc\t0.9\t40.0\tkeep\tdepth\tDEPTH\t\t9\t", "1 knobs with 0 values before and 1 after"),
        ("1\tabc\t0.9\t40.0\tkeep\tdepth\tdepth\t8\t9\t", "'depth' is not the name of a knob, or appears twice"),
        ("1\tabc\t0.9\t40.0\tkeep\tdepth\tDEPTH\t9\t9\t", "DEPTH goes from 9 to 9: no change"),
        ("1\tabc\t0.9\t40.0\tkeep\tdepth\tDEPTH\t8\t2*\t", "'2*' is not a value"),
    ],
)
def test_a_malformed_row_is_refused_with_file_and_line(tmp_path: Path, row: str, fact: str) -> None:
    path = write(tmp_path, *HEAD, BASELINE, row)
    with pytest.raises(TableError) as caught:
        read_reference(path)
    assert str(caught.value) == f"{path}, line 5: {fact}"


ORIGIN_HEAD = [*HEAD[:2], "\t".join(COLUMNS + ORIGIN)]


def row(log: str, order: int, status: str = "keep", comparable: str = "yes", caveat: str = "") -> str:
    own = f"{order}\tabc\t0.9\t\t{status}\tdepth\t\t\t\tas told"
    return f"{own}\t{log}\thttps://example.org/{log}\tone {log}\t{comparable}\t{caveat}"


def test_a_table_may_hold_several_logs(tmp_path: Path) -> None:
    rows = [row("B200", 0), row("M9", 0), row("B200", 1, "discard", "no", "a shared GPU")]
    first, second = read_references(write(tmp_path, *ORIGIN_HEAD, *rows))
    assert (first.name, first.source, first.hardware) == ("B200", "https://example.org/B200", "one B200")
    assert [(run.order, run.comparable, run.caveat) for run in first.runs] == [
        (0, True, ""),
        (1, False, "a shared GPU"),
    ]
    assert (second.name, len(second.runs)) == ("M9", 1)


def test_one_session_is_not_read_from_a_table_of_several(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="the table holds 2 logs, not one"):
        read_reference(write(tmp_path, *ORIGIN_HEAD, row("B200", 0), row("M9", 0)))


@pytest.mark.parametrize(
    ("bad", "fact"),
    [
        (row("B200", 1, comparable="perhaps"), "comparable must be yes or no, not 'perhaps'"),
        (row("B200", 1, comparable="no"), "comparable is no, and no caveat says why"),
        (row("B200", 1, "trial"), "status trial needs comparable = no, because nobody decided about the run"),
        (row("B200", 1).replace("one B200", ""), "no hardware"),
    ],
)
def test_each_row_of_several_logs_says_where_it_comes_from(tmp_path: Path, bad: str, fact: str) -> None:
    with pytest.raises(TableError, match=f"line 5: {fact}"):
        read_references(write(tmp_path, *ORIGIN_HEAD, row("B200", 0), bad))


def test_orders_only_rise(tmp_path: Path) -> None:
    rows = [f"{order}\tabc\t0.9\t\tdiscard\tdepth\t\t\t\t" for order in (5, 3)]
    with pytest.raises(TableError, match="line 6: order 3 follows 5"):
        read_reference(write(tmp_path, *HEAD, BASELINE, *rows))


def test_the_first_run_is_the_kept_baseline(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="line 4: the first run must be the baseline"):
        read_reference(write(tmp_path, *HEAD, "1\tabc\t0.9\t40.0\tkeep\tdepth\t\t\t\t"))


@pytest.mark.parametrize(
    ("lines", "fact"),
    [
        ([*HEAD[1:], BASELINE], "no comment line '# name: ...'"),
        ([HEAD[0], HEAD[2], BASELINE], "no comment line '# source: ...'"),
        ([*HEAD[:2], BASELINE], "line 3: expected the column names order commit"),
        (HEAD[:2], "line 3: expected the column names order commit"),
        (HEAD, "the table has no runs"),
    ],
)
def test_a_table_without_its_head_or_runs_is_refused(tmp_path: Path, lines: list[str], fact: str) -> None:
    with pytest.raises(TableError, match=fact):
        read_reference(write(tmp_path, *lines))


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.tsv"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.tsv", binary):
        with pytest.raises(TableError, match="cannot read the table"):
            read_reference(path)
