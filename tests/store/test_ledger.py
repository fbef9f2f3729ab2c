"""The ledger: every appended line is replayed, whatever happens to the file's end."""

from __future__ import annotations

import csv
import fcntl
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoresearch_mlx.errors import LedgerError, LockedError
from autoresearch_mlx.experiment import Experiment, Failure, Measurement, Seconds, Status
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import FILE, Ledger, read
from autoresearch_mlx.store.locks import holder, locked
from autoresearch_mlx.store.records import experiment_to
from autoresearch_mlx.store.results import RESULTS, write_results

GOLDEN = Path(__file__).parent / "golden"
SESSION = {"tag": "t", "metric": "val_bpb", "direction": "min"}

text = st.text(st.characters(codec="utf-8"), max_size=20)
maybe_text = st.none() | text
real = st.none() | st.floats(allow_nan=False, allow_infinity=False)
count = st.none() | st.integers(0, 2**60)
plain = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | text
measurements = st.builds(
    Measurement,
    value=real,
    seed=st.integers(0, 99),
    failure=st.none() | st.sampled_from(get_args(Failure)),
    reason=text,
    seconds=st.builds(Seconds, real, real, real, real),
    steps=count,
    tokens=count,
    tokens_per_second=real,
    peak_memory_mb=real,
    machine=st.dictionaries(text, plain, max_size=2),
    log=maybe_text,
    extra=st.dictionaries(text, plain, max_size=2),
    speed=real,
    stretch=real,
    disturbed_by=text,
)
experiments = st.builds(
    Experiment,
    number=st.integers(0, 5),
    status=st.sampled_from(get_args(Status)),
    value=real,
    gain=real,
    commit=maybe_text,
    base=maybe_text,
    ref=maybe_text,
    title=text,
    axis=maybe_text,
    knobs=st.dictionaries(text, st.tuples(plain, plain), max_size=2),
    agent=text,
    reason=text,
    started=text,
    finished=text,
    measurements=st.lists(measurements, max_size=2).map(tuple),
    rationale=text,
    fingerprint=maybe_text,
    seconds=st.dictionaries(text, st.floats(0, 1e6), max_size=2),
)
events = st.one_of(
    st.tuples(st.just("started"), st.integers(0, 5)),
    st.tuples(st.just("finished"), experiments),
    st.tuples(st.just("abandoned"), st.integers(0, 5)),
    st.tuples(st.just("a word of a later version"), st.dictionaries(text, plain, max_size=2)),
)


def some(number: int, status: Status = "keep", value: float | None = 2.0, **changes: Any) -> Experiment:
    plain = Experiment(number, status, value, None, "c" * 40, "b" * 40, "r", "title", None, {}, "me", "", "", "")
    return replace(plain, **changes)


def begun(folder: Path) -> Ledger:
    ledger = Ledger(folder)
    ledger.append("session", **SESSION)
    return ledger


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events, max_size=6))
def test_whatever_was_appended_is_replayed(happened: list[tuple[str, Any]]) -> None:
    told: dict[int, Experiment] = {}
    running: dict[int, None] = {}
    with tempfile.TemporaryDirectory() as folder:
        ledger = begun(Path(folder))
        for kind, what in happened:
            if kind == "finished":
                ledger.finish(what)
                told.pop(what.number, None)
                told[what.number] = what
                running.pop(what.number, None)
            elif kind in ("started", "abandoned"):
                ledger.append(kind, number=what, base="b", time="t", reason="")
                if kind == "started":
                    running.setdefault(what)
                else:
                    running.pop(what, None)
            else:
                ledger.append(kind, content=what)
        journal = Ledger(Path(folder)).read()
        assert ledger.read() == journal, "what its writer remembers is what stands on the disk"
    assert journal.history.experiments == tuple(told.values())
    assert [each.number for each in journal.running] == list(running)
    assert journal.session["tag"] == "t"


