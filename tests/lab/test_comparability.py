"""The key that decides which values can be compared, and a session that continues under another key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import BENCH, Recorder, command_line, git, opened
from history_cases import tried

from autoresearch_mlx.agents.scripted import Fixed
from autoresearch_mlx.compare.effects import effects, from_experiment
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import History, Measurement, Proposal, Verdict
from autoresearch_mlx.judge import Again
from autoresearch_mlx.judge.history import gained, standing
from autoresearch_mlx.judge.judge import Case, Judge
from autoresearch_mlx.lab.comparability import NAMES, Key, changes_in_words, differing, key_of, minor
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.upkeep import measure_anew
from autoresearch_mlx.store.ledger import FILE

FILES = {"tokenizer.json": "a", "token_bytes.npy": "b", "train.npy": "c", "val.npy": "d"}
CONDITIONS = {
    "source": "climbmix",
    "data_sha256": FILES,
    "vocab_size": 8192,
    "seq_len": 2048,
    "eval_rows": 256,
    "device": "gpu",
    "budget_seconds": 300.0,
}
MAC = {"chip": "Apple M4 Pro", "gpu": "Apple M4 Pro", "gpu_cores": 16, "mlx": "0.32.4", "blas": None}


def key(machine: dict[str, Any] | None = None, **conditions: Any) -> Key:
    record = {"metric": "val_bpb", "direction": "min", "conditions": {**CONDITIONS, **conditions}}
    return key_of(record, {**MAC, **(machine or {})})


def test_a_key_is_its_parts_in_words_and_one_short_mark() -> None:
    assert key().parts == {
        "metric": "val_bpb",
        "direction": "min",
        "data": "climbmix, corpus c750e0c2a2f2",
        "tokenizer": "8192 tokens, 8c059d3af015",
        "seq_len": 2048,
        "rows": "256 rows, dc585c530da4",
        "split": "val",
        "budget": "300 s",
        "device": "gpu",
        "machine": "Apple M4 Pro",
        "gpu_cores": 16,
        "mlx": "0.32",
    }
    assert set(key().parts) <= set(NAMES)
    assert key().mark == "3091de528389" and key().mark == Key(dict(reversed(key().parts.items()))).mark


@pytest.mark.parametrize(
    ("other", "parts"),
    [
        (key(budget_seconds=600.0), ("budget",)),
        (key(budget_kind="match-tokens", budget_tokens=10**6), ("budget",)),
        (key(data_sha256=FILES | {"train.npy": "e"}), ("data",)),
        (key(data_sha256=FILES | {"val.npy": "e"}), ("data", "rows")),
        (key(data_sha256=FILES | {"tokenizer.json": "e"}), ("data", "tokenizer")),
        (key(data_sha256="cd" * 32), ("data", "tokenizer", "rows")),
        (key(eval_rows=64), ("rows",)),
        (key(seq_len=1024), ("seq_len",)),
        (key().on("hidden"), ("split",)),
        (key({"chip": "Apple M2", "gpu": "Apple M2"}), ("machine",)),
        (key({"gpu_cores": 20}), ("gpu_cores",)),
        (key({"mlx": "0.33.0"}), ("mlx",)),
        (key({"gpu": "NVIDIA H100", "chip": "Xeon"}), ("machine",)),
    ],
)
def test_whatever_a_value_depends_on_makes_another_key(other: Key, parts: tuple[str, ...]) -> None:
    assert other.mark != key().mark
    assert differing(key().parts, other.parts) == parts


def test_a_patch_of_mlx_and_more_memory_are_no_other_key() -> None:
    assert key({"mlx": "0.32.9", "memory_gb": 48.0, "python": "3.13"}) == key()
    assert [minor(v) for v in ("0.32.4", "1.0", "main", None, 3)] == ["0.32", "1.0", None, None, None]


def test_the_blas_counts_on_a_cpu_and_the_gpus_cores_do_not() -> None:
    cpu = key({"blas": "openblas"}, device="cpu").parts
    assert cpu["blas"] == "openblas" and "gpu_cores" not in cpu


def test_what_is_not_known_differs_from_nothing_and_is_told_apart_by_the_mark_alone() -> None:
    unknown = key({"gpu_cores": None})
    assert differing(key().parts, unknown.parts) == ()
    assert changes_in_words(key().parts, key({"mlx": "0.33", "gpu_cores": 20}).parts) == (
        "GPU cores 16 -> 20, MLX 0.32 -> 0.33"
    )


def test_another_program_has_its_line_and_its_machine() -> None:
    found = key_of({"metric": "s", "direction": "min", "conditions": {"run": "make", "pattern": None}}, {"chip": "A"})
    assert found.parts == {"metric": "s", "direction": "min", "program": "make", "machine": "A"}
    assert found.on("hidden") == found


# --- a session that continues elsewhere


def begin(lab: Lab, screen: Recorder) -> Session:
    with opened(lab, "t", judge__margin=0.0, judge__mode="margin") as session:
        research(session, edit(X=3.5), Policy(experiments=1), screen)
    return session


def edit(**knobs: float) -> Fixed:
    return Fixed("me", Proposal("an edit", {"solver.py": f"X = {knobs['X']}\nY = 2\n"}))


def as_if_begun_on(lab: Lab, **parts: Any) -> None:
    """Change the ledger so that its runs look as if they had been made elsewhere."""
    path = lab.folder("t") / FILE
    first, *rest = path.read_text().splitlines()
    event = json.loads(first)
    event["comparability"] |= parts
    old, event["key"] = event["key"], Key(event["comparability"]).mark
    path.write_text("\n".join([json.dumps(event), *(line.replace(old, event["key"]) for line in rest)]) + "\n")


@pytest.fixture
def screen() -> Recorder:
    return Recorder()


def test_the_key_is_in_the_ledgers_first_line_and_with_each_run(command_lab: Lab, screen: Recorder) -> None:
    session = begin(command_lab, screen)
    first, *_ = (command_lab.folder("t") / FILE).read_text().splitlines()
    event = json.loads(first)
    assert event["key"] == session.key.mark and event["comparability"]["program"].endswith("bench.py")
    log = [json.loads(line) for line in command_line("log", "--json", cwd=command_lab.root).stdout.splitlines()]
    assert {m["key"] for e in log for m in e["measurements"]} == {session.key.mark}
    status = json.loads(command_line("status", "--json", cwd=command_lab.root).stdout)
    assert (status["key"], status["comparability"]) == (session.key.mark, dict(session.key.parts))


def test_on_another_machine_a_regime_is_opened_and_the_incumbent_comes_first(
    command_lab: Lab, screen: Recorder
) -> None:
    begin(command_lab, screen)
    as_if_begun_on(command_lab, machine="Apple M2")
    said: list[str] = []
    with opened(command_lab, "t", say=said.append, judge__margin=0.0, judge__mode="margin") as session:
        research(session, edit(X=3.2), Policy(experiments=1), screen)
        history, key = session.journal().history, session.key
    assert any(text.startswith("not comparable with the runs so far: machine Apple M2 -> ") for text in said), said
    assert history.regime == 1
    assert [(r.number, r.measurement.regime, r.measurement.seed) for r in history.repeats] == [(1, 1, 42)]
    assert {m.key for m in history.experiments[2].measurements} == {r.measurement.key for r in history.repeats}
    assert history.repeats[0].measurement.key == key.mark != history.experiments[1].measurements[0].key
    assert history.experiments[2].status == "keep"
    assert gained(history) is None, "the baseline was never measured here"
    assert "the baseline cannot be compared" in command_line("status", cwd=command_lab.root).stdout


def test_what_is_measured_again_is_what_counts(command_lab: Lab, screen: Recorder) -> None:
    """No change could beat the incumbent's old value; the value that is measured here lets a gain pass."""
    begin(command_lab, screen)
    as_if_begun_on(command_lab, machine="Apple M2")
    path = command_lab.folder("t") / FILE
    path.write_text(path.read_text().replace('"value": 10.25', '"value": 0.25'))
    with opened(command_lab, "t", judge__margin=0.0, judge__mode="margin") as session:
        research(session, edit(X=3.2), Policy(experiments=1), screen)
        history = session.journal().history
    last = history.experiments[-1]
    assert (last.status, last.gain) == ("keep", pytest.approx(10.25 - 10.04))
    assert standing(history, history.experiments[1]) == pytest.approx(10.25)
    found = effects([from_experiment(e) for e in history.experiments], "min")
    assert found[-1].gain is None, "no difference is taken across keys"


