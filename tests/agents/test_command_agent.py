"""A coding agent is any program: here shell and Python scripts that edit, misbehave, hang and print."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Recorder, git, opened
from trial.test_runner import is_gone, wait_for
from workspaces import Owned, checkout_of, head, started

from autoresearch_mlx.agents.command import CodingAgent
from autoresearch_mlx.agents.office import Office
from autoresearch_mlx.errors import AgentError, WorkspaceError
from autoresearch_mlx.experiment import Context, Experiment, History, Proposal
from autoresearch_mlx.lab.config import AgentSettings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.research import research
from autoresearch_mlx.store.ledger import FILE, read

EDITED = "X = 3.5  # knob: lin 0 10\nY = 2  # knob: int 0 8\n"
EDIT = "sed -i.bak 's/4.0/3.5/' solver.py; rm solver.py.bak"
SAY = "echo 'TITLE: X nearer'; echo 'WHY: the minimum is at 3'"


class House:
    """A session's worktree, with the baseline as its incumbent; its last check is that everything else is unchanged."""

    def __init__(self, lab: Lab, *editable: str) -> None:
        self.lab, self.workspace = lab, started(lab, *editable)
        self.base = head(lab)
        self.scripts = lab.root.parent

    def agent(self, line: str, seconds: float = 60.0) -> CodingAgent:
        office = Office(AgentSettings(command_seconds=seconds), folder=self.lab.folder("t"))
        return CodingAgent(line, office, self.workspace.worktree.lent, self.workspace.may_edit)

    def propose(self, line: str, seconds: float = 60.0, *feedback: str) -> Proposal:
        return self.agent(line, seconds).propose(self.context(*feedback))

    def context(self, *feedback: str, number: int = 1) -> Context:
        baseline = Experiment(
            number=0,
            status="keep",
            value=11.0,
            gain=None,
            commit=self.base,
            base=self.base,
            ref=None,
            title="baseline",
            axis="baseline",
            knobs={},
            agent="baseline",
            reason="",
            started="",
            finished="",
        )
        history = History((baseline,), "score", "min")
        files = self.workspace.read(self.base)
        return Context(number, "", files, history, "a machine", 0, feedback, read=self.workspace.read)

    def python(self, text: str) -> str:
        """Return the shell line that runs this Python program."""
        path = self.scripts / "agent.py"
        path.write_text(text)
        return f"'{sys.executable}' '{path}'"

    def log(self, name: str = "0001-1.log") -> str:
        return (self.lab.folder("t") / "talks" / name).read_text()


@pytest.fixture
def house(command_lab: Lab) -> Iterator[House]:
    """Check after the test that the user's checkout, refs and settings, and our branch, are unchanged."""
    made = House(command_lab)
    before = checkout_of(command_lab)
    yield made
    assert checkout_of(command_lab) == before
    stands_clean(made.workspace, made.base)


def stands_clean(workspace: Owned, tip: str) -> None:
    assert workspace.tip() == tip
    assert git(workspace.worktree.tree, "symbolic-ref", "HEAD") == f"refs/heads/{workspace.branch}"
    assert git(workspace.worktree.tree, "rev-parse", "HEAD") == tip
    assert git(workspace.worktree.tree, "status", "--porcelain", "--ignored") == ""


# --- an edit


def test_an_edit_becomes_a_proposal_with_the_title_and_reason_that_the_program_says(house: House) -> None:
    proposal = house.propose(f"{EDIT}; {SAY}")
    assert (proposal.files, proposal.problem) == ({"solver.py": EDITED}, "")
    assert (proposal.title, proposal.rationale) == ("X nearer", "the minimum is at 3")
    assert (proposal.agent, proposal.base) == ("command", None)
    assert proposal.talk["calls"] == 1
    assert proposal.talk["files"] == ["talks/0001-1.log"]
    assert house.log() == "TITLE: X nearer\nWHY: the minimum is at 3\n"


