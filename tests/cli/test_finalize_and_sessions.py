"""The command line makes branches of a session, lists the sessions, and chooses one."""

from __future__ import annotations

import json

import pytest
from conftest import command_line, git

from autoresearch_mlx.lab.lab import Lab


@pytest.mark.slow
def test_the_command_makes_branches_and_texts_whose_titles_are_escaped(command_lab: Lab) -> None:
    root = command_lab.root
    step = {"title": "X <script>alert(1)</script> | `x`", "axis": "x", "knobs": {"X": 3.0}}
    (root / "steps.jsonl").write_text(json.dumps(step) + "\n")
    ran = command_line("run", "--agent", "scripted:steps.jsonl", "--experiments", "1", "--tag", "t", cwd=root)
    assert ran.returncode == 0, ran.stderr
    plan = command_line("finalize", "--plan", cwd=root)
    assert "1 change; at most 8 runs" in plan.stderr and "experiment 1: X <script>" in plan.stdout
    done = command_line("finalize", cwd=root)
    assert done.returncode == 0 and "1 of 1 change is a gain on its own and has a branch" in done.stderr, done.stderr
    branch = "finalize/t/01-x-script-alert-1-script-x"
    assert f"branch {branch}" in done.stdout and git(root, "show", f"{branch}:solver.py").startswith("X = 3.0")
    text = (root / ".autoresearch" / "t" / "finalize" / f"{branch.rpartition('/')[2]}.md").read_text()
    assert "<script>" not in text.partition("```diff")[0] and "score" in text and "better by" in text
    assert command_line("finalize", "--pairs", "3", cwd=root).returncode == 2


@pytest.mark.slow
def test_sessions_are_listed_with_their_best_and_one_is_chosen(command_lab: Lab) -> None:
    root = command_lab.root
    assert "no session yet" in command_line("sessions", cwd=root).stderr
    for tag in ("one", "two"):
        assert command_line("run", "--tag", tag, "--experiments", "0", cwd=root).returncode == 0
    (root / ".autoresearch" / "one" / "ledger.jsonl").open("a").write('{"event": "started"}\n')
    shown = command_line("sessions", cwd=root).stdout.splitlines()
    assert shown[1].split()[:6] == ["*", "two", "0", "0", "score", "11"] and shown[1].endswith("idle")
    assert shown[2].split()[:2] == ["one", "0"] and "unreadable" in shown[2]
    assert command_line("switch", "three", cwd=root).returncode == 1
    assert "now use session one" in command_line("switch", "one", cwd=root).stdout
    assert [row["used_last"] for row in json.loads(command_line("sessions", "--json", cwd=root).stdout)] == [
        False,
        True,
    ]


def test_an_unknown_tag_starts_no_session(command_lab: Lab) -> None:
    for command in (("finalize",), ("certify",), ("accept", "1"), ("evaluate",)):
        done = command_line(*command, "--tag", "typo", cwd=command_lab.root)
        assert done.returncode == 1 and "there is no session typo" in done.stderr
        assert "no session yet" in command_line(*command, cwd=command_lab.root).stderr
    assert not (command_lab.root / ".autoresearch").exists()


def test_the_plan_reads_the_files_of_the_session_also_when_lab_toml_has_changed(command_lab: Lab) -> None:
    root = command_lab.root
    (root / "steps.jsonl").write_text(json.dumps({"title": "there", "knobs": {"X": 3.5}}))
    ran = command_line("run", "--agent", "scripted:steps.jsonl", "--experiments", "1", "--tag", "t", cwd=root)
    assert ran.returncode == 0, ran.stderr
    toml = root / "lab.toml"
    toml.write_text(toml.read_text().replace('["solver.py"]', '["bench.py"]'))
    plan = command_line("finalize", "--plan", cwd=root)
    assert "experiment 1: there" in plan.stdout and "undid" not in plan.stdout
    assert "1 change; at most 8 runs" in plan.stderr
