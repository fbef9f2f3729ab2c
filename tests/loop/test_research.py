"""The loop on a target that takes milliseconds: real git, a real ledger, real child processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Recorder, Steps, git, opened, write_command_lab

from autoresearch_mlx.errors import LabError, WorkspaceError
from autoresearch_mlx.experiment import Context, Proposal
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import experiment, recover, research
from autoresearch_mlx.store.ledger import FILE, read


def statuses(lab: Lab, tag: str) -> list[str]:
    return [e.status for e in read(lab.folder(tag) / FILE).history.experiments]


def test_better_edits_move_the_branch_and_worse_ones_leave_it(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        reason = research(session, Steps({"X": 3.5}, {"X": 9.0}, {"Y": 5}), Policy(experiments=3), screen)
        history = session.journal().history
    assert reason == "3 experiments done, as asked"
    assert [(e.number, e.status, e.value) for e in history.experiments] == [
        (0, "keep", 11.0),
        (1, "keep", 10.25),
        (2, "discard", 46.0),
        (3, "keep", 1.25),
    ]
    assert history.experiments[2].base == history.experiments[1].commit
    assert git(command_lab.root, "rev-parse", "autoresearch/t") == history.experiments[3].commit
    assert git(command_lab.root, "show", "autoresearch/t:solver.py").splitlines()[0].startswith("X = 3.5")


def test_every_attempt_is_a_commit_that_differs_in_editable_files_only(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps({"X": 9.0}, "X = (\n"), Policy(experiments=1), screen)
    assert "X = 9.0" in git(command_lab.root, "show", "refs/autoresearch/t/1:solver.py")
    changed = git(command_lab.root, "diff", "--name-only", "autoresearch/t", "refs/autoresearch/t/1")
    assert changed == "solver.py"


def test_the_users_checkout_is_untouched(command_lab: Lab, screen: Recorder) -> None:
    (command_lab.root / "solver.py").write_text("# my unsaved thoughts\nX = 7.0\nY = 1\n")
    (command_lab.root / "notes.txt").write_text("mine\n")
    before = snapshot(command_lab.root)
    with opened(command_lab, "t") as session:
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
    assert snapshot(command_lab.root) == before


def snapshot(root: Path) -> Sequence[object]:
    ours = root / ".autoresearch"
    files = {
        p: p.read_bytes() for p in root.rglob("*") if p.is_file() and ours not in p.parents and ".git" not in p.parts
    }
    return (
        files,
        git(root, "status", "--porcelain"),
        git(root, "rev-parse", "HEAD"),
        git(root, "branch", "--show-current"),
    )


def test_a_failing_program_is_a_status_with_its_last_words(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps("X = 1 / 0\nY = 2\n", "Y = 5\nX = float('nan')\n"), Policy(experiments=2), screen)
        crash, invalid = session.journal().history.experiments[1:]
    assert (crash.status, crash.reason) == ("crash", "ZeroDivisionError: division by zero")
    assert (invalid.status, invalid.value) == ("invalid", None)
    assert "not a finite number" in invalid.reason


def test_an_edit_that_changes_nothing_or_was_measured_before_is_not_run(command_lab: Lab, screen: Recorder) -> None:
    comment = "# only words\nX = 4.0\nY = 2\n"
    with opened(command_lab, "t", agent__repairs=0) as session:
        research(session, Steps(comment, {"X": 9.0}, {"X": 9.0}), Policy(experiments=3), screen)
        same, _, again = session.journal().history.experiments[1:]
    assert (same.status, same.measurements) == ("duplicate", ())
    assert again.status == "duplicate"
    assert again.reason == "the same as experiment 2 (discard, score 46)"


def test_what_does_not_parse_goes_back_to_its_author_with_the_reason(command_lab: Lab, screen: Recorder) -> None:
    agent = Steps("X = (\n", {"X": 3.0})
    with opened(command_lab, "t") as session:
        research(session, agent, Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert done.status == "keep"
    assert "solver.py does not parse" in agent.contexts[1].feedback[0]


def test_repairs_are_bounded_and_the_refused_text_stays_readable(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t", agent__repairs=1) as session:
        research(session, Steps("X = (\n", "X = [\n", {"X": 3.0}), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert (done.status, done.measurements) == ("invalid", ())
    assert git(command_lab.root, "show", "refs/autoresearch/t/1:solver.py") == "X = ["


def test_only_editable_files_may_change(command_lab: Lab, screen: Recorder) -> None:
    class Cheat:
        name = "cheat"

        def propose(self, context: Context) -> Proposal:
            return Proposal("own score", {"bench.py": "print('METRIC score=0')\n"}, agent="cheat")

    with opened(command_lab, "t") as session:
        research(session, Cheat(), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert done.status == "invalid"
    assert done.reason == "bench.py may not be edited; only solver.py may"


def test_an_agent_whose_code_fails_ends_the_run_in_words(command_lab: Lab, screen: Recorder) -> None:
    class Broken:
        name = "broken"

        def propose(self, context: Context) -> Proposal:
            raise KeyError("prompt")

    with opened(command_lab, "t") as session:
        reason = research(session, Broken(), Policy(experiments=1), screen)
    assert reason == "the agent broken failed: KeyError: 'prompt'"
    assert screen.said == [
        f"no proposal: {reason}\nhint: correct the agent's code; it gets an autoresearch_mlx.experiment.Context"
    ]
    assert statuses(command_lab, "t") == ["keep"]


def test_a_file_in_the_place_of_a_folder_is_refused(command_lab: Lab, screen: Recorder) -> None:
    class Nested:
        name = "nested"

        def propose(self, context: Context) -> Proposal:
            return Proposal("nested", {"solver.py/x.py": "X = 1\n"}, agent=self.name)

    with opened(command_lab, "t", target__editable=("**/*.py",)) as session:
        research(session, Nested(), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert (done.status, done.reason) == ("invalid", "solver.py/x.py cannot exist, because solver.py is a file")


@pytest.mark.slow
def test_an_agent_with_nothing_left_ends_the_run_without_an_experiment(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        assert research(session, Steps({"X": 3.0}), Policy(experiments=5), screen) == "no steps left"
    assert statuses(command_lab, "t") == ["keep", "keep"]
    with opened(command_lab, "t") as session:
        research(session, Steps({"Y": 5}), Policy(experiments=1), screen)
    assert statuses(command_lab, "t") == ["keep", "keep", "keep"]


@pytest.mark.slow
def test_a_session_goes_on_where_it_stopped(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps({"X": 3.0}), Policy(experiments=1), screen)
    agent = Steps({"Y": 5})
    with opened(command_lab) as session:
        research(session, agent, Policy(experiments=1), screen)
    assert [e.number for e in agent.contexts[0].history.experiments] == [0, 1]
    assert statuses(command_lab, "t") == ["keep", "keep", "keep"]


def test_a_death_in_mid_experiment_is_taken_up_as_interrupted(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps({"X": 3.0}), Policy(experiments=1), screen)
        incumbent = session.incumbent(session.journal().history)
        # A kill -9 leaves a started experiment, its commit and a dirty worktree.
        session.ledger.append("started", number=2, base=incumbent, time="2026-11-23T01:00:00+00:00")
        sha = session.workspace.commit(2, incumbent, {"solver.py": "X = 0.0\nY = 0\n"}, "half done\n")
        session.worker.worktree.checkout(sha)
        with session.ledger.path.open("ab") as file:
            file.write(b'{"event": "finis')
    with opened(command_lab, "t") as session:
        recover(session, screen)
        left = session.journal().history.experiments[-1]
        assert (session.worker.worktree.tree / "solver.py").read_text().startswith("X = 3.0")
    assert (left.number, left.status, left.commit, left.title) == (2, "interrupted", sha, "half done")


def test_a_death_between_the_log_and_the_branch_is_mended_from_the_log(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps({"X": 3.0}), Policy(experiments=1), screen)
        kept = session.journal().history.experiments[1]
        assert kept.commit is not None and kept.base is not None
        git(command_lab.root, "update-ref", "refs/heads/autoresearch/t", kept.base)
    with opened(command_lab, "t") as session:
        recover(session, screen)
    assert git(command_lab.root, "rev-parse", "autoresearch/t") == kept.commit


def test_a_commit_of_somebody_else_on_the_branch_stops_with_the_remedy(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps({"X": 3.0}), Policy(experiments=1), screen)
    foreign = git(command_lab.root, "commit-tree", "HEAD^{tree}", "-p", "autoresearch/t", "-m", "mine")
    git(command_lab.root, "update-ref", "refs/heads/autoresearch/t", foreign)
    with opened(command_lab, "t") as session, pytest.raises(WorkspaceError, match="somebody committed to it") as caught:
        research(session, Steps({"Y": 5}), Policy(experiments=1), screen)
    assert f"git branch mine-t {foreign[:7]}" in caught.value.hint
    assert git(command_lab.root, "rev-parse", "autoresearch/t") == foreign


@pytest.mark.slow
def test_a_deleted_worktree_is_made_again(command_lab: Lab, screen: Recorder) -> None:
    import shutil

    with opened(command_lab, "t") as session:
        research(session, Steps({"X": 3.0}), Policy(experiments=1), screen)
        shutil.rmtree(session.folder / "worktree")
    with opened(command_lab, "t") as session:
        research(session, Steps({"Y": 5}), Policy(experiments=1), screen)
    assert statuses(command_lab, "t") == ["keep", "keep", "keep"]


def test_a_worktree_without_its_link_never_leads_to_the_users_checkout(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps({"X": 3.0}), Policy(experiments=1), screen)
        (session.folder / "worktree" / ".git").unlink()
        (command_lab.root / "precious.txt").write_text("mine\n")
        with pytest.raises(WorkspaceError):
            session.worker.worktree.restore()
        session.worker.worktree.ensure()
    assert (command_lab.root / "precious.txt").read_text() == "mine\n"


def test_ctrl_c_is_logged_and_leaves_the_worktree_clean(command_lab: Lab, screen: Recorder) -> None:
    class Impatient(Recorder):
        def started(self, number: int, title: str, incumbent: float | None, eta_seconds: float | None) -> None:
            if number == 1:
                raise KeyboardInterrupt

    with opened(command_lab, "t") as session, pytest.raises(KeyboardInterrupt):
        research(session, Steps({"X": 3.0}), Policy(experiments=1), Impatient())
    assert statuses(command_lab, "t") == ["keep", "interrupted"]
    with opened(command_lab, "t") as session:
        assert (session.worker.worktree.tree / "solver.py").read_text().startswith("X = 4.0")


def test_a_baseline_that_fails_stops_the_run_and_can_be_repeated(command_lab: Lab, screen: Recorder) -> None:
    (command_lab.root / "bench.py").write_text("raise SystemExit(3)\n")
    git(command_lab.root, "commit", "-qam", "broken")
    with opened(command_lab, "t") as session, pytest.raises(LabError, match="the baseline ended as crash: exit code 3"):
        research(session, Steps({"X": 3.0}), Policy(experiments=1), screen)
    assert statuses(command_lab, "t") == ["crash"]
    with opened(command_lab, "t") as session, pytest.raises(LabError):
        research(session, Steps({"X": 3.0}), Policy(experiments=1), screen)
    assert statuses(command_lab, "t") == ["crash"]


def test_the_knobs_of_an_experiment_are_read_from_its_diff(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps({"X": 3.5, "Y": 4}), Policy(experiments=1), screen)
        done = session.journal().history.experiments[1]
    assert done.knobs == {"X": (4.0, 3.5), "Y": (2, 4)}
    assert done.gain == pytest.approx(11.0 - 2.25)


def test_results_tsv_starts_with_upstreams_columns(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps({"X": 3.5}, "X = 1 / 0\nY = 2\n"), Policy(experiments=2), screen)
        lines = (session.folder / "results.tsv").read_text().splitlines()
    assert lines[0].split("\t")[:5] == ["commit", "score", "memory_gb", "status", "description"]
    assert lines[1].split("\t")[1:5] == ["11.000000", "0.0", "keep", "baseline"]
    assert lines[3].split("\t")[1:4] == ["0.000000", "0.0", "crash"]


def test_a_maximised_metric_is_kept_when_it_grows(tmp_path: Path, screen: Recorder) -> None:
    lab = write_command_lab(tmp_path / "lab")
    with opened(lab, "t", target__direction="max") as session:
        research(session, Steps({"X": 9.0}, {"X": 5.0}), Policy(experiments=2), screen)
    assert statuses(lab, "t") == ["keep", "keep", "discard"]


def test_a_lab_in_a_subfolder_with_spaces_and_unicode_works(tmp_path: Path, screen: Recorder) -> None:
    top = tmp_path / "my répo"
    lab = write_command_lab(top / "a läb")
    (top / "a läb" / ".git").rename(top / ".git")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "moved")
    with opened(Lab(lab.root), "t") as session:
        research(session, Steps({"X": 3.5}), Policy(experiments=1), screen)
    assert statuses(lab, "t") == ["keep", "keep"]


def test_the_ledger_is_one_json_object_a_line(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        experiment_count = 2
        research(session, Steps({"X": 3.5}, {"X": 3.4}), Policy(experiments=experiment_count), screen)
        events = [json.loads(line)["event"] for line in session.ledger.path.read_text().splitlines()]
    assert events == ["session", *["started", "finished"] * 3]


def test_one_experiment_can_be_run_by_itself(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        research(session, Steps(), Policy(experiments=0), screen)
        done = experiment(session, Steps({"X": 3.0}), screen)
    assert (done.number, done.status) == (1, "keep")
    assert set(done.seconds) == {"propose", "commit", "measure"}
