"""The facts of `status`: counts, marks, sigma, and whether a process works on the session."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from report.nights import experiment, measured

from autoresearch_mlx.errors import LedgerError
from autoresearch_mlx.experiment import History
from autoresearch_mlx.report.closing import outcome, verdict
from autoresearch_mlx.report.now import Running, read_now, write_now
from autoresearch_mlx.report.status import status_of, to_json
from autoresearch_mlx.store.ledger import Ledger
from autoresearch_mlx.store.locks import locked

NOON = "2026-07-14T12:00:00+02:00"


def test_the_document_has_the_promised_keys_in_their_order(session: Path) -> None:
    assert to_json(status_of(session)) == {
        "session": "jul14",
        "branch": "autoresearch/jul14",
        "target": "pretrain",
        "metric": "val_bpb",
        "direction": "min",
        "experiments": 6,
        "kept": 1,
        "discarded": 1,
        "failed": 4,
        "interrupted": 1,
        "baseline": {"number": 0, "commit": "00c0ffee" * 5, "value": 2.512345},
        # The value is that of the fresh run, not of the run by which it was chosen.
        "incumbent": {"number": 1, "commit": "01c0ffee" * 5, "value": 2.430522},
        "sigma": None,
        "running": None,
        "agent": "hybrid",
        "spent": {
            "calls": 0,
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "estimated": 0,
            "tokens": 0,
            "cost": None,
            "max_tokens_total": None,
            "max_cost": None,
        },
        "noise": {"sigma": None, "runs": 0, "dof": 0, "epoch": 0},
        "budget": None,
        "key": None,
        "comparability": None,
        "stops": None,
        "certificate": None,
        "disturbed": 0,
        "limits": None,
        "lanes": [],
        "left_out": None,
        "waiting": [],
    }
    keys = (
        "session branch target metric direction experiments kept discarded failed interrupted baseline incumbent sigma"
    )
    assert list(to_json(status_of(session))) == [
        *keys.split(),
        "running",
        "agent",
        "spent",
        "noise",
        "budget",
        "key",
        "comparability",
        "stops",
        "certificate",
        "disturbed",
        "limits",
        "lanes",
        "left_out",
        "waiting",
    ]


def test_a_session_that_has_measured_nothing_knows_nothing(tmp_path: Path, write: Callable[..., Path]) -> None:
    status = to_json(status_of(write(tmp_path / "new", [], agent="knobs", branch="autoresearch/else")))
    assert [status[key] for key in ("experiments", "kept", "discarded", "failed")] == [0, 0, 0, 0]
    assert [status[key] for key in ("baseline", "incumbent", "sigma", "running")] == [None] * 4
    assert (status["agent"], status["branch"]) == ("knobs", "autoresearch/else")


def test_a_folder_without_a_ledger_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError):
        status_of(tmp_path)


def test_sigma_rests_on_repeats_that_nothing_was_chosen_by(tmp_path: Path, write: Callable[..., Path]) -> None:
    night = [
        experiment(0, "keep", "baseline", commit="a", measurements=(measured(2.0), measured(2.1), measured(2.2))),
        experiment(1, "discard", "once", commit="b", measurements=(measured(9.0),)),
        experiment(2, "keep", "thrice", commit="c", measurements=(measured(0.0), measured(1.0), measured(1.1))),
    ]
    noise = to_json(status_of(write(tmp_path / "new", night)))["noise"]
    pooled = math.sqrt((2 * 0.1**2 + 2 * 0.05**2) / 3)
    assert noise == {"sigma": pytest.approx(pooled), "runs": 5, "dof": 3, "epoch": 0}


class TestRunning:
    def test_the_note_of_the_process_that_holds_the_session(self, session: Path) -> None:
        note = Running(os.getpid(), 7, "DEPTH 4 -> 5", "train", 12, 3.25, 11520.0, 7.0)
        with locked(session):
            write_now(session, note, NOON)
            running = to_json(status_of(session))["running"]
        assert running == {
            "pid": os.getpid(),
            "number": 7,
            "title": "DEPTH 4 -> 5",
            "phase": "train",
            "step": 12,
            "loss": 3.25,
            "tokens_per_second": 11520.0,
            "seconds_left": 7.0,
            "share": None,
            "words": None,
            "time": NOON,
        }

    def test_a_note_without_a_live_process_says_nothing(self, session: Path) -> None:
        write_now(session, Running(os.getpid(), 7), NOON)
        assert status_of(session).running is None

    def test_a_note_of_a_process_before_this_one_says_nothing(self, session: Path) -> None:
        with locked(session):
            write_now(session, Running(1, 7, "old"), NOON)
            assert status_of(session).running == Running(os.getpid())

    @pytest.mark.parametrize("damage", ["", '{"pid": 12, "num', "[1]", '"x"', '{"pid": "12"}', "\x00\xff"])
    def test_a_damaged_note_still_leaves_the_process(self, session: Path, damage: str) -> None:
        with locked(session):
            (session / "now.json").write_text(damage, encoding="latin-1")
            assert status_of(session).running == Running(os.getpid())

    def test_fields_of_a_wrong_kind_are_unknown(self, session: Path) -> None:
        (session / "now.json").write_text('{"pid": 5, "number": true, "title": 3, "loss": NaN, "step": 1.5}')
        assert read_now(session) == Running(5)

    def test_an_experiment_that_only_the_ledger_knows_waits_for_its_proposal(self, session: Path) -> None:
        Ledger(session).append("started", number=7, base="abc", time=NOON)
        with locked(session):
            write_now(session, Running(os.getpid(), 6, "the one before"), NOON)
            assert status_of(session).running == Running(os.getpid(), 7, phase="propose")

    def test_a_loss_that_is_no_number_is_noted_as_unknown(self, tmp_path: Path) -> None:
        write_now(tmp_path, Running(5, 7, loss=math.nan), NOON)
        assert read_now(tmp_path) == Running(5, 7, time=NOON)


@pytest.mark.parametrize("module", ["status", "terminal", "screens"])
def test_nothing_heavy_is_imported(module: str) -> None:
    heavy = {"rich", "click", "pydantic", "numpy", "git", "mlx", "optuna", "asyncio", "jinja2"}
    code = f"import sys, autoresearch_mlx.report.{module}; print(*{{m.split('.')[0] for m in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not heavy & set(loaded.split())


def test_the_gain_of_a_kernel_is_said_as_a_ratio_and_not_in_percent_of_a_logarithm() -> None:
    first = experiment(0, "keep", "baseline", value=0.1, measurements=(measured(0.1),))
    best = experiment(1, "keep", "fused", value=0.42, gain=0.32, measurements=(measured(0.42),))
    said = outcome(History((first, best), "log_speedup", "max"))
    assert "log_speedup 0.100000 -> 0.420000 (+0.320000, 1.38 times as fast)" in said
    assert "%" in outcome(History((first, best), "accuracy", "max"))


def test_the_line_that_fetches_the_incumbents_files_is_safe_to_paste() -> None:
    discarded = experiment(1, "discard", "longer", value=0.2, measurements=(measured(0.2),))
    said = verdict(discarded, "score", "autoresearch/t", ("src/*", "my file.py"))
    assert "git restore --source autoresearch/t -- 'src/*' 'my file.py'" in said