@settings(max_examples=60, deadline=None)
@given(st.integers(0))
def test_a_file_cut_anywhere_replays_to_what_was_whole(position: int) -> None:
    whole = (GOLDEN / "ledger-1.jsonl").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        path.write_bytes(whole[: position % (len(whole) + 1)])
        lines = path.read_bytes().count(b"\n")
        if lines == 0:
            with pytest.raises(LedgerError, match="contains no session"):
                read(path)
            return
        cut = read(path)
        complete = read(GOLDEN / "ledger-1.jsonl").history.experiments
        assert cut.history.experiments == complete[: len(cut.history.experiments)]
        # The next writer continues behind the last complete line.
        Ledger(Path(folder)).append("started", number=9, base="b", time="t")
        assert path.read_bytes().count(b"\n") == lines + 1
        assert read(path).running


def test_the_golden_ledger_stays_readable() -> None:
    journal = read(GOLDEN / "ledger-1.jsonl")
    e = journal.history.experiments
    assert [(x.number, x.status, x.value) for x in e] == [
        (0, "keep", 1.812345),
        (1, "keep", 1.8),
        (2, "crash", None),
        (3, "interrupted", None),
        (4, "shelved", 1.81),
    ]
    assert journal.history.baseline is e[0]
    assert journal.history.incumbent is e[1]
    assert journal.next_number == 5
    (left,) = journal.running
    assert (left.number, left.base, left.time) == (5, "b1" * 20, "2026-03-01T23:30:00+01:00")
    assert e[0].measurements[0].seconds == Seconds(1.5, 2.25, 300.1, 41.0)
    assert e[0].knobs == {"DEPTH": (8, 4)}
    assert e[1].title == '"half" the\tbatch — 試'
    assert [m.seed for m in e[1].measurements] == [42, 43]
    assert e[1].measurements[0].machine == {}
    assert (e[3].commit, e[3].knobs, e[3].measurements) == (None, {}, ())
    assert e[2].failed and e[3].failed and not e[4].failed


def test_unknown_keys_of_an_experiment_are_kept_in_the_records() -> None:
    journal = read(GOLDEN / "ledger-1.jsonl")
    assert len(journal.records) == len(journal.history.experiments)
    assert journal.records[0]["mood"] == "hopeful"
    assert journal.records[0]["measurements"][0]["watts"] == 21.5
    assert journal.session["weather"] == "rain"


def test_the_golden_ledger_gives_the_golden_results(tmp_path: Path) -> None:
    write_results(tmp_path, read(GOLDEN / "ledger-1.jsonl").history)
    assert (tmp_path / RESULTS).read_text(encoding="utf-8") == (GOLDEN / "results.tsv").read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == [RESULTS]


