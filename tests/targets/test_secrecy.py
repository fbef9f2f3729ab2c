"""The edited code cannot read the text of the held-out rows; if that is not possible, nothing is certified."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny
from conftest import command_line, opened

from autoresearch_mlx.experiment import Assignment
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.targets.corpus import stdlib
from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.targets.pretrain.secrecy import secrecy_of
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.runner import python_command
from autoresearch_mlx.trial.sandbox.child_permissions import training_permissions
from autoresearch_mlx.trial.sandbox.detect import Sandbox, find_sandbox
from autoresearch_mlx.trial.sandbox.permissions import Permissions, spared
from autoresearch_mlx.trial.sandbox.selftest import check_sandbox

LIBRARY = Path(sysconfig.get_path("stdlib"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def corpus(cache: Path) -> Corpus:
    return tiny.corpus(cache)


def made_of(corpus: Corpus, source: str, **detail: Any) -> Corpus:
    return replace(corpus, manifest=replace(corpus.manifest, source=source, source_detail=detail))


@pytest.fixture(scope="module")
def closed_library(corpus: Corpus, cache: Path) -> Conditions:
    secrecy = secrecy_of(made_of(corpus, "stdlib", closed=True), Lab(cache))
    assert secrecy.open_because is None
    return tiny.conditions(corpus, cache, closed=secrecy.closed, hidden_rows=corpus.path("hidden"))


@pytest.mark.slow
def test_the_probe_shows_that_the_text_is_closed_and_that_mlx_still_works(closed_library: Conditions) -> None:
    done = check_sandbox(sandbox(), closed_library)
    assert done.holds, done.words()
    tried = [name for name, ok, _ in done.findings if ok and "the text of held-out rows" in name]
    assert {name.partition(":")[0] for name in tried} == {"training", "evaluation"}
    assert len(tried) >= 2 * len([name for name in stdlib.CLOSED if (LIBRARY / name).is_dir()])


@pytest.mark.slow
def test_a_sandbox_that_leaves_the_text_open_does_not_hold(closed_library: Conditions) -> None:
    class Open(Sandbox):
        def wrap(self, command: Sequence[str], permissions: Permissions) -> list[str]:
            return super().wrap(command, replace(permissions, closed=()))

    found = sandbox()
    done = check_sandbox(Open(found.kind, found.words), closed_library)
    assert not done.holds and "the text of held-out rows: works, but must be denied" in done.words()


REBUILD = """\
import gzip, importlib, json, linecache, os, pkgutil, sys
library = sys.argv[1]
def of_files():
    for name in ("idlelib", "pydoc_data", "test", "tkinter"):
        for folder, _, files in os.walk(os.path.join(library, name)):
            for file in files[:5]:
                yield open(os.path.join(folder, file), "rb").read(1)
def of_another_path():
    yield open(f"/proc/self/root/{library}/idlelib/idle.py", "rb").read(1)
def of_relative_path():
    os.chdir(library)
    yield open("./idlelib/../idlelib/idle.py", "rb").read(1)
def of_import():
    yield pkgutil.get_data("idlelib", "idle.py")[:1]
def of_lines():
    yield from linecache.getlines(os.path.join(library, "idlelib", "idle.py"))
def of_folder():
    folder = os.open(library, os.O_RDONLY)
    yield os.read(os.open("idlelib/idle.py", os.O_RDONLY, dir_fd=folder), 1)
for way in (of_files, of_another_path, of_relative_path, of_import, of_lines, of_folder):
    try:
        print(json.dumps([way.__name__, len(list(way()))]))
    except (OSError, ImportError) as error:
        print(json.dumps([way.__name__, 0]))
