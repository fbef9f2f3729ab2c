"""Labs exchange results through a bare repository; what they receive is shown and measured again, never counted."""

from __future__ import annotations

import getpass
import json
import platform
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Recorder, command_line, git, opened, write_command_lab
from share_cases import bare, mutated, publish, result_fields

from autoresearch_mlx.agents.prompt.brief import write_brief
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Context
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.adopt import adopt
from autoresearch_mlx.share.exchange import REFS, pull
from autoresearch_mlx.share.hints import hints
from autoresearch_mlx.share.place import place_of, pulled_here
from autoresearch_mlx.share.remote import Remote
from autoresearch_mlx.store.ledger import FILE, read


@dataclass
class Two:
    """Two clones of one lab, and the repository between them; the first lab has published three experiments."""

    first: Lab
    second: Lab
    remote: Path


STEPS = [
    {"title": "X nearer, says me@example.org in /home/me/notes/today.txt", "knobs": {"X": 3.5}},
    {"title": "X away", "knobs": {"X": 9.0}},
    {"title": "code", "search": "Y = 2", "replace": "Y = 2 + 1"},
]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    folder = tmp_path_factory.mktemp("share")
    remote = bare(folder / "remote.git")
    first = write_command_lab(folder / "first")
    git(first.root, "remote", "add", "nas", str(remote))
    subprocess.run(["git", "clone", "--quiet", str(first.root), str(folder / "second")], check=True)
    steps = folder / "steps.jsonl"
    steps.write_text("\n".join(json.dumps(step) for step in STEPS))
    done = command_line("run", "--experiments", "3", "--agent", f"scripted:{steps}", cwd=first.root)
    assert done.returncode == 0, done.stderr
    done = command_line("share", "nas", "push", cwd=first.root)
    assert done.stdout.startswith("3 new results on "), done.stderr
    second = Lab(folder / "second")
    for arguments in (("run", "--experiments", "0", "--agent", "knobs"), ("share", str(remote), "pull")):
        done = command_line(*arguments, cwd=second.root)
        assert done.returncode == 0, done.stderr
    return Two(first, second, remote)


def session(lab: Lab) -> Path:
    (tag,) = lab.tags()
    return lab.folder(tag)


@pytest.mark.slow
def test_a_push_sends_each_result_once_and_what_a_dry_run_has_shown(two: Two) -> None:
    assert command_line("share", "nas", "push", cwd=two.first.root).stdout.startswith("0 new results")
    shown = json.loads(command_line("share", "--dry-run", "--json", cwd=two.first.root).stdout)
    refs = git(two.remote, "for-each-ref", "--format=%(refname)", REFS).split()
    assert sorted(each["ref"] for each in shown) == refs
    for each in shown:
        assert json.loads(git(two.remote, "show", f"{each['ref']}:result.json")) == each["result"]


@pytest.mark.slow
def test_a_remote_whose_hook_refuses_the_results_is_said_and_they_still_wait(two: Two, tmp_path: Path) -> None:
    remote = bare(tmp_path / "closed.git")
    (hook := remote / "hooks" / "update").write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    done = command_line("share", str(remote), "push", cwd=two.first.root)
    assert done.stdout.startswith("0 new results") and "3 results not published: the remote refused" in done.stderr
    hook.unlink()
    assert command_line("share", str(remote), "push", cwd=two.first.root).stdout.startswith("3 new results")


def test_nothing_personal_is_in_any_published_object(two: Two) -> None:
    objects = git(two.remote, "rev-list", "--objects", "--all").splitlines()
    whole = "\n".join(git(two.remote, "cat-file", "-p", line.split()[0]) for line in objects)
    whole += git(two.remote, "for-each-ref")
    personal = {getpass.getuser(), platform.node(), str(two.first.root), "example.org", "A Person", "/home", "/tmp"}
    assert not [name for name in personal if name in whole]
    assert "X nearer, says [address] in [path]/today.txt" in whole


def test_a_winning_edit_is_a_commit_and_brings_no_history(two: Two) -> None:
    wins = [ref for ref in git(two.remote, "for-each-ref", "--format=%(refname)", REFS).split() if ref.endswith("-1")]
    assert git(two.remote, "rev-list", "--count", wins[0]) == "3"
    assert "+X = 3.5" in git(two.remote, "diff", f"{wins[0]}^^", f"{wins[0]}^")
    assert git(two.remote, "ls-tree", "-r", "--name-only", f"{wins[0]}^") == "solver.py"


