"""A limit of another figure ends an edit as ``limit``, whatever its metric gains."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import command_line

from autoresearch_mlx.experiment import History, Measurement
from autoresearch_mlx.judge.limits import Limit
from autoresearch_mlx.lab.lab import Lab

BENCH = "from solver import X, Y\nprint(f'METRIC score={X}')\nprint(f'METRIC memory={100 + 10 * Y}')\n"
BLOCK = '\n[judge]\nmode = "margin"\nmargin = 0\n\n[[metric]]\nname = "memory"\nunit = "MB"\nlimit = %s\n'


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ('"+5 %"', "memory 130 MB is above its limit of 126 MB (+5 % against the first version's 120"),
        ("125", "memory 130 MB is above its limit of 125 MB"),
        ('"+10 %"', None),
    ],
)
def test_a_gain_that_breaks_a_limit_is_not_kept(command_lab: Lab, limit: str, said: str | None) -> None:
    root = command_lab.root
    (root / "bench.py").write_text(BENCH)
    (root / "lab.toml").write_text((root / "lab.toml").read_text() + BLOCK % limit)
    (root / "edits.jsonl").write_text('{"title": "more memory", "knobs": {"X": 2.0, "Y": 3}}\n')
    commit(root)
    done = command_line("run", "--experiments", "1", "--agent", "scripted:edits.jsonl", cwd=root)
    assert done.returncode == 0, done.stderr
    shown = " ".join(command_line("show", "1", cwd=root).stdout.split())
    assert shown.startswith("experiment 1: keep" if said is None else "experiment 1: limit"), shown
    assert said is None or said in shown


def commit(root: Path) -> None:
    from conftest import git

    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "a limit")


def run(**figures: float) -> Measurement:
    return Measurement(1.0, 42, extra=figures)


@pytest.mark.parametrize(("value", "broken"), [(89.0, True), (90.0, False), (120.0, False)])
def test_where_more_is_better_a_limit_is_the_least(value: float, broken: bool) -> None:
    limit = Limit("mutation", "max", 90.0)
    assert (limit.broken(History((), "score", "min"), [run(mutation=value)]) is not None) == broken


def test_a_figure_that_no_run_has_breaks_its_limit() -> None:
    said = Limit("memory", "min", 90.0).broken(History((), "score", "min"), [run()])
    assert said == "no run has the figure memory, which has a limit"