def test_the_golden_results_are_read_by_an_ordinary_reader() -> None:
    with (GOLDEN / "results.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert list(rows[0])[:5] == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert [r["status"] for r in rows] == ["keep", "keep", "crash", "crash", "shelved"]
    assert [float(r["val_bpb"]) for r in rows] == [1.812345, 1.8, 0.0, 0.0, 1.81]
    assert [r["verdict"] for r in rows] == ["keep", "keep", "crash", "interrupted", "shelved"]
    assert {len(r["commit"]) for r in rows} == {0, 7}


@pytest.mark.parametrize(
    ("value", "gain", "words"),
    [(1.8, 0.000088, ["1.800000", "0.000088"]), (3e-7, -4.1e-8, ["3e-07", "-4.1e-08"]), (0.0, -0.0, ["0.000000"] * 2)],
)
def test_results_have_six_decimals_and_hide_no_number(
    tmp_path: Path, value: float, gain: float, words: list[str]
) -> None:
    ledger = begun(tmp_path)
    ledger.finish(some(0, value=value, gain=gain))
    write_results(tmp_path, ledger.read().history)
    row = (tmp_path / RESULTS).read_text(encoding="utf-8").splitlines()[1].split("\t")
    assert [row[1], row[7]] == words
    assert [float(cell) for cell in words] == [value, gain]


@settings(max_examples=25, deadline=None)
@given(st.lists(experiments, max_size=4, unique_by=lambda e: e.number))
def test_no_title_breaks_a_row_of_the_results(done: list[Experiment]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = begun(Path(folder))
        for e in done:
            ledger.finish(e)
        write_results(Path(folder), ledger.read().history)
        with (Path(folder) / RESULTS).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t"))
    assert [len(row) for row in rows] == [12] * (len(done) + 1)
    assert [row[6] for row in rows[1:]] == [str(e.number) for e in done]


def test_a_line_on_disk_is_json_with_the_schema_and_words_as_they_are(tmp_path: Path) -> None:
    begun(tmp_path).append("started", number=0, base="b", time=now(), note="é試")
    line = (tmp_path / FILE).read_text(encoding="utf-8").splitlines()[1]
    assert json.loads(line) | {"time": ""} == {
        "schema": 1,
        "event": "started",
        "number": 0,
        "base": "b",
        "time": "",
        "note": "é試",
    }
    assert "é試" in line


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_refused_and_leaves_no_trace(tmp_path: Path, value: float) -> None:
    ledger = begun(tmp_path)
    before = ledger.path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        ledger.finish(some(0, value=value))
    assert ledger.path.read_bytes() == before


def test_its_writer_sees_what_a_person_has_changed_meanwhile(tmp_path: Path) -> None:
    ledger = begun(tmp_path)
    ledger.finish(some(0))
    assert [e.title for e in ledger.read().history.experiments] == ["title"]
    ledger.path.write_text(ledger.path.read_text().replace('"title": "title"', '"title": "by hand"'))
    assert [e.title for e in ledger.read().history.experiments] == ["by hand"]
    ledger.path.write_text(ledger.path.read_text().replace('"by hand"', '"again"'))
    ledger.append("started", number=1, base="b", time="t")
    assert [e.title for e in ledger.read().history.experiments] == ["again"]


def test_ten_thousand_experiments_are_read_in_seconds(tmp_path: Path) -> None:
    """``python -m bench.loop`` has the figures; this test guards against reading in quadratic time."""
    ledger = begun(tmp_path)
    line = json.dumps({"schema": 1, "event": "finished", **experiment_to(some(0))})
    with ledger.path.open("a") as file:
        file.writelines(line.replace('"number": 0', f'"number": {number}', 1) + "\n" for number in range(10_000))
    began = time.monotonic()
    assert len(ledger.read().history.experiments) == 10_000
    assert time.monotonic() - began < 10


def test_an_experiment_number_finished_twice_counts_as_it_ended_last(tmp_path: Path) -> None:
    ledger = begun(tmp_path)
    for e in (some(0, "crash", None), some(0), some(1), some(1, "discard")):
        ledger.finish(e)
    assert [(e.number, e.status) for e in ledger.read().history.experiments] == [(0, "keep"), (1, "discard")]


@pytest.mark.parametrize(
    ("done", "number"),
    [
        ((), 0),
        ((some(0, "crash", None),), 0),
        ((some(0, "interrupted", None), some(0)), 1),
        ((some(0), some(1, "discard"), some(2, "interrupted", None)), 3),
    ],
)
def test_the_next_number(tmp_path: Path, done: tuple[Experiment, ...], number: int) -> None:
    ledger = begun(tmp_path)
    for e in done:
        ledger.finish(e)
    assert ledger.read().next_number == number


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1]",
        '"text"',
        '{"event": "started", "number": 1}',
        '{"event": "finished", "number": 1}',
        '{"event": "finished", "status": "keep"}',
        '{"event": "finished", "number": "one", "status": "keep"}',
        '{"event": "finished", "number": null, "status": "keep"}',
        '{"event": "finished", "number": 1, "status": "keep", "knobs": {"X": [1]}}',
        '{"event": "finished", "number": 1, "status": "keep", "knobs": {"X": 1}}',
        '{"event": "finished", "number": 1, "status": "keep", "knobs": [1]}',
        '{"event": "finished", "number": 1, "status": "keep", "measurements": [1]}',
        '{"event": "finished", "number": -5, "status": "keep"}',
        '{"event": "finished", "number": 99999999999999999999999, "status": "keep"}',
        '{"event": "finished", "number": 1, "status": "keep", "value": "fast"}',
        '{"event": "finished", "number": 1, "status": "keep", "gain": [1]}',
        '{"event": "finished", "number": 1, "status": "keep", "measurements": [{"value": true}]}',
        '{"event": "session", "tag": "t", "direction": "min"}',
        "\x00\x00",
    ],
)
def test_a_line_that_cannot_be_understood_is_named_by_file_and_number(tmp_path: Path, line: str) -> None:
    begun(tmp_path)
    with (tmp_path / FILE).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(LedgerError) as caught:
        read(tmp_path / FILE)
    assert str(caught.value).startswith(f"{tmp_path / FILE}, line 2: ")
    assert caught.value.hint