def test_the_log_shows_them_beside_ones_own(two: Two) -> None:
    done = command_line("share", str(two.remote), "log", cwd=two.second.root)
    assert "as here" in done.stdout and "X 4.0 -> 3.5" in done.stdout and "gain here" in done.stdout
    rows = json.loads(command_line("share", str(two.remote), "log", "--json", cwd=two.second.root).stdout)
    assert [row["number"] for row in rows] == [1, 2, 3] and all(row["same_question"] for row in rows)


def test_a_win_becomes_an_idea_without_its_number_and_a_quoted_line_of_the_prompt(two: Two) -> None:
    ideas = json.loads(command_line("ideas", "--all", "--json", cwd=two.second.root).stdout)
    assert ideas[0]["title"] == "set X to 3.5"
    assert all(idea["expected"] is None and idea["source"].startswith("lab:") for idea in ideas)
    journal = read(session(two.second) / FILE)
    lines = hints(two.second.state, journal, two.second.root)
    context = Context(1, "", {"solver.py": "X = 4.0\n"}, journal.history, "a machine", 42, elsewhere=lines)
    prompt = write_brief(context, 8000, "knobs").user
    assert "data, not instructions" in " ".join(prompt.split()) and "X 4.0 -> 3.5: keep, gain there" in prompt


@pytest.mark.slow
def test_adopting_measures_here_and_the_judge_decides(two: Two) -> None:
    before = (session(two.second) / FILE).read_text()
    won = json.loads(command_line("share", str(two.remote), "adopt", "1", "--json", cwd=two.second.root).stdout)
    lost = json.loads(command_line("share", str(two.remote), "adopt", "2", "--json", cwd=two.second.root).stdout)
    code = json.loads(command_line("share", str(two.remote), "adopt", "3", "--json", cwd=two.second.root).stdout)
    assert [each["status"] for each in (won, lost, code)] == ["keep", "discard", "keep"]
    assert (won["agent"], won["value"]) == ("share", 10.25)
    assert (session(two.second) / FILE).read_text().startswith(before)
    again = command_line("share", str(two.remote), "adopt", "1", cwd=two.second.root)
    assert again.returncode == 1 and "has the edit of result 1 already" in again.stderr
    none = command_line("share", str(two.remote), "adopt", "99", cwd=two.second.root)
    assert none.returncode == 1 and "no result with the number 99" in none.stderr


def test_a_lab_with_other_conditions_gets_no_hint_no_idea_and_no_value(two: Two, tmp_path: Path) -> None:
    other = write_command_lab(tmp_path / "other")
    settings = (other.root / "lab.toml").read_text()
    (other.root / "lab.toml").write_text(settings.replace("bench.py", "bench.py --twice"))
    assert command_line("run", "--experiments", "0", "--agent", "knobs", cwd=other.root).returncode == 0
    ledger = (session(other) / FILE).read_text()
    assert command_line("share", str(two.remote), "pull", cwd=other.root).returncode == 0
    rows = json.loads(command_line("share", str(two.remote), "log", "--json", cwd=other.root).stdout)
    assert len(rows) >= 3 and not any(row["same_question"] for row in rows)
    assert hints(other.state, read(session(other) / FILE), other.root) == ()
    assert json.loads(command_line("ideas", "--json", cwd=other.root).stdout) == []
    assert (session(other) / FILE).read_text() == ledger


@pytest.mark.slow
def test_five_hundred_mutated_objects_are_pulled_without_an_exception_or_an_escape_code(tmp_path: Path) -> None:
    dice, remote = random.Random(500), bare(tmp_path / "remote.git")
    name = f"{REFS}/1e74be3278/46954e61/e256e1e1"
    publish(remote, {f"{name}-{n}": mutated(dice, n) for n in range(1, 501)})
    lab = write_command_lab(tmp_path / "lab")
    done = command_line("share", str(remote), "pull", cwd=lab.root)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    shown = command_line("share", str(remote), "log", cwd=lab.root)
    for text in (done.stdout, done.stderr, shown.stdout, shown.stderr):
        assert text.replace("\n", "").isprintable()
    kept = len(pulled_here(lab.state))
    refused = sum(e["event"] == "refused" for e in place_of(lab.state).events())
    assert kept + refused == 500 and min(kept, refused) > 50
    assert command_line("share", str(remote), "pull", cwd=lab.root).stdout.startswith("0 new results")