import mlx.core, numpy, json.decoder
print(json.dumps(["of the open library", len(open(os.path.join(library, "json", "decoder.py")).read(9))]))
"""


def test_no_way_leads_to_the_text_of_the_library(closed_library: Conditions, tmp_path: Path) -> None:
    assignment = Assignment(tmp_path / "tree", tmp_path / "run", 0, lambda progress: None)
    for folder in (assignment.tree, assignment.folder):
        folder.mkdir()
    command = sandbox().wrap(
        python_command("-c", REBUILD, str(LIBRARY)), training_permissions(closed_library, assignment)
    )
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=assignment.folder).stdout
    found = dict(json.loads(line) for line in out.splitlines())
    assert found.pop("of the open library") == 9
    assert len(found) == 6 and set(found.values()) == {0}


def test_rows_of_an_older_version_lie_open(corpus: Corpus, cache: Path) -> None:
    assert "Python's library" in str(secrecy_of(made_of(corpus, "stdlib"), Lab(cache)).open_because)


def test_a_folder_is_closed_with_what_its_links_lead_to(corpus: Corpus, tmp_path: Path) -> None:
    texts, lab = tmp_path / "texts", tmp_path / "lab"
    for folder in (texts, lab):
        folder.mkdir()
    (texts / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    (texts / "b.txt").symlink_to(tmp_path / "b.txt")
    found = secrecy_of(made_of(corpus, "folder", path=str(texts)), Lab(lab))
    assert (found.closed, found.open_because) == ((texts, tmp_path / "b.txt"), None)


def test_a_folder_in_the_lab_is_closed_in_the_worktree_too(corpus: Corpus, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "lab" / "texts").mkdir(parents=True)
    found = secrecy_of(made_of(corpus, "folder", path=str(tmp_path / "lab" / "texts")), Lab(tmp_path / "lab"))
    assert (found.in_tree, found.open_because) == (("texts",), None)
    tree = tmp_path / "worktree"
    (tree / "texts").mkdir(parents=True)
    under = tiny.conditions(corpus, cache, closed=found.closed, closed_in_tree=found.in_tree)
    permissions = training_permissions(under, Assignment(tree, tmp_path, 0, lambda progress: None))
    assert permissions.reads(tree / "train_mlx.py") and not permissions.reads(tree / "texts" / "a.txt")


@pytest.mark.parametrize("text", ["the lab itself", "above the lab", "this package", "above Python"])
def test_text_that_cannot_be_closed_is_for_demonstration(text: str, corpus: Corpus, tmp_path: Path) -> None:
    (lab := tmp_path / "lab").mkdir()
    places = {
        "the lab itself": lab,
        "above the lab": tmp_path,
        "this package": tiny.CODE,
        "above Python": Path(sys.prefix),
    }
    found = secrecy_of(made_of(corpus, "folder", path=str(places[text].resolve())), Lab(lab))
    assert found.closed == () and "the folder of the text" in str(found.open_because)


@pytest.mark.slow
def test_demonstration_text_is_said_and_not_certified(tmp_path: Path) -> None:
    lab = tiny.lab(tmp_path / "lab", tiny.settings(0.5).replace("{text}", str(tiny.CODE)))
    with opened(lab, "t"):
        pass
    done = command_line("certify", cwd=lab.root)
    assert done.returncode != 0
    assert "demonstration text, which cannot be certified: Python, the rows or the lab lie in" in done.stderr
    assert "error: this is demonstration text" in done.stderr
    ledger = next((lab.root / ".autoresearch").glob("*/ledger.jsonl"))
    assert "text_closed" not in json.loads(ledger.read_text().splitlines()[0])["conditions"]


def test_what_is_left_of_a_folder_when_a_part_is_taken_out(tmp_path: Path) -> None:
    for name in ("a/secret", "a/open", "b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "secret")
    left = list(spared(tmp_path, [tmp_path / "a" / "secret"]))
    a = tmp_path / "a"
    assert left == [(tmp_path, False), (a, False), (a / "open", True), (tmp_path / "b", True)]
    assert list(spared(tmp_path / "b", [a])) == [(tmp_path / "b", True)]
    assert list(spared(a / "secret", [a])) == []


def sandbox() -> Sandbox:
    found = find_sandbox()
    assert isinstance(found, Sandbox), found
    return found