def test_bytes_that_are_no_text_are_named_too(tmp_path: Path) -> None:
    begun(tmp_path)
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"event": "\xff"}\n')
    with pytest.raises(LedgerError, match="line 2"):
        read(tmp_path / FILE)


def test_a_folder_in_place_of_a_ledger_is_told_to_a_reader_and_to_a_writer(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    for act in (lambda: read(tmp_path / FILE), lambda: Ledger(tmp_path).append("pause")):
        with pytest.raises(LedgerError, match="Is a directory"):
            act()


def test_a_missing_ledger_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be read: No such file") as caught:
        read(tmp_path / FILE)
    assert "put the file back" in caught.value.hint


@pytest.mark.uncounted  # a limit on file sizes damages the file of coverage counts
def test_a_full_disk_stops_with_the_fact_and_leaves_whole_lines_only(tmp_path: Path) -> None:
    """The test limits the size of the file instead of filling a disk."""
    filled = """
import resource, sys
from pathlib import Path
from autoresearch_mlx.errors import LedgerError
from autoresearch_mlx.store.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
ledger.append("session", tag="t", metric="m", direction="min")
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
try:
    for number in range(9):
        ledger.append("started", number=number, base="b" * 40, time="t")
except LedgerError as error:
    print(error, "|", error.hint)
"""
    done = subprocess.run([sys.executable, "-c", filled, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "ledger.jsonl cannot be written: File too large | free some space" in done.stdout
    assert (tmp_path / FILE).read_bytes().endswith(b"}\n")
    assert read(tmp_path / FILE).running


def test_the_keys_of_an_experiment_are_the_contracts() -> None:
    assert list(experiment_to(some(1, knobs={"X": (1, 2)})))[:16] == [
        "number", "status", "value", "gain", "commit", "base", "ref", "title", "axis", "knobs",
        "agent", "reason", "started", "finished", "measurements", "rationale",
    ]  # fmt: skip
    assert experiment_to(some(1, knobs={"X": (1, 2)}))["knobs"] == {"X": [1, 2]}


HOLD = """
import sys
from pathlib import Path
from autoresearch_mlx.store.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_session_has_one_writer_and_the_second_is_told_which(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdin is not None and first.stdout is not None
        assert first.stdout.readline() == "held\n"
        assert holder(tmp_path) == first.pid
        with pytest.raises(LockedError, match=f"in use by process {first.pid}"), locked(tmp_path):
            pass
        first.kill()
    assert holder(tmp_path) is None
    with locked(tmp_path):
        assert holder(tmp_path) == os.getpid()
    assert holder(tmp_path) is None


def test_looking_for_the_holder_leaves_nothing_behind(tmp_path: Path) -> None:
    assert holder(tmp_path / "nowhere") is None
    assert not (tmp_path / "nowhere").exists()


def test_looking_who_holds_a_session_keeps_nobody_from_it(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        threading.Timer(0.1, lambda: fcntl.flock(look, fcntl.LOCK_UN)).start()
        with locked(tmp_path):
            assert (tmp_path / "lock").read_text().strip() == str(os.getpid())
