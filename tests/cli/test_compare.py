"""``compare`` from the command line: with a session, without one, and with anybody's file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import BENCH, LAB, command_line, git, write_command_lab

from autoresearch_mlx.compare.log import of_reference
from autoresearch_mlx.compare.reference import ReferenceRun, find
from autoresearch_mlx.compare.table import compare_logs, render
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import literal

GOLDEN = Path(__file__).parent / "golden"


def call(where: Path, *arguments: str, **environment: str) -> str:
    done = command_line("compare", *arguments, cwd=where, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(where: Path, *arguments: str, code: int = 1) -> str:
    done = command_line("compare", *arguments, cwd=where)
    assert (done.returncode, done.stdout) == (code, ""), done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def upstreams_row(run: ReferenceRun) -> str:
    value = "0.000000" if run.val_bpb is None else f"{run.val_bpb:.6f}"
    moves = [
        f"{name} to {literal(now)}" if was is None else f"{name} {literal(was)} -> {literal(now)}"
        for name, (was, now) in run.changes.items()
    ]
    return "\t".join([run.commit, value, f"{run.memory_gb or 0:.1f}", run.status, " + ".join(moves) or run.note])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an Apple log as its author would keep it, with upstream's five columns, and return its path."""
    path = tmp_path_factory.mktemp("nowhere") / "results.tsv"
    rows = [upstreams_row(run) for run in find("Mac-isque03").runs]
    path.write_text("\n".join(["commit\tval_bpb\tmemory_gb\tstatus\tdescription", *rows]) + "\n")
    return path


def test_an_imported_apple_log_beside_the_h100_needs_no_session(results: Path) -> None:
    text = call(results.parent, "--import", "results.tsv", "--hardware", "a Mac", COLUMNS="120")
    assert text == (GOLDEN / "imported.txt").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 120


def test_importing_a_log_gives_the_effects_that_its_table_gives(results: Path) -> None:
    told = json.loads(call(results.parent, "--import", "results.tsv", "--json"))
    own = compare_logs(of_reference(find("Mac-isque03")), of_reference(find("H100")))
    gains = [(m.there.effect.run.order, m.here.effect.run.order, m.here.effect.gain) for m in own.matches]
    assert [(m["there"]["order"], m["here"]["order"], m["here"]["gain"]) for m in told["matches"]] == gains
    assert told["agreement"]["share"] == own.agreement.share
    assert told["here"]["noise"]["estimate"] is True


def test_two_reference_logs_beside_each_other() -> None:
    text = render(compare_logs(of_reference(find("M4Pro-reowens")), of_reference(find("H100"))), 160)
    assert text == (GOLDEN / "apple_log.txt").read_text(encoding="utf-8").removesuffix("\n")


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_every_width_is_kept(width: int) -> None:
    there = of_reference(find("H100-mar7"))
    for name in ("M2Pro-sebasmos", "M4-pr24", "H100"):
        text = render(compare_logs(of_reference(find(name)), there), width)
        assert max(map(len, text.splitlines())) <= width


def test_several_logs_are_laid_beside_one(results: Path) -> None:
    told = json.loads(
        call(results.parent, "--import", "results.tsv", "--with", "H100", "--with", "A100-belindamo", "--json")
    )
    assert [each["reference"] for each in told["comparisons"]] == ["H100", "A100-belindamo"]


def test_the_list_names_every_log(results: Path) -> None:
    assert "M4Pro-reowens" in call(results.parent, "--list")
    rows = json.loads(call(results.parent, "--list", "--json"))
    assert {"name": "H100", "runs": 126, "comparable": 126}.items() <= rows[0].items()


def test_what_cannot_be_is_said_with_the_next_step(results: Path) -> None:
    assert "no lab here" in refused(results.parent)
    assert "no lab here" in refused(results.parent, "--import", "results.tsv", "--queue")
    assert "did you mean M2Pro-sebasmos" in refused(results.parent, "--with", "m2pro-sebasmo")
    assert "cannot read" in refused(results.parent, "--import", "nosuch.tsv")
    assert "--hardware" in refused(results.parent, "--hardware", "M9", code=2)
    assert "--alone" in refused(results.parent, "--alone", "--queue", code=2)


def bits_lab(root: Path) -> Lab:
    """Return a command lab whose metric is called val_bpb."""
    lab = write_command_lab(root)
    (root / "lab.toml").write_text(LAB.format(python=sys.executable).replace('"score"', '"val_bpb"'))
    (root / "bench.py").write_text(BENCH.replace("score=", "val_bpb="))
    git(root, "commit", "--quiet", "-am", "bits")
    return lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    made = bits_lab(tmp_path_factory.mktemp("bits") / "lab")
    script = made.root / "solver.py"
    assert command_line("run", "--tag", "t", "--experiments", "0", cwd=made.root).returncode == 0
    script.write_text("X = 3.5\nY = 2\n\n\ndef mlp():\n    return X\n")
    done = command_line("try", "-m", "a walk in the park", cwd=made.root)
    assert done.returncode == 0, done.stderr
    return made


def document(lab: Lab, *arguments: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(call(lab.root, *arguments, "--json"))
    return told


@pytest.mark.slow
def test_the_axis_of_code_comes_from_its_diff_and_not_from_its_title(lab: Lab) -> None:
    tried = [row["axis"] for row in document(lab)["axes"] if row["here"]]
    assert tried == ["mlp"]


@pytest.mark.slow
def test_the_session_stands_beside_an_imported_log(lab: Lab, results: Path) -> None:
    told = document(lab, "--import", str(results))
    assert (told["there"]["experiments"], told["here"]["experiments"]) == (41, 2)
    alone = document(lab, "--import", str(results), "--alone")
    assert (alone["there"]["experiments"], alone["here"]["experiments"]) == (126, 41)


def test_a_bad_file_writes_nothing(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "bad.tsv").write_text("commit\tval_bpb\tstatus\tdescription\na\tx\tkeep\tb\n")
    refused(lab.root, "--import", str(tmp_path / "bad.tsv"), "--queue")
    assert not (lab.folder("t") / "ideas.jsonl").exists()


def test_queue_puts_the_winners_into_the_backlog_once(lab: Lab) -> None:
    wanted = len(document(lab)["untried"])
    done = command_line("compare", "--queue", cwd=lab.root)
    assert f"queued {wanted} of {wanted} winners" in done.stderr, done.stderr
    ideas = command_line("ideas", "--json", cwd=lab.root).stdout
    assert len(json.loads(ideas)) == wanted
    again = command_line("compare", "--queue", cwd=lab.root)
    assert f"queued 0 of {wanted} winners" in again.stderr


def test_queue_is_refused_for_another_metric(tmp_path: Path) -> None:
    score = write_command_lab(tmp_path / "score")
    assert command_line("run", "--tag", "t", "--experiments", "0", cwd=score.root).returncode == 0
    done = command_line("compare", "--queue", cwd=score.root)
    assert done.returncode == 1 and "this session measures score" in done.stderr
