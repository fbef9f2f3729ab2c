"""The files that `gc` frees, those that it never touches, and how other commands report removed files."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from pathlib import Path

import click
import pytest
from command_runs import call, data, refused
from conftest import git
from finished_night import copied, night_in
from workspaces import workspace

from autoresearch_mlx.cli.keep import Age
from autoresearch_mlx.errors import LockedError
from autoresearch_mlx.experiment import Experiment
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.report.page import attached
from autoresearch_mlx.setup.archive.gc import Wish, tidy
from autoresearch_mlx.store.freed import Item
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import FILE, Ledger, read
from autoresearch_mlx.store.locks import locked
from autoresearch_mlx.store.results import RESULTS

ANY = timedelta()
EVERYTHING = Wish(ANY, refs=True, talks=True, weights=True)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return night_in(tmp_path_factory.mktemp("housekeeping"))


@pytest.fixture
def lab(night: Lab, tmp_path: Path) -> Lab:
    return copied(night, tmp_path)


def free(lab: Lab, wish: Wish, at: datetime | None = None, only_look: bool = False) -> list[Item]:
    return tidy(lab, "t", wish, at or datetime.now().astimezone(), only_look)


def names(items: list[Item], kind: str) -> set[str]:
    return {item.name for item in items if item.kind == kind}


def lost(lab: Lab) -> Experiment:
    """Return the lab's discarded experiment."""
    return next(e for e in read(lab.folder("t") / FILE).history.experiments if e.status == "discard")


def put(lab: Lab, name: str, text: str = "x" * 1000) -> Path:
    path = lab.folder("t") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.slow
def test_folders_of_runs_go_with_their_logs_but_not_the_incumbents(lab: Lab) -> None:
    before = [(lab.folder("t") / name).read_bytes() for name in (FILE, RESULTS)]
    items = free(lab, Wish(ANY))
    assert names(items, "runs") == {
        f"runs/{run}" for run in ("0000-1", "0000-2", "0000-3", "0001-1", "0002-1", "0003-1")
    }
    assert {path.name[:4] for path in (lab.folder("t") / "runs").iterdir()} == {"0005"}
    assert [(lab.folder("t") / name).read_bytes() for name in (FILE, RESULTS)] == before
    assert free(lab, Wish(ANY)) == []


@pytest.mark.slow
def test_only_what_is_old_enough_goes(lab: Lab) -> None:
    assert free(lab, Wish(timedelta(days=14))) == []
    week = (datetime.now() - timedelta(days=7)).timestamp()
    for path in (lab.folder("t") / "runs" / "0002-1", lab.folder("t") / "runs" / "0002-1" / "log.txt"):
        os.utime(path, (week, week))
    assert names(free(lab, Wish(timedelta(days=6))), "runs") == {"runs/0002-1"}
    soon = datetime.now().astimezone() + timedelta(days=15)
    assert len(names(free(lab, Wish(timedelta(days=14)), soon), "runs")) == 5


def test_a_clock_set_back_makes_nothing_old(lab: Lab) -> None:
    assert free(lab, EVERYTHING, datetime.now().astimezone() - timedelta(days=1)) == []


def test_a_dry_run_changes_nothing(lab: Lab) -> None:
    def everything() -> set[tuple[Path, int]]:
        return {(path, path.stat().st_size) for path in lab.folder("t").rglob("*")}

    before, refs = everything(), git(lab.root, "show-ref")
    assert free(lab, EVERYTHING, only_look=True)
    assert (everything(), git(lab.root, "show-ref")) == (before, refs)


def test_weights_are_counted_by_themselves_and_the_incumbents_stay_unless_asked(lab: Lab) -> None:
    for run in ("0001-1", "0005-1"):
        put(lab, f"runs/{run}/weights.safetensors")
    items = free(lab, Wish(ANY), only_look=True)
    assert [(item.name, item.bytes) for item in items if item.kind == "weights"] == [
        ("runs/0001-1/weights.safetensors", 1000)
    ]
    (log,) = (item for item in items if item.name == "runs/0001-1")
    assert log.bytes == (lab.folder("t") / "runs/0001-1/log.txt").stat().st_size
    assert "runs/0005-1/weights.safetensors" in names(free(lab, EVERYTHING), "weights")
    assert (lab.folder("t") / "runs/0005-1/log.txt").exists()


def test_refs_go_only_when_asked_and_never_those_of_the_kept(lab: Lab) -> None:
    assert names(free(lab, Wish(ANY)), "refs") == set()
    assert names(free(lab, EVERYTHING), "refs") == {f"refs/autoresearch/t/{n}" for n in (2, 3, 4)}
    there = git(lab.root, "for-each-ref", "--format=%(refname)", "refs/autoresearch").splitlines()
    assert there == [f"refs/autoresearch/t/{n}" for n in (0, 1, 5)]
    git(lab.root, "gc", "--quiet", "--prune=now")
    kept = [e.commit for e in read(lab.folder("t") / FILE).history.experiments if e.status == "keep"]
    assert {git(lab.root, "cat-file", "-t", commit or "") for commit in kept} == {"commit"}


