"""The measuring files are the same after a run as before, and files that a child plants are never followed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training as tiny

from autoresearch_mlx.targets.corpus.rows import Corpus, sha256_of
from autoresearch_mlx.targets.pretrain.target import sealed_files
from autoresearch_mlx.trial import seal
from autoresearch_mlx.trial.conditions import Conditions

END = "\n\ndef groups("


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Make a small file, and a large one that takes no space on the disk."""
    small, large = tmp_path / "harness.py", tmp_path / "train.npy"
    small.write_text("one\n")
    with large.open("wb") as file:
        file.truncate(seal.HASHED_BYTES + 1)
    return [small, large]


def test_untouched_files_hold(files: list[Path]) -> None:
    assert seal.broken(seal.take(files)) is None


def test_a_small_file_counts_by_its_content_alone(files: list[Path]) -> None:
    before = seal.take(files)
    files[0].write_text("one\n")
    assert seal.broken(before) is None
    files[0].write_text("two\n")
    assert seal.broken(before) == "harness.py was changed while it was in use"


def test_a_large_file_counts_by_its_times_and_inode(files: list[Path]) -> None:
    before = seal.take(files)
    status = files[1].stat()
    with files[1].open("r+b") as file:
        file.write(b"x")
    os.utime(files[1], ns=(status.st_atime_ns, status.st_mtime_ns))  # as if nothing had happened
    assert seal.broken(before) == "train.npy was changed while it was in use"


def test_a_large_file_that_was_only_touched_is_held_against_its_known_hash(files: list[Path]) -> None:
    before = seal.take(files, {files[1]: sha256_of(files[1])})
    files[1].touch()
    assert seal.broken(before) is None
    with files[1].open("r+b") as file:
        file.write(b"x")
    assert seal.broken(before) == "train.npy was changed while it was in use"


def test_a_file_that_went_or_became_something_else_is_named(files: list[Path]) -> None:
    before = seal.take(files)
    files[0].unlink()
    assert seal.broken(before) == "harness.py can no longer be read: No such file or directory"
    files[0].mkdir()
    assert seal.broken(before) == "harness.py can no longer be read: it is not a regular file"


def test_a_missing_file_must_stay_missing(tmp_path: Path) -> None:
    before = seal.take([tmp_path / "none"])
    assert seal.broken(before) is None
    (tmp_path / "none").write_text("")
    assert seal.broken(before) == "none was changed while it was in use"


def test_code_and_data_of_a_measurement_are_sealed(under: Conditions, corpus: Corpus) -> None:
    names = {path.name for path in sealed_files(replace(under, hidden_rows=corpus.path("hidden")))}
    assert names >= {
        "harness.py",
        "evaluator.py",
        "cuts.py",
        "lookahead.py",
        "scoring.py",
        "logits.py",
        "seal.py",
        "landlock.py",
    }
    assert names >= {"train.npy", "val.npy", "hidden.npy", "token_bytes.npy"}


@pytest.mark.slow
def test_a_run_that_changes_the_data_is_invalid(under: Conditions, corpus: Corpus, tmp_path: Path) -> None:
    """The test runs without a sandbox, because in a sandbox the run cannot change the data."""
    rows = tmp_path / "val.npy"
    rows.write_bytes(corpus.path("val").read_bytes())
    easy = tiny.script().replace(END, f"\n    with open({str(rows)!r}, 'r+b') as file:\n        file.seek(128)\n        file.write(bytes(2000))\n{END}", 1)  # fmt: skip
    done = tiny.measure(easy, tmp_path / "run", replace(under, steps=2, val_rows=rows))
    assert (done.failure, done.value) == ("invalid", None)
    assert done.reason == "seal: val.npy was changed while it was in use"