def test_the_prompt_arrives_whole_on_standard_input_and_the_experiments_number_in_the_environment(
    house: House, tmp_path: Path
) -> None:
    context = replace(house.context(), program="Try smaller steps. " + "é" * 200_000)
    house.agent(f"cat > '{tmp_path}/prompt'; echo $AUTORESEARCH_EXPERIMENT > '{tmp_path}/number'").propose(context)
    prompt = (tmp_path / "prompt").read_text()
    assert "solver.py" in prompt and "é" * 200_000 in prompt
    assert (tmp_path / "number").read_text() == "1\n"


def test_the_program_works_in_the_labs_directory_of_the_worktree_on_no_branch(house: House, tmp_path: Path) -> None:
    house.propose(f"pwd > '{tmp_path}/where'; git status > '{tmp_path}/status'; ls > '{tmp_path}/files'")
    assert Path((tmp_path / "where").read_text().strip()).samefile(house.workspace.worktree.tree)
    assert (tmp_path / "status").read_text().splitlines()[0] == "Not currently on any branch."
    assert (tmp_path / "files").read_text().split() == ["bench.py", "lab.toml", "solver.py"]


def test_the_edit_departs_from_the_incumbent_wherever_the_branch_is(house: House) -> None:
    other = house.workspace.commit(1, house.base, {"solver.py": "X = 1.0\n"}, "m\n")
    context = house.context()
    kept = replace(context.history.experiments[0], commit=other)
    context = replace(context, files={"solver.py": "X = 1.0\n"}, history=replace(context.history, experiments=(kept,)))
    assert house.agent("echo 'Y = 5' >> solver.py").propose(context).files == {"solver.py": "X = 1.0\nY = 5\n"}


def test_line_ends_that_git_changes_on_checkout_are_no_edit(command_lab: Lab) -> None:
    (command_lab.root / ".gitattributes").write_text("*.py text eol=crlf\n")
    git(command_lab.root, "add", "-A")
    git(command_lab.root, "commit", "-qm", "as on Windows")
    house = House(command_lab)
    assert house.propose("true").problem == "the agent changed no editable file"
    assert house.propose(EDIT).files == {"solver.py": EDITED}
    anew = "rm solver.py; git checkout -q -- solver.py"
    assert house.propose(anew).problem == "the agent changed no editable file"
    assert house.propose(f"{anew}; printf '# more\\r\\n' >> solver.py").files["solver.py"].endswith("\n# more\n")


def test_a_silent_programs_edit_is_called_by_the_knobs_that_changed(house: House) -> None:
    assert house.propose(EDIT).title == "X 4.0 -> 3.5"
    assert house.propose("echo '# a remark' >> solver.py").title == "change of solver.py"


def test_a_failed_end_does_not_spoil_an_edit(house: House) -> None:
    proposal = house.propose(f"{EDIT}; {SAY}; exit 3")
    assert (proposal.files, proposal.problem) == ({"solver.py": EDITED}, "")
    assert proposal.rationale == "the minimum is at 3\nThe program ended with exit code 3."


# --- an agent that uses git


@pytest.mark.parametrize(
    "act",
    [
        "git commit -qam mine",
        "git checkout -q -b something",
        "git checkout -q -b something; git commit -qam mine",
        "git checkout -q autoresearch/t; git commit -qam mine",
        "git branch -f autoresearch/t HEAD; git commit -qam mine; git update-ref refs/heads/autoresearch/t HEAD",
        "git stash",
        "git branch -D master main autoresearch/t",
        "git tag v1",
        "rm -f .git; git checkout -q -b outside; git add -A",
        "rm -f .git; git init -q .",
        'touch "$(git rev-parse --git-dir)/index.lock"',
    ],
)
def test_whatever_the_program_does_with_git_only_its_edit_remains(house: House, act: str) -> None:
    identity = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b"
    proposal = house.propose(f"{identity}; {EDIT}; {act}; {SAY}")
    assert (proposal.files, proposal.problem) == ({"solver.py": EDITED}, "")