def test_without_a_run_of_the_incumbent_here_the_margin_asks_for_one() -> None:
    best = tried(0, "keep", gain=0.0, measurements=(Measurement(2.0, 42),))
    history = History((best,), "s", "min", regime=1)
    judge = Judge(margin=0.1, mode="margin")
    candidate = (Measurement(1.0, 42, regime=1),)
    asked = judge.decide(history, Case(1, candidate))
    assert isinstance(asked, Again) and asked.whom == "incumbent"
    given_up = judge.decide(history, Case(1, candidate, refreshes=3))
    assert isinstance(given_up, Verdict) and given_up.status == "invalid"


def test_the_same_machine_goes_on_without_a_word(command_lab: Lab, screen: Recorder) -> None:
    begin(command_lab, screen)
    as_if_begun_on(command_lab, machine=None)
    said: list[str] = []
    for _ in range(2):
        with opened(command_lab, "t", say=said.append, judge__margin=0.0, judge__mode="margin") as session:
            assert session.journal().history.regime == 0
            assert session.key.mark == session.journal().session["key"], "one session, one key"
    assert said == []


def test_a_ledger_without_a_key_is_known_by_the_machine_of_its_runs(command_lab: Lab, screen: Recorder) -> None:
    begin(command_lab, screen)
    path = command_lab.folder("t") / FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    del lines[0]["key"], lines[0]["comparability"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with opened(command_lab, "t") as session:
        assert session.journal().history.regime == 0
    for line in lines:
        for measured in line.get("measurements", ()):
            measured["machine"] = {"chip": "Apple M1"}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with opened(command_lab, "t") as session:
        assert session.journal().history.regime == 1
    with opened(command_lab, "t") as session:
        assert session.journal().history.regime == 1, "once"


def test_an_incumbent_that_does_not_run_here_is_an_error_with_a_way_out(command_lab: Lab, screen: Recorder) -> None:
    missing = command_lab.root.parent / "no such library here"
    (command_lab.root / "bench.py").write_text(
        f"{BENCH}from pathlib import Path\nassert not Path({str(missing)!r}).exists()\n"
    )
    git(command_lab.root, "commit", "-qam", "a library")
    begin(command_lab, screen)
    as_if_begun_on(command_lab, machine="Apple M2")
    missing.touch()
    with (
        opened(command_lab, "t") as session,
        pytest.raises(LabError, match="experiment 1, the incumbent, ended as crash here") as caught,
    ):
        measure_anew(session, screen)
    assert "--tag" in caught.value.hint


@pytest.mark.slow
def test_a_try_measures_the_incumbent_first_too(command_lab: Lab, screen: Recorder) -> None:
    begin(command_lab, screen)
    as_if_begun_on(command_lab, machine="Apple M2")
    (command_lab.root / "solver.py").write_text("X = 3.0\nY = 2\n")
    done = command_line("try", "-m", "nearer", "--json", cwd=command_lab.root)
    assert json.loads(done.stdout)["status"] == "keep", done.stderr
    assert "these runs no longer count, and the incumbent is measured again first" in done.stderr


def test_gains_of_one_key_are_told_and_those_of_unknown_ones_as_before() -> None:
    def run(number: int, value: float, key: str | None) -> Any:
        return tried(number, "keep", gain=2 - value, measurements=(Measurement(value, 42, key=key),))

    assert gained(History((run(0, 2.0, None), run(1, 1.5, "a")), "s", "min")) == 0.5
    assert gained(History((run(0, 2.0, "a"), run(1, 1.5, "a")), "s", "min")) == 0.5
    assert gained(History((run(0, 2.0, "b"), run(1, 1.5, "a")), "s", "min")) is None
    assert gained(History((), "s", "min")) is None