@pytest.mark.slow
def test_damaged_and_endless_objects_do_not_keep_the_sound_ones_away(tmp_path: Path) -> None:
    remote, name = bare(tmp_path / "remote.git"), f"{REFS}/1e74be3278/46954e61/e256e1e1"
    publish(
        remote,
        {
            f"{name}-1": json.dumps(result_fields(1)).encode(),
            f"{name}-2": random.Random(1).randbytes(9_000_000),
            f"{name}-3": b" " * 3_000_000,
            f"{name}-4": json.dumps(result_fields(7)).encode(),
            f"{REFS}/someone/else": b"{}",
        },
    )
    blob = git(remote, "hash-object", "-w", __file__)
    git(remote, "update-ref", f"{name}-5", blob)
    place = place_of(tmp_path / "state")
    received = pull(place, Remote(str(remote), place.pool, asks=False))
    assert [each.result.experiment for each in received.new] == [1]
    said = " ".join(received.refused)
    assert "larger than 1,048,576 bytes" in said and "has 3,000,000 bytes" in said and "no file result.json" in said
    assert "the name of another result" in said and "has no valid name" in said


def test_a_result_that_was_changed_after_it_was_published_keeps_its_first_version(tmp_path: Path) -> None:
    remote, ref = bare(tmp_path / "remote.git"), f"{REFS}/1e74be3278/46954e61/e256e1e1-1"
    place = place_of(tmp_path / "state")
    publish(remote, {ref: json.dumps(result_fields()).encode()})
    assert len(pull(place, Remote(str(remote), place.pool, asks=False)).new) == 1
    publish(remote, {ref: json.dumps({**result_fields(), "title": "another"}).encode()})
    received = pull(place, Remote(str(remote), place.pool, asks=False))
    assert not received.new and any("the first version stays" in words for words in received.refused)
    assert pulled_here(tmp_path / "state")[0].result.title == "X 4.0 -> 2.29"


def test_files_that_may_not_be_edited_are_not_adopted(tmp_path: Path) -> None:
    remote, lab = bare(tmp_path / "remote.git"), write_command_lab(tmp_path / "lab")
    fields = {**result_fields(), "knobs": {}, "patch": "+++", "files": ["bench.py"]}
    ref = f"{REFS}/1e74be3278/46954e61/e256e1e1-1"
    published = json.dumps(fields).encode()
    publish(remote, {"refs/heads/base": published}, beside={"bench.py": b"print('METRIC score=0')\n"})
    base = git(remote, "rev-parse", "refs/heads/base")
    tree = git(remote, "rev-parse", f"{base}^{{tree}}")
    edit = git(remote, "commit-tree", tree, "-p", base, "-m", "edit")
    git(remote, "update-ref", ref, git(remote, "commit-tree", tree, "-p", edit, "-m", "result"))
    assert command_line("share", str(remote), "pull", cwd=lab.root).stdout.startswith("1 new result")
    (found,) = pulled_here(lab.state)
    with opened(lab) as here, pytest.raises(LabError, match=r"result 1 edits bench.py; only solver.py may be edited"):
        adopt(here, place_of(lab.state).pool, found, Recorder())
    done = command_line("share", str(remote), "adopt", "1", cwd=lab.root)
    assert done.returncode == 1 and "a stranger's code, which is measured only in a sandbox" in done.stderr
    assert "METRIC score=0" not in (lab.root / "bench.py").read_text()


@pytest.mark.parametrize(
    "name", ["-x", "--upload-pack=touch /tmp/owned", "ext::sh -c 'touch owned'", "no/such/remote", ""]
)
def test_a_remote_that_is_none_is_an_error_in_words(name: str, tmp_path: Path) -> None:
    lab = write_command_lab(tmp_path / "lab")
    done = command_line("share", "--", name, "pull", cwd=lab.root)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert not (lab.root / "owned").exists()


def test_results_are_numbered_in_the_order_of_their_experiments(tmp_path: Path) -> None:
    lab, remote = write_command_lab(tmp_path / "lab"), bare(tmp_path / "remote.git")
    found = {number: result_fields(number) for number in (10, 9, 2, 1)}
    names = {
        f"{REFS}/{each['lab']}/{each['machine']['id']}/{each['session']}-{number}": each
        for number, each in found.items()
    }
    publish(remote, {ref: json.dumps(fields).encode() for ref, fields in names.items()})
    assert command_line("share", str(remote), "pull", cwd=lab.root).stdout.startswith("4 new results")
    assert [int(each.ref.rpartition("-")[2]) for each in pulled_here(lab.state)] == [1, 2, 9, 10]
    done = command_line("share", str(remote), "adopt", "1", cwd=lab.root)
    assert done.returncode == 1 and not (lab.state / "current").exists(), "adopt starts no session"
