"""``try`` applies the user's own edit to the incumbent, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Recorder, git, opened, write_command_lab

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Context, Proposal
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.checkout import distance, edit_from_checkout, edited_now, nearest
from autoresearch_mlx.loop.research import baseline, experiment, measure_edit, recover
from autoresearch_mlx.loop.session import Session

# far enough apart, so that two changes do not touch
START = "X = 4.0\n\n# middle\n\nY = 2\n\n# end\n\nZ = 1\n"


class Writes:
    name = "writes"

    def __init__(self, **files: str) -> None:
        self._files = {f"{name}.py": text for name, text in files.items()}

    def propose(self, context: Context) -> Proposal:
        return Proposal("a keep", self._files, agent=self.name)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Make a lab with two editable files, both measured: score = (X - 3)^2 + (Y - 5)^2 + (A - 7)^2."""
    lab = write_command_lab(tmp_path / "lab")
    (lab.root / "solver.py").write_text(START)
    (lab.root / "other.py").write_text("A = 1\n")
    (lab.root / "bench.py").write_text(
        "from solver import X, Y\nfrom other import A\n"
        "print(f'METRIC score={(X - 3) ** 2 + (Y - 5) ** 2 + (A - 7) ** 2}')\n"
    )
    settings = lab.root / "lab.toml"
    settings.write_text(settings.read_text().replace('["solver.py"]', '["solver.py", "other.py", "more/**"]'))
    git(lab.root, "add", "-A")
    git(lab.root, "commit", "-qm", "two files")
    return lab


@pytest.fixture
def session(lab: Lab, screen: Recorder) -> Iterator[Session]:
    with opened(lab, "t") as session:
        recover(session, screen)
        baseline(session, screen)
        yield session


def proposed(session: Session, lab: Lab, said: list[str] | None = None) -> dict[str, str]:
    proposal = edit_from_checkout(
        session, edited_now(session, lab.root), "mine", (said if said is not None else []).append
    )
    assert (proposal.title, proposal.agent) == ("mine", "manual")
    return dict(proposal.files)


def keep(session: Session, screen: Recorder, **files: str) -> None:
    assert experiment(session, Writes(**files), screen).status == "keep"


def test_an_edit_on_the_incumbent_is_taken_as_it_is(lab: Lab, session: Session) -> None:
    mine = START.replace("X = 4.0", "X = 3.5")
    (lab.root / "solver.py").write_text(mine)
    assert proposed(session, lab) == {"solver.py": mine}


def test_an_edit_that_is_committed_counts_like_one_that_is_only_saved(lab: Lab, session: Session) -> None:
    mine = START.replace("X = 4.0", "X = 3.5")
    (lab.root / "solver.py").write_text(mine)
    git(lab.root, "commit", "-qam", "my edit")
    assert proposed(session, lab) == {"solver.py": mine}


def test_without_an_edit_there_is_nothing_to_try(lab: Lab, session: Session) -> None:
    with pytest.raises(LabError, match="nothing to try") as caught:
        proposed(session, lab)
    assert caught.value.hint == "edit solver.py, other.py, more/** first"


def test_an_edit_on_an_older_base_is_carried_over_to_what_was_kept_since(
    lab: Lab, session: Session, screen: Recorder
) -> None:
    keep(session, screen, solver=START.replace("Y = 2", "Y = 5"))
    (lab.root / "solver.py").write_text(START.replace("X = 4.0", "X = 3.0"))
    said: list[str] = []
    assert proposed(session, lab, said) == {"solver.py": "X = 3.0\n\n# middle\n\nY = 5\n\n# end\n\nZ = 1\n"}
    assert said == ["solver.py was edited on experiment 0; your change is carried over to the incumbent"]


def test_the_base_is_the_kept_version_that_the_edit_resembles_most(
    lab: Lab, session: Session, screen: Recorder
) -> None:
    second = START.replace("Y = 2", "Y = 4")
    keep(session, screen, solver=second)
    keep(session, screen, solver=second.replace("X = 4.0", "X = 3.0"))
    (lab.root / "solver.py").write_text(second.replace("Z = 1", "Z = 9"))
    said: list[str] = []
    assert proposed(session, lab, said) == {"solver.py": "X = 3.0\n\n# middle\n\nY = 4\n\n# end\n\nZ = 9\n"}
    assert said == ["solver.py was edited on experiment 1; your change is carried over to the incumbent"]


def test_a_change_that_overlaps_with_a_keep_is_refused_with_the_way_out(
    lab: Lab, session: Session, screen: Recorder
) -> None:
    keep(session, screen, solver=START.replace("X = 4.0", "X = 3.5").replace("Y = 2", "Y = 3"))
    mine = START.replace("X = 4.0", "X = 9.0")
    (lab.root / "solver.py").write_text(mine)
    with pytest.raises(LabError, match=r"your change to solver\.py overlaps") as caught:
        proposed(session, lab)
    assert "git restore --source autoresearch/t -- solver.py" in caught.value.hint
    assert (lab.root / "solver.py").read_text() == mine


def test_an_older_version_of_one_file_is_a_proposal_when_it_is_all_there_is(
    lab: Lab, session: Session, screen: Recorder
) -> None:
    keep(session, screen, solver=START.replace("X = 4.0", "X = 3.5"))
    keep(session, screen, other="A = 7\n")
    (lab.root / "other.py").write_text("A = 7\n")
    assert proposed(session, lab) == {"solver.py": START}