def test_what_a_kept_experiment_was_made_on_keeps_its_ref(lab: Lab) -> None:
    """A proposal may start from any version, also from one that lost."""
    ledger = Ledger(lab.folder("t"))
    record = dict(read(ledger.path).records[-1]) | {"number": 6, "base": lost(lab).commit}
    ledger.append("finished", **{k: v for k, v in record.items() if k not in ("schema", "event")})
    assert names(free(lab, EVERYTHING), "refs") == {f"refs/autoresearch/t/{n}" for n in (3, 4)}


def test_what_is_left_open_by_a_death_stays_for_the_next_run(lab: Lab) -> None:
    put(lab, "runs/0006-1/log.txt")
    Ledger(lab.folder("t")).append("started", number=6, base=lost(lab).commit, time=now())
    items = free(lab, EVERYTHING)
    assert "runs/0006-1" not in names(items, "runs")
    assert "refs/autoresearch/t/2" not in names(items, "refs")


def test_a_ref_that_somebody_else_moved_stays(lab: Lab) -> None:
    git(lab.root, "update-ref", "refs/autoresearch/t/2", "HEAD")
    assert "refs/autoresearch/t/2" not in names(free(lab, EVERYTHING), "refs")


def test_the_worktree_goes_and_is_made_anew(lab: Lab) -> None:
    ws = workspace(lab)
    ws.worktree.ensure()
    there = git(lab.root, "worktree", "list")
    assert names(free(lab, Wish(ANY)), "worktree") == {"worktree"}
    tree = ws.worktree.tree
    assert not tree.exists() and str(tree) in there and str(tree) not in git(lab.root, "worktree", "list")
    ws.worktree.ensure()
    assert "Y = 5" in (ws.worktree.tree / "solver.py").read_text()


def test_what_killed_processes_left_in_the_session_goes(lab: Lab) -> None:
    put(lab, "tmpabc/index")
    put(lab, "mine/notes.txt")
    assert names(free(lab, Wish(ANY)), "leftovers") == {"tmpabc"}
    assert (lab.folder("t") / "mine/notes.txt").exists()


def test_a_session_in_use_is_left_alone(lab: Lab) -> None:
    with locked(lab.folder("t")):
        with pytest.raises(LockedError, match=f"in use by process {os.getpid()}"):
            free(lab, EVERYTHING)
        done = call(lab, "gc", "--all", "--older-than", "0")
        assert (done.returncode, done.stdout) == (0, "nothing to free\n") and "nothing was removed" in done.stderr


# --- the command, and the commands that read afterwards


def test_the_command_tells_what_it_freed_by_kind(lab: Lab) -> None:
    told = data(lab, "gc", "--older-than", "0", "--dry-run")
    assert told["dry_run"] is True
    assert told["sessions"][0]["items"][0]["name"] == "runs/0000-1"
    assert told["bytes"] == sum(item["bytes"] for item in told["sessions"][0]["items"])
    done = call(lab, "gc", "--older-than", "0", "--refs")
    assert re.search(r"^session t: freed 10 items, [\d.]+ k?B$", done.stdout, re.MULTILINE)
    assert re.search(r"^  6 +\d+ B +folders of runs", done.stdout, re.MULTILINE)
    assert re.search(r"^  3 +- +refs of experiments", done.stdout, re.MULTILINE)
    assert "`git gc`" in done.stderr  # git removes the commits later
    assert call(lab, "gc", "--older-than", "0").stdout == "session t: nothing to free\n"
    kept = "session t: nothing older than 14 days to free; --older-than 0 ignores the age\n"
    assert call(lab, "gc", "--dry-run").stdout == kept


def test_readers_say_what_was_removed(lab: Lab) -> None:
    put(lab, "talks/0002-1.json", '{"experiment": 2}\n')
    before = call(lab, "log", "--json").stdout
    free(lab, EVERYTHING)
    shown = call(lab, "show", "2").stdout
    assert "log tail (runs/0002-1/log.txt)\n(removed by gc on 20" in shown
    assert "+X = 9.0" in shown  # git still has the commit
    git(lab.root, "gc", "--quiet", "--prune=now")
    shown = call(lab, "show", "2")
    assert shown.returncode == 0
    assert re.search(
        r"diff against \w+\n\(commit \w{7} is no longer in the repository: its ref was removed by gc", shown.stdout
    )
    for command in (["diff", "2"], ["diff", "0", "2"]):
        assert "its ref was removed by gc on 20" in refused(lab, *command)
    assert "was removed by gc on 20" in refused(lab, "show", "2", "--prompt")
    assert call(lab, "log", "--json").stdout == before
    assert "removed by gc on 20" in (attached.log_of(lab.folder("t"), lost(lab)) or "")


@pytest.mark.parametrize("age", ["", "14", "d", "-1d", "1.5d", "1y", "٣d", "99999999w"])
def test_an_age_that_is_none_is_a_usage_error(age: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is not an age|more than a hundred years"):
        Age().convert(age, None, None)
    assert Age().convert("36h", None, None) == timedelta(days=1.5)