def test_a_commit_of_the_program_runs_no_hook_of_the_user(house: House, tmp_path: Path) -> None:
    hooks = house.lab.root / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "pre-commit").write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    house.propose(
        f"{EDIT}; git -c user.name=a -c user.email=a@b commit -qam mine; git log --format=%s > '{tmp_path}/log'"
    )
    assert (tmp_path / "log").read_text().splitlines()[0] == "mine"
    assert not (tmp_path / "ran").exists()


# --- results without an edit


def test_other_files_are_ignored_and_named(house: House) -> None:
    proposal = house.propose(
        f"{EDIT}; echo 'print(\"METRIC score=0\")' > bench.py; mkdir d; touch d/notes .hidden; {SAY}"
    )
    assert proposal.files == {"solver.py": EDITED}
    assert proposal.rationale.endswith("Changes of other files are left out: .hidden, bench.py, d/notes.")


def test_a_change_of_forbidden_files_alone_is_no_edit_and_says_why(house: House) -> None:
    proposal = house.propose("touch a b c d e f; echo done")
    assert proposal.files == {}
    assert proposal.problem == (
        "the agent changed no editable file; changes of other files are left out: a, b, c, d, e and 1 more;"
        " its last line: done"
    )


def test_new_files_that_may_be_edited_are_part_of_the_edit(command_lab: Lab) -> None:
    house = House(command_lab, "solver.py", "lib/*.py")
    proposal = house.propose("mkdir lib; echo 'Z = 1' > lib/more.py; echo no > lib/notes.txt")
    assert proposal.files == {"lib/more.py": "Z = 1\n"}
    assert proposal.rationale == "Changes of other files are left out: lib/notes.txt."


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("rm solver.py", "solver.py was deleted; it has to stay, as a regular file"),
        ("rm solver.py; ln -s /etc/hostname solver.py", "solver.py is a symbolic link now, which is not followed"),
        ("rm solver.py; mkdir solver.py", "solver.py is no longer a regular file"),
        ("rm solver.py; mkfifo solver.py", "solver.py is no longer a regular file"),
        (r"printf 'X = 1 # \377\n' > solver.py", "solver.py is no longer UTF-8 text"),
        ("head -c 2000000 /dev/zero > solver.py", "solver.py has 2,000,000 bytes now; at most 1,048,576 are taken"),
        ("true", "the agent changed no editable file"),
        ("echo 'I would rather not.'; echo", "the agent changed no editable file; its last line: I would rather not."),
        ("echo 'no API key' >&2; exit 3", "the agent changed no editable file: exit code 3; its last line: no API key"),
        ("kill -9 $$", "the agent changed no editable file: killed by the system (signal 9)"),
    ],
)
def test_what_cannot_be_taken_is_a_problem_in_words(house: House, act: str, said: str) -> None:
    proposal = house.propose(act)
    assert proposal.files == {}
    assert proposal.problem.startswith(said)


def test_a_folder_that_became_a_link_is_not_followed(command_lab: Lab, tmp_path: Path) -> None:
    (command_lab.root / "lib").mkdir()
    (command_lab.root / "lib" / "a.py").write_text("A = 1\n")
    git(command_lab.root, "add", "-A")
    git(command_lab.root, "commit", "-qm", "lib")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.py").write_text("SECRET = 1\n")
    proposal = House(command_lab, "lib/a.py").propose(f"rm -r lib; ln -s '{tmp_path}/out' lib")
    assert proposal.problem == "lib/a.py: its folder is a symbolic link now, which is not followed"


@pytest.mark.parametrize("line", ["no-such-agent -p", "/etc/hostname"])
def test_a_program_that_cannot_be_started_ends_the_run_with_a_hint(house: House, line: str) -> None:
    with pytest.raises(AgentError, match="cannot be started: exit code 12") as caught:
        house.propose(line)
    assert "[agent] command" in caught.value.hint


# --- bounds