def test_a_checkout_that_is_an_earlier_version_has_nothing_to_try(lab: Lab, session: Session, screen: Recorder) -> None:
    keep(session, screen, solver=START.replace("X = 4.0", "X = 3.5"))
    with pytest.raises(LabError, match="nothing to try: your checkout has the unedited version of experiment 0"):
        proposed(session, lab)
    keep(session, screen, other="A = 7\n")
    (lab.root / "solver.py").write_text(START.replace("X = 4.0", "X = 3.5"))
    with pytest.raises(LabError, match="unedited version of experiment 1"):
        proposed(session, lab)


@pytest.mark.parametrize(
    ("settings", "attributes"),
    [
        (("core.autocrlf", "true"), ""),
        (("core.autocrlf", "input"), ""),
        (("core.eol", "crlf"), "*.py text\n"),
        (("core.autocrlf", "false"), "* text=auto eol=crlf\n"),
    ],
)
def test_a_file_is_compared_and_committed_as_git_stores_it(
    lab: Lab, session: Session, screen: Recorder, settings: tuple[str, str], attributes: str
) -> None:
    git(lab.root, "config", *settings)
    (lab.root / ".gitattributes").write_text(attributes)
    windows = START.replace("\n", "\r\n")
    (lab.root / "solver.py").write_bytes(windows.encode())
    with pytest.raises(LabError, match="nothing to try"):
        proposed(session, lab)
    (lab.root / "solver.py").write_bytes(windows.replace("Y = 2", "Y = 5").encode())
    assert proposed(session, lab) == {"solver.py": START.replace("Y = 2", "Y = 5")}
    keep(session, screen, other="A = 7\n")
    assert proposed(session, lab) == {"solver.py": START.replace("Y = 2", "Y = 5")}
    assert (lab.root / "solver.py").read_bytes().count(b"\r\n") == START.count("\n")


def test_line_ends_that_git_stores_as_they_are_stay(lab: Lab, session: Session, screen: Recorder) -> None:
    windows = START.replace("\n", "\r\n")
    keep(session, screen, solver=windows.replace("X = 4.0", "X = 3.5"))
    git(lab.root, "config", "core.autocrlf", "true")
    (lab.root / "solver.py").write_bytes(windows.replace("X = 4.0", "X = 3.0").encode())
    assert proposed(session, lab)["solver.py"] == windows.replace("X = 4.0", "X = 3.0")


def test_a_file_left_at_an_older_version_does_not_undo_a_keep(lab: Lab, session: Session, screen: Recorder) -> None:
    keep(session, screen, other="A = 7\n")
    (lab.root / "solver.py").write_text(START.replace("X = 4.0", "X = 3.0"))
    assert proposed(session, lab) == {"solver.py": START.replace("X = 4.0", "X = 3.0")}


def test_a_new_file_is_taken_as_it_is(lab: Lab, session: Session) -> None:
    (lab.root / "more" / "deep").mkdir(parents=True)
    (lab.root / "more" / "deep" / "new.txt").write_text("fresh\n")
    assert proposed(session, lab) == {"more/deep/new.txt": "fresh\n"}


def test_line_ends_are_no_edit_and_stay(lab: Lab, session: Session, screen: Recorder) -> None:
    windows = START.replace("\n", "\r\n").replace("X = 4.0", "X = 3.5")
    keep(session, screen, solver=windows)
    (lab.root / "solver.py").write_bytes(windows.encode())
    with pytest.raises(LabError, match="nothing to try"):
        proposed(session, lab)
    (lab.root / "solver.py").write_bytes(windows.replace("Y = 2", "Y = 5").encode())
    assert proposed(session, lab) == {"solver.py": windows.replace("Y = 2", "Y = 5")}


def test_a_file_that_is_no_text_is_named(lab: Lab, session: Session) -> None:
    (lab.root / "solver.py").write_bytes(b"X = 4 # \xff\n")
    with pytest.raises(LabError, match=r"solver\.py cannot be read as UTF-8 text"):
        proposed(session, lab)


def test_the_checkout_is_read_and_never_written(lab: Lab, session: Session, screen: Recorder) -> None:
    keep(session, screen, solver=START.replace("Y = 2", "Y = 5"))
    mine = START.replace("X = 4.0", "X = 3.0")
    (lab.root / "solver.py").write_text(mine)
    done = measure_edit(
        session, lambda: edit_from_checkout(session, edited_now(session, lab.root), "mine", screen.say), screen
    )
    assert (done.status, done.value, done.knobs) == ("keep", 36.0, {"X": (4.0, 3.0)})
    assert (lab.root / "solver.py").read_text() == mine
    assert git(lab.root, "status", "--porcelain") == "M solver.py"


def test_without_a_baseline_one_is_measured_first(lab: Lab, screen: Recorder) -> None:
    (lab.root / "solver.py").write_text(START.replace("X = 4.0", "X = 3.0"))
    with opened(lab, "fresh") as session:
        measure_edit(
            session, lambda: edit_from_checkout(session, edited_now(session, lab.root), "mine", screen.say), screen
        )
    assert [(e.number, e.status) for e in screen.done] == [(0, "keep"), (1, "keep")]


def test_nearest_prefers_the_newest_of_equals_and_knows_when_there_is_none() -> None:
    newer, older = ("newer", {"a": "1\n2\n"}), ("older", {"a": "1\n2\n"})
    assert nearest("a", "1\n3\n", [newer, older]) == ("newer", "1\n2\n")
    assert nearest("b", "text", [newer, older]) == ("nothing", "text")


def test_distance_counts_lines_added_and_removed() -> None:
    assert distance("1\n2\n3\n", "1\n2\n3\n") == 0
    assert distance("1\n2\n3\n", "1\n3\n4\n") == 2
    assert distance("", "1\n2\n") == 2
