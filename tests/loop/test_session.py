"""A session is opened completely or not at all, and measures under one set of conditions from first to last."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Recorder, git, opened, write_command_lab

from autoresearch_mlx.errors import ConfigError, LabError, LockedError, WorkspaceError
from autoresearch_mlx.experiment import Context, Experiment, Proposal
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import read_knobs, set_knobs
from autoresearch_mlx.loop.measure import measure
from autoresearch_mlx.loop.research import baseline, experiment, recover
from autoresearch_mlx.loop.session import preset_text
from autoresearch_mlx.store.ledger import FILE, Ledger


def begin(lab: Lab, screen: Recorder, **options: Any) -> None:
    with opened(lab, "t", **options) as session:
        recover(session, screen)
        baseline(session, screen)


def add_to_settings(lab: Lab, text: str) -> None:
    with (lab.root / "lab.toml").open("a") as file:
        file.write(text)


def test_the_first_line_of_the_ledger_tells_what_is_measured_and_how(command_lab: Lab) -> None:
    with opened(command_lab, "t", seed=7, judge__margin=0.25) as session:
        record = session.journal().session
    assert {k: record[k] for k in ("tag", "branch", "target", "metric", "direction", "editable", "seed", "margin")} == {
        "tag": "t",
        "branch": "autoresearch/t",
        "target": "command",
        "metric": "score",
        "direction": "min",
        "editable": ["solver.py"],
        "seed": 7,
        "margin": 0.25,
    }
    assert record["start"] == git(command_lab.root, "rev-parse", "HEAD")
    assert record["conditions"]["run"].endswith("bench.py")


def test_without_a_tag_the_last_session_goes_on(command_lab: Lab) -> None:
    with opened(command_lab, "one"):
        pass
    with opened(command_lab, "two"):
        pass
    with opened(command_lab) as session:
        assert session.tag == "two"
    with opened(command_lab, "one"):
        pass
    with opened(command_lab) as session:
        assert session.tag == "one"


@pytest.mark.parametrize(
    "tag",
    ["../outside", "a/b", "a b", "-x", ".hidden", "x.lock", "a..b", "x.", "ümlaut", "a\nb", "/abs", "x~1", "@{u}"],
)
def test_a_tag_that_cannot_name_a_folder_and_a_branch_is_refused_before_anything_is_made(
    command_lab: Lab, tag: str
) -> None:
    with pytest.raises(ConfigError, match="cannot name a session") as caught, opened(command_lab, tag):
        pass
    assert "--tag" in caught.value.hint
    assert not command_lab.state.exists()


@pytest.mark.parametrize("tag", ["nov23", "nov23-2", "A_b.c", "7"])
def test_ordinary_tags_are_taken(command_lab: Lab, tag: str) -> None:
    with opened(command_lab, tag) as session:
        assert session.workspace.branch == f"autoresearch/{tag}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target__metric": "seconds"}, "target.metric = score, but the command line says seconds"),
        ({"target__direction": "max"}, "target.direction = min, but the command line says max"),
        ({"target__run": "true"}, "target.run = "),
        ({"target__guard": "true"}, "target.guard = None"),
        ({"target__pattern": "x"}, "target.pattern = None"),
        ({"target__timeout_seconds": 5.0}, "target.timeout_seconds = 600.0"),
        ({"seed": 7}, "seed = 42"),
    ],
)
def test_conditions_cannot_change_in_the_middle(
    command_lab: Lab, screen: Recorder, options: dict[str, Any], said: str
) -> None:
    begin(command_lab, screen)
    with pytest.raises(ConfigError) as caught, opened(command_lab, "t", **options):
        pass
    assert said in str(caught.value)
    assert "--tag" in caught.value.hint
    with opened(command_lab, "u", **options) as session:
        assert session.tag == "u"


def test_the_kind_of_target_cannot_change_either(command_lab: Lab, screen: Recorder) -> None:
    begin(command_lab, screen)
    (command_lab.root / "lab.toml").write_text("")
    with (
        pytest.raises(ConfigError, match="has the target command, but the settings say pretrain"),
        opened(command_lab, "t"),
    ):
        pass


def test_a_metric_that_is_no_longer_in_the_settings_stays_the_sessions(command_lab: Lab, screen: Recorder) -> None:
    begin(command_lab, screen)
    settings = command_lab.root / "lab.toml"
    settings.write_text(settings.read_text().replace('metric = "score"', ""))
    with opened(command_lab, "t") as session:
        assert session.target.metric == "score"


def test_the_same_value_said_again_and_auto_change_nothing(command_lab: Lab, screen: Recorder) -> None:
    begin(command_lab, screen)
    with opened(command_lab, "t", seed=42, target__metric="score", budget__seconds="auto") as session:
        assert session.seed == 42


def test_the_margin_and_the_repairs_are_the_settings_of_today(command_lab: Lab, screen: Recorder) -> None:
    begin(command_lab, screen, judge__margin=0.25)
    with opened(command_lab, "t") as session:
        assert (session.judge.margin, session.repairs) == (0.25, 2)
    with opened(command_lab, "t", judge__margin=0.5, agent__repairs=0) as session:
        assert (session.judge.margin, session.repairs) == (0.5, 0)


def test_one_process_at_a_time(command_lab: Lab) -> None:
    said = f"in use by process {os.getpid()}"
    with opened(command_lab, "t"), pytest.raises(LockedError, match=said), opened(command_lab, "t"):
        pass
    with opened(command_lab, "t"):
        pass


def test_a_branch_of_a_session_whose_ledger_is_gone_is_not_taken_over(command_lab: Lab, screen: Recorder) -> None:
    begin(command_lab, screen)
    shutil.rmtree(command_lab.state)
    with (
        pytest.raises(LabError, match=r"the tag t is taken .* no session of this lab made it") as caught,
        opened(command_lab, "t"),
    ):
        pass
    assert "another --tag" in caught.value.hint and "git branch" not in caught.value.hint


@pytest.mark.parametrize("left", [b"", b'{"schema": 1, "event": "sess'])
def test_a_death_while_the_session_was_begun_leaves_nothing_in_the_way(command_lab: Lab, left: bytes) -> None:
    command_lab.folder("t").mkdir(parents=True)
    (command_lab.folder("t") / FILE).write_bytes(left)
    with opened(command_lab, "t") as session:
        assert session.journal().session["tag"] == "t"


def test_outside_of_a_repository(tmp_path: Path) -> None:
    lab = write_command_lab(tmp_path / "lab")
    shutil.rmtree(lab.root / ".git")
    with pytest.raises(WorkspaceError, match="is not in a git checkout"), opened(lab, "t"):
        pass


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    lab = write_command_lab(tmp_path / "lab")
    shutil.rmtree(lab.root / ".git")
    git(lab.root, "init", "-q")
    with pytest.raises(LabError, match="has no commit yet") as caught, opened(lab, "t"):
        pass
    assert "git commit" in caught.value.hint


def test_an_editable_file_that_was_never_committed_is_named(command_lab: Lab) -> None:
    (command_lab.root / "new.py").write_text("X = 1\n")
    missing = pytest.raises(LabError, match=r"no file that matches new\.py is in commit")
    with missing as caught, opened(command_lab, "t", target__editable=("new.py",)):
        pass
    assert "git add new.py" in caught.value.hint
    assert not (command_lab.folder("t") / FILE).exists(), "no session was begun"
    assert git(command_lab.root, "branch", "--list", "autoresearch/*") == ""


@pytest.mark.parametrize(
    ("kind", "said", "remedy"),
    [("link", "is a symbolic link", "to which the link leads"), ("module", "is a submodule", "inside the submodule")],
)
def test_why_an_editable_file_cannot_be_edited_is_told(command_lab: Lab, kind: str, said: str, remedy: str) -> None:
    if kind == "link":
        (command_lab.root / "other").symlink_to("solver.py")
        git(command_lab.root, "add", "other")
    else:
        git(
            command_lab.root,
            "update-index",
            "--add",
            "--cacheinfo",
            f"160000,{git(command_lab.root, 'rev-parse', 'HEAD')},other",
        )
    git(command_lab.root, "commit", "-q", "-m", kind)
    editable = ("other",) if kind == "link" else ("other/solver.py",)
    refused = pytest.raises(LabError, match=said)
    with refused as caught, opened(command_lab, "t", target__editable=editable):
        pass
    assert remedy in caught.value.hint


def test_each_measurement_has_its_own_folder_seed_and_log(command_lab: Lab, screen: Recorder) -> None:
    with opened(command_lab, "t") as session:
        recover(session, screen)
        for run in (1, 2, 1):
            measured = measure(session, session.worker, session.start, 3, run, screen.progress)
            assert measured.value == 11.0
            assert measured.seed == 42 + run - 1
            assert measured.log == f"runs/0003-{run}/log.txt"
            assert (session.folder / measured.log).read_text().count("METRIC score") == 1


def test_the_opening_line_names_session_branch_and_metric(command_lab: Lab) -> None:
    with opened(command_lab, "t") as session:
        assert session.opening().startswith("session t on branch autoresearch/t: score, ")


def test_the_preset_is_written_where_the_shipped_value_still_stands() -> None:
    text = asset("train_mlx.py").read_text()
    depth, width = (read_knobs(text)[name].value for name in ("DEPTH", "ASPECT_RATIO"))
    edited = set_knobs(text, {"DEPTH": depth + 1})
    assert preset_text(text, {"DEPTH": depth + 5, "ASPECT_RATIO": width, "NO_SUCH": 3}) == set_knobs(
        text, {"DEPTH": depth + 5}
    )
    assert preset_text(edited, {"DEPTH": depth + 5}) == edited
    assert preset_text("OTHER = 1\n", {"OTHER": 2}) == "OTHER = 1\n"


class InterruptedBehindTheLog(Ledger):
    """A ledger that raises Ctrl-C when the ``finished`` line is on disk and the branch has not moved yet."""

    def finish(self, experiment: Experiment) -> None:
        super().finish(experiment)
        raise KeyboardInterrupt


def test_an_interrupt_behind_the_log_takes_no_keep_away(command_lab: Lab, screen: Recorder) -> None:
    begin(command_lab, screen)
    with opened(command_lab, "t") as session, pytest.raises(KeyboardInterrupt):
        experiment(replace(session, ledger=InterruptedBehindTheLog(session.folder)), Says(), screen)
    with opened(command_lab, "t") as session:
        recover(session, screen)
        kept = session.journal().history.experiments[1]
    assert (kept.status, kept.value) == ("keep", 1.0)
    assert git(command_lab.root, "rev-parse", "autoresearch/t") == kept.commit


class Says:
    """An agent that proposes one text for solver.py."""

    name = "says"

    def __init__(self, **proposal: Any) -> None:
        self._proposal = proposal

    def propose(self, context: Context) -> Proposal:
        return Proposal(
            **{"title": "t", "files": {"solver.py": "X = 3.0\nY = 5\n"}, "agent": self.name} | self._proposal
        )


@pytest.mark.parametrize(
    "proposal",
    [
        {"title": "half a pair \ud83d", "rationale": "\udc00", "axis": "\udfff"},
        {"title": "nul \0 and bell \a", "rationale": "\0"},
        {"title": "", "rationale": ""},
        {"title": "x" * 300_000, "rationale": "y" * 300_000},
        {"title": "試🙂\u2028é\r\ntwo lines"},
    ],
)
def test_no_words_of_an_agent_stop_the_loop(command_lab: Lab, screen: Recorder, proposal: dict[str, Any]) -> None:
    begin(command_lab, screen)
    with opened(command_lab, "t") as session:
        done = experiment(session, Says(**proposal), screen)
        assert (done.status, done.value) == ("keep", 1.0)
        assert session.journal().history.experiments[1] == done
    assert git(command_lab.root, "rev-parse", "autoresearch/t") == done.commit


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"solver.py": "X = '\ud800'\nY = 5\n"}, ""),
        ({"solver.py": "X = 3\0\n"}, "solver.py does not parse"),
        ({"solver.py": "X = " + "-" * 9000 + "1\nY = 5\n"}, "solver.py does not parse"),
        ({"solver.py\udc00": "X = 1\n"}, "may not be edited; only solver.py may"),
        ({"sub/solver.py": "X = 1\n"}, "sub/solver.py may not be edited; only solver.py may"),
        ({"./solver.py": "X = 1\n"}, "may not be edited"),
        ({"../../../solver.py": "X = 1\n"}, "may not be edited"),
        ({".git/hooks/post-checkout": "#!/bin/sh\n"}, "may not be edited"),
        ({}, "the proposal changes no file"),
    ],
)
def test_no_file_of_an_agent_stops_the_loop(
    command_lab: Lab, screen: Recorder, files: dict[str, str], reason: str
) -> None:
    begin(command_lab, screen)
    with opened(command_lab, "t", agent__repairs=0) as session:
        done = experiment(session, Says(files=files), screen)
    assert done.failed or not reason
    assert reason in done.reason
    assert git(command_lab.root, "status", "--porcelain") == ""
    assert json.loads((command_lab.folder("t") / FILE).read_text().splitlines()[-1])["status"] == done.status


def test_the_files_that_may_change_are_fixed_for_a_session(command_lab: Lab) -> None:
    with opened(command_lab, "t"):
        pass
    refused = pytest.raises(ConfigError, match=r"measures with target\.editable = \['solver\.py'\]")
    with refused, opened(command_lab, "t", target__editable=("bench.py",)):
        pass


def test_what_init_wrote_for_this_machine_is_nobodys_wish() -> None:
    text = asset("train_mlx.py").read_text()
    table = {"TOTAL_BATCH_SIZE": 2**15, "DEVICE_BATCH_SIZE": 16}
    made, smaller = preset_text(text, table), {"TOTAL_BATCH_SIZE": 2**13, "DEVICE_BATCH_SIZE": 4}
    assert preset_text(made, smaller) == made
    assert preset_text(made, smaller, table) == preset_text(text, smaller)
    assert preset_text(set_knobs(made, {"TOTAL_BATCH_SIZE": 2**12}), smaller, table) == set_knobs(
        made, {"TOTAL_BATCH_SIZE": 2**12, "DEVICE_BATCH_SIZE": 4}
    )