def test_a_program_that_hangs_is_killed_with_its_children_and_its_half_edit_is_not_taken(
    house: House, tmp_path: Path
) -> None:
    stubborn = f"""\
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    pathlib.Path('{tmp_path}/pid').write_text(str(os.getpid()))
time.sleep(600)
"""
    proposal = house.propose(f"{EDIT}; {house.python(stubborn)}", 1.0)
    assert (proposal.files, proposal.problem) == ({}, "the agent did not end within 1 s and was killed")
    assert wait_for(lambda: is_gone(int((tmp_path / "pid").read_text())))


def test_what_a_program_leaves_running_is_killed(house: House, tmp_path: Path) -> None:
    left = f"import subprocess; p = subprocess.Popen(['sleep', '600']); open('{tmp_path}/pid', 'w').write(str(p.pid))"
    began = time.monotonic()
    assert house.propose(f"{house.python(left)}; {EDIT}").files == {"solver.py": EDITED}
    assert time.monotonic() - began < 60
    assert wait_for(lambda: is_gone(int((tmp_path / "pid").read_text())))


def test_of_a_flood_of_output_the_last_megabyte_is_kept(house: House) -> None:
    flood = "for i in range(60000): print(i, 'x' * 90)\nprint('TITLE: after all that')"
    proposal = house.propose(f"{EDIT}; {house.python(flood)}")
    assert proposal.title == "after all that"
    assert len(house.log()) == 2**20
    assert house.log().endswith("TITLE: after all that\n")


def test_a_program_that_does_not_read_its_prompt_or_closes_it_is_fine(house: House) -> None:
    long = replace(house.context(), program="word " * 100_000)
    assert house.agent(f"exec 0<&-; {EDIT}").propose(long).files == {"solver.py": EDITED}
    assert house.agent(f"head -c 10 >/dev/null; {EDIT}").propose(long).files == {"solver.py": EDITED}


def test_ctrl_c_leaves_the_worktree_as_it_was(house: House, tmp_path: Path) -> None:
    line = house.python(f"import os, signal, time; os.kill({os.getpid()}, signal.SIGINT); time.sleep(600)")
    with pytest.raises(KeyboardInterrupt):
        house.propose(f"{EDIT}; {line}")


@pytest.mark.parametrize("line", ["echo 'please log in'; exit 1", "echo please log in"])
def test_a_program_that_never_edits_ends_the_run_after_five_experiments(line: str, house: House) -> None:
    agent = house.agent(line)
    for number in range(1, 6):
        assert "please log in" in agent.propose(house.context(number=number)).problem
    assert "please log in" in agent.propose(house.context("refused", number=5)).problem
    with pytest.raises(
        AgentError, match=r"5 experiments in a row had no edit; the last one: .*please log in"
    ) as caught:
        agent.propose(house.context(number=6))
    assert "the agent's sandbox may be read-only, or the agent may lack the permission to edit" in caught.value.hint


def test_an_agent_that_never_edits_is_asked_again_only_in_its_first_experiment(house: House) -> None:
    agent = house.agent("echo I may not")
    calls = [
        [agent.propose(house.context(*["refused"] * again, number=number)).talk["calls"] for again in range(3)]
        for number in (1, 2, 3)
    ]
    assert calls == [[1, 2, 3], [1, 1, 1], [1, 1, 1]]


@pytest.mark.slow
def test_an_edit_ends_the_count_of_lost_experiments(house: House, tmp_path: Path) -> None:
    agent = house.agent(f"test ! -e '{tmp_path}/able' || {{ {EDIT}; }}")
    for number in (1, 2, 3, 4):
        assert agent.propose(house.context(number=number)).problem
    (tmp_path / "able").touch()
    assert agent.propose(house.context(number=5)).files == {"solver.py": EDITED}
    (tmp_path / "able").unlink()
    for number in range(6, 11):
        assert agent.propose(house.context(number=number)).problem
    with pytest.raises(AgentError, match="5 experiments in a row"):
        agent.propose(house.context(number=11))


def test_the_line_has_the_paths_of_the_editable_files_as_its_arguments(house: House, tmp_path: Path) -> None:
    house.propose(f"""printf '%s\\n' "$@" > '{tmp_path}/arguments'""")
    assert (tmp_path / "arguments").read_text() == "solver.py\n"


