"""A night in miniature: the real commands, real MLX training, a real corpus, at tiny size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny_training as tiny
from conftest import ROOT, command_line, git
from live_run import working

from autoresearch_mlx.lab.lab import Lab

pytestmark = [pytest.mark.slow, pytest.mark.uncounted]

ONE_RUN = '[judge]\nmode = "margin"\nmargin = 0.0\n'
"""Every file is measured once; other tests check repeats."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return tiny.lab(tmp_path / "lab", tiny.settings(0.6, ONE_RUN)).root


@dataclass(frozen=True)
class Night:
    """A lab after a baseline and two experiments; ``before`` has the user's things that must not change."""

    lab: Path
    before: tuple[object, ...]
    printed: str
    experiments: list[dict[str, Any]]


@pytest.fixture(scope="module")
def night(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    lab = tiny.lab(tmp_path_factory.mktemp("night") / "lab", tiny.settings(0.6, ONE_RUN)).root
    before = of_the_user(lab)
    printed = run("run", "--experiments", "2", "--tag", "night", lab=lab, cache=cache).stdout
    logged = run("log", "--json", lab=lab, cache=cache).stdout.splitlines()
    return Night(lab, before, printed, [json.loads(line) for line in logged])


def of_the_user(lab: Path) -> tuple[object, ...]:
    return git(lab, "status", "--porcelain"), (lab / "train_mlx.py").read_bytes(), git(lab, "rev-parse", "HEAD")


def run(*arguments: str, lab: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    done = command_line(*arguments, cwd=lab, AUTORESEARCH_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    return done


def test_run_prepares_the_data_measures_a_baseline_and_experiments(night: Night) -> None:
    assert night.printed.startswith("2 experiments: ")
    assert "stopped: 2 experiments done, as asked" in night.printed
    assert [e["number"] for e in night.experiments] == [0, 1, 2]
    assert night.experiments[0]["value"] > 0 and night.experiments[0]["measurements"][0]["steps"] > 3
    for e in night.experiments[1:]:
        assert e["agent"] == "knobs" and 1 <= len(e["knobs"]) <= 3
        shown = git(night.lab, "show", f"{e['ref']}:train_mlx.py")
        for name, (_, value) in e["knobs"].items():
            assert f"{name} = " in shown and value is not None
    assert of_the_user(night.lab) == night.before
    weights = list((night.lab / ".autoresearch" / "night" / "runs").glob("*/weights.safetensors"))
    assert len(weights) == 1, "the incumbent's weights are kept, and no others"


def test_the_presets_of_the_machine_go_into_the_baseline_and_the_users_values_stay(night: Night) -> None:
    text = (ROOT / "train_mlx.py").read_text()
    shipped = next(line for line in text.splitlines() if line.startswith("WINDOW_PATTERN"))
    baseline = git(night.lab, "show", f"{night.experiments[0]['commit']}:train_mlx.py")
    assert "DEPTH = 1 " in baseline and "HEAD_DIM = 16 " in baseline
    assert shipped in baseline


def test_what_prepare_made_last_is_what_the_next_session_trains_on(lab: Path, cache: Path) -> None:
    (lab / "lab.toml").write_text(f"[budget]\nseconds = 0.6\n\n{tiny.ANY_SPEED}\n{ONE_RUN}")
    git(lab, "commit", "-qam", "no data settings")
    text = str(ROOT / "autoresearch_mlx" / "targets" / "corpus")
    prepared = run("prepare", "folder", text, "--vocab-size", "300", "--seq-len", "32", "--json", lab=lab, cache=cache)
    run("run", "--experiments", "0", lab=lab, cache=cache)
    conditions = json.loads((lab / ".autoresearch").glob("*/ledger.jsonl").__next__().read_text().splitlines()[0])[
        "conditions"
    ]
    assert conditions["data_sha256"] == json.loads(prepared.stdout)["sha256"]
    assert (conditions["vocab_size"], conditions["seq_len"]) == (300, 32)


def test_an_edit_is_tried_against_the_incumbent(cache: Path, tmp_path: Path) -> None:
    lab = tiny.lab(tmp_path / "lab", tiny.settings(0.6, ONE_RUN), UNEMBEDDING_LR=0.01).root  # no preset changes that
    (lab / "train_mlx.py").write_text(tiny.script(UNEMBEDDING_LR=0.0, UNEMBEDDING_INIT_STD=0.0))
    done = run("try", "-m", "a head that never learns", "--json", lab=lab, cache=cache)
    experiment = json.loads(done.stdout)
    assert (experiment["number"], experiment["status"]) == (1, "discard")
    assert set(experiment["knobs"]) == {"UNEMBEDDING_LR", "UNEMBEDDING_INIT_STD"}
    assert experiment["title"] == "a head that never learns"
    assert "# knob" in (lab / "train_mlx.py").read_text(), "the checkout keeps the edit"


def test_the_script_alone_prints_upstreams_trailer_with_the_sealed_score(tmp_path: Path, cache: Path) -> None:
    # On a busy machine the parent may hear of the first step a tenth of a second late: too much for a budget of 0.6 s.
    lab = tiny.lab(tmp_path / "lab", tiny.settings(3, ONE_RUN)).root
    with (lab / "train_mlx.py").open("a") as file:
        file.write("\nprint('val_bpb: 0.000001')\n")
    done = subprocess.run(
        [sys.executable, "train_mlx.py"],
        cwd=lab,
        env={**os.environ, "AUTORESEARCH_CACHE": str(cache), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    trailer = dict(line.split(":", 1) for line in done.stdout.split("---\n")[1].splitlines())
    assert list(trailer) == [
        "val_bpb",
        "training_seconds",
        "total_seconds",
        "peak_vram_mb",
        "mfu_percent",
        "total_tokens_M",
        "num_steps",
        "num_params_M",
        "depth",
    ]
    assert float(trailer["val_bpb"]) > 1
    assert 0.5 <= float(trailer["training_seconds"]) < 10
    assert trailer["depth"].strip() == "1"
    assert git(lab, "status", "--porcelain") == "M train_mlx.py"


def test_a_script_that_crashes_alone_says_why_and_fails(lab: Path, cache: Path) -> None:
    (lab / "train_mlx.py").write_text(tiny.script().replace("def train(", "def train(broken, ", 1))
    done = subprocess.run(
        [sys.executable, "train_mlx.py"],
        cwd=lab,
        env={**os.environ, "AUTORESEARCH_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("crash: TypeError: train()")


def test_kept_weights_are_scored_again_on_more_rows_and_on_hidden_ones(night: Night, cache: Path) -> None:
    lab, kept = night.lab, [e for e in night.experiments if e["status"] == "keep"][-1]
    same = json.loads(run("evaluate", "--rows", "32", "--json", lab=lab, cache=cache).stdout)
    first = kept["measurements"][0]["value"]
    assert same["val_bpb"] == tiny.score(first), "the same rows, the same weights, the same score"
    assert (same["number"], same["rows"], same["tokens"]) == (kept["number"], 32, 32 * 32)
    hidden = json.loads(run("evaluate", "--split", "hidden", "--json", lab=lab, cache=cache).stdout)
    assert hidden["val_bpb"] != same["val_bpb"] and hidden["rows"] > 0
    full = command_line("evaluate", "--full", cwd=lab, AUTORESEARCH_CACHE=str(cache))
    assert full.returncode == 1
    assert "655,360 are wanted" in full.stderr and "hint: write eval_rows = 655360 under [data]" in full.stderr


def test_the_sizes_of_another_machine_can_be_asked_for(lab: Path, cache: Path) -> None:
    shipped = (ROOT / "train_mlx.py").read_text()
    ended = shipped.replace(
        "    harness.main(", "    raise SystemExit('too large for this machine')\n    harness.main("
    )
    (lab / "train_mlx.py").write_text(ended)
    git(lab, "commit", "-qam", "as shipped, but it ends at once")
    unknown = command_line("run", "--hardware", "tpu", cwd=lab, AUTORESEARCH_CACHE=str(cache))
    assert unknown.returncode == 1 and "profiles: auto, cpu, mac-8gb" in unknown.stderr
    command_line(
        "run",
        "--hardware",
        "cuda",
        "--experiments",
        "0",
        "--tag",
        "big",
        "--budget",
        "0.2",
        cwd=lab,
        AUTORESEARCH_CACHE=str(cache),
    )
    ledger = next((lab / ".autoresearch").glob("big/ledger.jsonl")).read_text().splitlines()
    first = json.loads(ledger[0])
    assert (first["profile"], first["conditions"]["device"]) == ("cuda", "cpu")


def test_a_killed_loop_takes_its_training_with_it(lab: Path, cache: Path) -> None:
    (lab / "lab.toml").write_text((lab / "lab.toml").read_text().replace("0.6", "60.0"))
    folder = lab / ".autoresearch" / "slow"
    with working(Lab(lab), "run", "--tag", "slow", AUTORESEARCH_CACHE=str(cache)) as loop:
        wait_until(lambda: '"train"' in (folder / "now.json").read_text() if (folder / "now.json").exists() else False)
        children = psutil.Process(loop.pid).children()  # the training, and the helper that keeps the machine awake
        assert children
    wait_until(lambda: not any(c.is_running() and c.status() != psutil.STATUS_ZOMBIE for c in children))
    status = json.loads(run("status", "--json", lab=lab, cache=cache).stdout)
    assert (status["session"], status["running"]) == ("slow", None)


def wait_until(so: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
