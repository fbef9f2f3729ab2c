"""A machine's spool keeps a result on its disk before it is delivered, so that it can be delivered again."""

from __future__ import annotations

import fcntl
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_mlx.experiment import Measurement, Usual
from autoresearch_mlx.fleet.courier import THREAD_LIMITS, saved_limits
from autoresearch_mlx.fleet.job import Delivery, Job, Lab, delivery_from, job_from, job_id
from autoresearch_mlx.fleet.measuring import take_run
from autoresearch_mlx.fleet.spool import ENOUGH, RESULT, Spool, measured_now, measuring_alone, write_synced
from autoresearch_mlx.store.locks import take_lock

LAB = Lab("t-1", "command", "score", "min", ("solver.py",), "a" * 40, ".", {"run": "x"}, {"target": {}})
JOB = Job(job_id("t-1", 3), LAB, "b" * 40, "refs/autoresearch/t/3", 3, "candidate", 42, usual=Usual(start=1.0))
MEASURED = Measurement(0.98, 42, machine={"chip": "M9"}, extra={"cases": {"a": 1.0}})


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


@pytest.mark.parametrize(
    "job", [JOB, replace(JOB, steps=5, habits=(1.5, 2.0), usual=None), replace(JOB, split="hidden")]
)
def test_a_job_travels_as_text(job: Job) -> None:
    assert job_from(job.text()) == job


@pytest.mark.parametrize(
    "delivery",
    [
        Delivery(MEASURED, "the end of the log", {"machine": "M9"}),
        Delivery(trouble="the disk is full"),
        Delivery(lacks=True),
    ],
)
def test_a_delivery_travels_as_text(delivery: Delivery) -> None:
    assert delivery_from(delivery.text()) == delivery


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"measurement": 3, "unknown": 1}'])
def test_a_damaged_text_is_no_delivery(text: str) -> None:
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        delivery_from(text)


def test_the_same_question_has_the_same_name() -> None:
    assert job_id("s", 3, "c", 42) == job_id("s", 3, "c", 42) != job_id("s", 3, "c", 43)


@pytest.mark.parametrize("name", ["", "..", "../../etc", "ABC", "a/b"])
def test_a_name_that_is_not_ours_leads_nowhere(spool: Spool, name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a job"):
        spool.folder(name)


def test_a_result_is_found_by_whoever_asks_again(spool: Spool) -> None:
    folder = spool.accept(JOB, b"bundle")
    assert spool.result(JOB.id) is None
    write_synced(folder / RESULT, Delivery(MEASURED).text().encode())
    assert spool.accept(JOB, b"") == folder, "a second request changes nothing"
    found = spool.result(JOB.id)
    assert found is not None and found.measurement == MEASURED
    assert (folder / "bundle").read_bytes() == b"bundle"


@pytest.mark.parametrize("empty", [Delivery(lacks=True), Delivery(ended=True), Delivery(trouble="a full disk")])
def test_a_run_without_a_measurement_is_taken_anew_with_the_new_bundle(spool: Spool, empty: Delivery) -> None:
    folder = spool.accept(JOB, b"")
    write_synced(folder / RESULT, empty.text().encode())
    spool.accept(JOB, b"whole")
    assert spool.result(JOB.id) is None
    assert (folder / "bundle").read_bytes() == b"whole"


def test_a_request_takes_back_that_nobody_wants_the_result(spool: Spool) -> None:
    folder = spool.accept(JOB, b"bundle")
    (folder / ENOUGH).touch()
    spool.accept(JOB, b"")
    assert not (folder / ENOUGH).exists()


@pytest.mark.parametrize("text", ["", '{"measurement"', "null"])
def test_half_a_result_counts_as_none(spool: Spool, text: str) -> None:
    (spool.accept(JOB, b"") / RESULT).write_text(text)
    assert spool.result(JOB.id) is None


def test_two_processes_do_not_take_one_run(spool: Spool) -> None:
    folder = spool.accept(JOB, b"")
    assert not measured_now(folder)
    with measuring_alone(folder) as first, measuring_alone(folder) as second:
        assert (first, second) == (True, False)
        assert measured_now(folder)
    assert not measured_now(folder)


def test_the_thread_limits_of_the_person_survive_dask(tmp_path: Path) -> None:
    kept = saved_limits({"OMP_NUM_THREADS": "3", "PATH": "/bin"})
    assert list(kept.values()) == ["3"] and not set(kept) & {*THREAD_LIMITS}


def test_a_job_is_plain_json() -> None:
    assert json.loads(JOB.text())["lab"]["session"] == "t-1"


def test_a_machine_takes_one_run_at_a_time_even_if_another_process_still_measures(spool: Spool) -> None:
    folder = spool.accept(JOB, b"")
    with (spool.jobs / "turn").open("a+") as old, ThreadPoolExecutor(1) as pool:
        assert take_lock(old, 0.2)
        new = pool.submit(take_run, folder)
        with pytest.raises(TimeoutError):
            new.result(0.3)
        assert measured_now(folder) and spool.result(JOB.id) is None, "it waits, and nobody else takes this run"
        fcntl.flock(old, fcntl.LOCK_UN)
        new.result(30)
    delivered = spool.result(JOB.id)
    assert delivered is not None and replace(delivered, waited=0.0) == Delivery(lacks=True)


def test_a_run_that_waits_for_its_turn_ends_when_nobody_wants_it_any_more(spool: Spool) -> None:
    folder = spool.accept(JOB, b"")
    with (spool.jobs / "turn").open("a+") as old:
        assert take_lock(old, 0.2)
        (folder / ENOUGH).touch()
        take_run(folder)
    found = spool.result(JOB.id)
    assert found is not None and replace(found, waited=0.0) == Delivery(ended=True)