def test_keys_that_the_program_prints_are_blotted_out(house: House, tmp_path: Path) -> None:
    key = "AUTORESEARCH_TEST_API_KEY"
    os.environ[key] = "sk-very-secret-indeed"
    try:
        proposal = house.propose(f'echo "TITLE: with ${key}"; {EDIT}')
    finally:
        del os.environ[key]
    assert proposal.title == "with ***"
    assert house.log() == "TITLE: with ***\n"


# --- asked again


def test_a_refusal_and_the_refused_edit_are_part_of_the_next_prompt(house: House, tmp_path: Path) -> None:
    agent = house.agent(f"cat > '{tmp_path}/prompt'; {EDIT}")
    agent.propose(house.context())
    again = agent.propose(house.context("SyntaxError: in line 1"))
    prompt = (tmp_path / "prompt").read_text()
    assert "SyntaxError: in line 1" in prompt
    assert "-X = 4.0  # knob: lin 0 10\n+X = 3.5  # knob: lin 0 10\n" in prompt
    assert again.talk["calls"] == 2
    assert again.talk["files"] == ["talks/0001-1.log", "talks/0001-2.log"]
    agent.propose(house.context(number=2))
    assert "refused edit" not in (tmp_path / "prompt").read_text()


def test_without_a_session_folder_nothing_is_kept(house: House) -> None:
    agent = CodingAgent(f"{EDIT}; {SAY}", Office(), house.workspace.worktree.lent)
    proposal = agent.propose(house.context())
    assert (proposal.files, proposal.talk["files"]) == ({"solver.py": EDITED}, [])
    assert not (house.lab.folder("t") / "talks").exists()


def test_without_an_incumbent_there_is_nothing_to_edit(house: House) -> None:
    context = replace(house.context(), history=History((), "score", "min"))
    with pytest.raises(AgentError, match="no incumbent"):
        house.agent(EDIT).propose(context)


# --- in the loop


@pytest.mark.slow
def test_a_night_with_a_coding_agent_keeps_what_gains_and_logs_the_rest(command_lab: Lab, screen: Recorder) -> None:
    acts = [
        f"{EDIT}; {SAY}; git -c user.name=a -c user.email=a@b commit -qam mine",
        "rm solver.py",
        "sed -i.bak 's/3.5/9.0/' solver.py; rm solver.py.bak; echo 'TITLE: X too far'",
        "echo 'X = 1 / 0' > solver.py; echo 'TITLE: broken'",
    ]
    line = "; ".join(f"test $AUTORESEARCH_EXPERIMENT = {n} && {{ {act}; }}" for n, act in enumerate(acts, 1))
    before = checkout_of(command_lab)
    with opened(command_lab, "t") as session:
        office = Office(folder=session.folder)
        agent = CodingAgent(f"{line}; true", office, session.worker.worktree.lent, session.workspace.may_edit)
        research(session, agent, Policy(experiments=4), screen)
        tip = session.workspace.tip()
    done = read(command_lab.folder("t") / FILE).history.experiments
    assert [e.status for e in done] == ["keep", "keep", "invalid", "discard", "crash"]
    assert [e.title for e in done[1:]] == ["X nearer", "no usable edit", "X too far", "broken"]
    assert tip == done[1].commit
    assert git(command_lab.root, "show", f"{tip}:solver.py") == EDITED.strip()
    assert checkout_of(command_lab) == before


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("git config filter.f.smudge 'sed s/X/Y/'", "filter.f.smudge"),
        ("git config core.autocrlf true", "core.autocrlf"),
        ("cd ../../..; mkdir -p .git/info; echo '*.py filter=f' > .git/info/attributes", "info/attributes"),
    ],
)
def test_an_agent_that_changes_how_git_writes_files_ends_the_night(command_lab: Lab, line: str, named: str) -> None:
    """After such a change, the files that git writes would differ from those in the commits."""
    with pytest.raises(WorkspaceError, match="the coding agent changed how git writes files") as error:
        House(command_lab).propose(f"{EDIT}; {line}")
    assert named in str(error.value)
