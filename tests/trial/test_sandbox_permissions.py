"""Which files and folders a child process may use."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import autoresearch_mlx
from autoresearch_mlx.experiment import Assignment
from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.sandbox.child_permissions import evaluation_permissions, training_permissions
from autoresearch_mlx.trial.sandbox.permissions import (
    Permissions,
    permissions_from_json,
    preloaded,
    private_tmp,
    real,
    without_secrets,
)


@pytest.fixture
def assignment(tmp_path: Path) -> Assignment:
    made = Assignment(tmp_path / "worktree" / "lab", tmp_path / "runs" / "0001-1", 42, lambda progress: None)
    made.tree.mkdir(parents=True)
    made.folder.mkdir(parents=True)
    (made.folder / "weights.safetensors").touch()
    return made


def test_training_reads_its_tree_and_no_rows(under: Conditions, corpus: Corpus, assignment: Assignment) -> None:
    permissions = training_permissions(under, assignment)
    assert permissions.reads(assignment.tree / "train_mlx.py")
    assert permissions.write == (assignment.folder.resolve(),)
    rows = [corpus.path(name) for name in ("train", "val", "hidden")]
    for secret in (*rows, Path.home(), assignment.folder.parent, Path("/")):
        assert not permissions.reads(secret)
    assert not permissions.network


def test_the_model_under_evaluation_reads_the_weights_and_no_rows_and_writes_to_its_temporary_folder_only(
    under: Conditions, corpus: Corpus, assignment: Assignment
) -> None:
    permissions = evaluation_permissions(under, assignment, assignment.folder / "tmp")
    for needed in (assignment.tree / "train_mlx.py", assignment.folder / "weights.safetensors"):
        assert permissions.reads(needed)
    for closed in (corpus.path("train"), corpus.path("val"), corpus.path("hidden"), assignment.folder / "log.txt"):
        assert not permissions.reads(closed)
    assert permissions.write == (assignment.folder.resolve() / "tmp",)


def test_both_read_this_python_and_this_package(under: Conditions, assignment: Assignment) -> None:
    for permissions in (
        training_permissions(under, assignment),
        evaluation_permissions(under, assignment, assignment.folder / "tmp"),
    ):
        assert permissions.reads(Path(sys.prefix) / "pyvenv.cfg")
        assert permissions.reads(Path(sys.base_prefix) / "lib")
        assert permissions.reads(Path(autoresearch_mlx.__file__))


def test_a_gpu_needs_no_second_process_and_a_cpu_a_compiler(under: Conditions, assignment: Assignment) -> None:
    assert training_permissions(replace(under, device="gpu"), assignment).processes == 1
    on_cpu = training_permissions(under, assignment)
    assert on_cpu.processes is not None and on_cpu.processes > 1
    assert not on_cpu.gpu


def test_paths_are_real_each_once_and_those_that_do_not_exist_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    paths = [tmp_path / "a" / "b", tmp_path / "link", tmp_path / "a", tmp_path / "none"]
    assert real(paths) == ((tmp_path / "a").resolve(),)


def test_a_link_out_of_an_allowed_folder_is_not_allowed(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "secret").touch()
    (tmp_path / "open" / "link").symlink_to(tmp_path / "secret")
    permissions = Permissions(real([tmp_path / "open"]), ())
    assert not permissions.reads(tmp_path / "open" / "link")
    assert permissions.reads(tmp_path / "open" / "other")


def test_a_policy_travels_as_json(under: Conditions, assignment: Assignment) -> None:
    odd = Path('/a "b"/\\c/ü')
    permissions = replace(training_permissions(under, assignment), memory_bytes=2**30, listed=(odd,), leave_group=True)
    assert permissions_from_json(permissions.to_json()) == permissions


def test_the_preloaded_blas_is_read(tmp_path: Path) -> None:
    assert set(preloaded({"LD_PRELOAD": "/opt/a.so:/opt/b.so libc.so"})) >= {Path("/opt/a.so"), Path("/opt/b.so")}


def test_the_temporary_folder_is_new_and_its_owners_only(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "left").touch()
    variables = private_tmp(tmp_path)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert (tmp_path / "tmp").stat().st_mode & 0o777 == 0o700
    assert variables["TMPDIR"] == str(tmp_path.resolve() / "tmp")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_whatever_stands_in_the_temporary_folders_place_is_removed(kind: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").touch()
    if kind == "file":
        (tmp_path / "tmp").touch()
    else:
        (tmp_path / "tmp").symlink_to(tmp_path / "elsewhere")
    private_tmp(tmp_path)
    assert (tmp_path / "tmp").is_dir() and not (tmp_path / "tmp").is_symlink()
    assert (tmp_path / "elsewhere" / "mine").exists()


def test_keys_and_tokens_do_not_travel_by_the_environment() -> None:
    secret = ["OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "MY_APIKEY", "GOOGLE_CREDENTIALS"]
    plain = ["PATH", "TOKENIZERS_PARALLELISM", "KEYBOARD", "MONKEYS", "OPENBLAS_NUM_THREADS", "AUTORESEARCH_TRAIN_SPEC"]
    assert set(without_secrets(dict.fromkeys(secret + plain, "x"))) == set(plain)
