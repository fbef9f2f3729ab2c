"""A run that shares goes on alone when the remote does not answer, and two runs do not measure the same edit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import command_line, git, write_command_lab
from share_cases import bare, side_by_side

from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.store.ledger import FILE, read


def night(lab: Lab, remote: Path | str, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = ("run", "--experiments", "4", "--agent", "knobs", "--share", str(remote), *more)
    return command_line(*arguments, cwd=lab.root)


def edits(lab: Lab) -> list[str]:
    (tag,) = lab.tags()
    history = read(lab.folder(tag) / FILE).history
    return [json.dumps(dict(e.knobs)) for e in history.experiments if e.number > 0 and e.measurements]


@pytest.mark.slow
def test_two_nights_at_once_measure_no_edit_twice(tmp_path: Path) -> None:
    remote, first = bare(tmp_path / "remote.git"), write_command_lab(tmp_path / "first")
    subprocess.run(["git", "clone", "--quiet", str(first.root), str(tmp_path / "second")], check=True)
    second = Lab(tmp_path / "second")
    for done in side_by_side(lambda: night(first, remote), lambda: night(second, remote)):
        assert done.returncode == 0, done.stderr
    assert edits(first) and edits(second) and not set(edits(first)) & set(edits(second))
    published = git(remote, "for-each-ref", "--format=%(refname)", "refs/autoresearch/share").split()
    assert len(published) == len(edits(first)) + len(edits(second))


@pytest.mark.slow
def test_a_remote_that_is_away_is_named_once_and_its_results_are_published_later(tmp_path: Path) -> None:
    lab, remote = write_command_lab(tmp_path / "lab"), tmp_path / "remote.git"
    done = night(lab, remote)
    assert done.returncode == 0 and len(edits(lab)) == 4
    assert done.stderr.count("share: ") == 1 and "the run goes on alone" in done.stderr
    bare(remote)
    done = night(lab, remote, "--lanes", "2")
    assert done.returncode == 0, done.stderr
    published = git(remote, "for-each-ref", "--format=%(refname)", "refs/autoresearch/share").split()
    assert len(published) == len(edits(lab)) > 4