def planted(names: list[str], plant: str) -> str:
    """Return a script that plants something in the run folder when Python ends, after the weights are saved."""
    code = f"""
    import atexit, os, shutil
    from pathlib import Path

    def plant():
        for name in {names!r}:
            path = Path(os.environ["AUTORESEARCH_TRAIN_SPEC"]).with_name(name)
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
            {plant}

    atexit.register(plant)
"""
    return tiny.script().replace(END, f"\n{code}{END}", 1)


FOLDER, LINK, PIPE = "path.mkdir()", "path.symlink_to(victim)", "os.mkfifo(path)"


def in_place_of(names: list[str], plant: str, victim: Path) -> str:
    return planted(names, plant.replace("victim", repr(str(victim))))


@pytest.mark.slow
@pytest.mark.parametrize("plant", [FOLDER, LINK, PIPE], ids=["folder", "link", "pipe"])
def test_what_stands_in_the_parents_way_is_removed_and_never_followed(
    plant: str, under: Conditions, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    text = in_place_of(["evaluate.json", "log.txt", "tmp"], plant, victim)
    done = tiny.measure(text, tmp_path / "run", replace(under, steps=2))
    assert done.failure is None, done.reason
    assert done.value is not None
    assert victim.read_text() == "mine"


COPY = "os.link(victim, path)"


@pytest.mark.parametrize("plant", [FOLDER, LINK, PIPE, COPY], ids=["folder", "link", "pipe", "second name"])
def test_weights_that_are_no_plain_file_are_invalid(plant: str, under: Conditions, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    done = tiny.measure(in_place_of(["weights.safetensors"], plant, victim), tmp_path / "run", replace(under, steps=2))
    assert (done.failure, done.value) == ("invalid", None)
    assert done.reason == "weights.safetensors is not a regular file with a single name"


@pytest.mark.parametrize("content", ["b''", "b'\\xff' * 64"])
def test_weights_that_are_no_weights_are_a_status(content: str, under: Conditions, tmp_path: Path) -> None:
    text = planted(["weights.safetensors"], f"path.write_bytes({content})")
    done = tiny.measure(text, tmp_path / "run", replace(under, steps=2))
    assert done.failure in ("crash", "invalid") and done.value is None
    assert done.reason


LOGGED = "        trial.log(step, loss, tokens=passes * rows * trial.seq_len)\n"
GROUPS = "groups(trial.batches(rows), passes)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        pytest.param(GROUPS, "[[(mx.zeros((rows, trial.seq_len), dtype=mx.int32),) * 2]] * 3", "the script asked for no batches", id="own data"),
        pytest.param(LOGGED, "", "the script logged no steps", id="no steps"),
        pytest.param("tokens=passes", "tokens=3 * passes", "tokens were served, and the logged steps claim", id="claims more"),
        pytest.param(
            "    rows, passes = batch_shape(trial.seq_len)\n",
            "    rows, passes = batch_shape(trial.seq_len)\n    first = list(islice(trial.batches(rows), 9))\n",
            "tokens were served before the first step was logged, and that step claims 256",
            id="trains before the clock",
        ),
    ],
)  # fmt: skip
def test_steps_must_fit_the_batches_that_were_served(
    before: str, after: str, reason: str, under: Conditions, tmp_path: Path
) -> None:
    assert before in tiny.script()
    brief = replace(under, budget_seconds=0.3, compile_seconds=1.0)
    done = tiny.measure(tiny.script().replace(before, after, 1), tmp_path, brief)
    assert (done.failure, done.value) == ("invalid", None), done.reason
    assert reason in done.reason


@pytest.mark.slow
def test_padding_before_the_first_step_ends_with_the_compile_allowance(under: Conditions, tmp_path: Path) -> None:
    """The budget begins when the allowance is over, so the padded run has less of it left for training."""
    lazy = tiny.script().replace(LOGGED, f"        if step == 0:\n            import time\n            time.sleep(1.2)\n{LOGGED}", 1)  # fmt: skip
    done = tiny.measure(lazy, tmp_path, replace(under, budget_seconds=0.6, compile_seconds=0.5))
    assert done.steps == 1, done.reason
