"""A session as one file moves from one repository to another, completely or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny
from command_runs import STATUSES, call, data, experiments, refused
from conftest import command_line, git, write_command_lab
from finished_night import copied, night_in
from live_run import working

from autoresearch_mlx.errors import ConfigError, CorpusError, LabError, LockedError
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.setup.archive.pack import BUNDLE, MANIFEST, archive
from autoresearch_mlx.setup.archive.restore import restore
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.store.locks import locked
from autoresearch_mlx.targets.pretrain.conditions import PretrainConditions
from autoresearch_mlx.targets.pretrain.data import recorded_corpus


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = night_in(tmp_path_factory.mktemp("archive"))
    (lab.folder("t") / "runs/0005-1/weights.safetensors").write_bytes(b"w" * 1000)
    (lab.folder("t") / "runs/0001-1/weights.safetensors").write_bytes(b"w" * 500)
    (lab.folder("t") / "runs/0001-1/link").symlink_to("/etc/passwd")
    return lab


@pytest.fixture(scope="module")
def packed(night: Lab) -> Path:
    file = night.root.parent / "t.tar.gz"
    archive(night, "t", file, weights=False)
    return file


@pytest.fixture
def clone(night: Lab, tmp_path: Path) -> Lab:
    """Clone the user's own branch on another machine; the clone has nothing of the session."""
    git(tmp_path, "clone", "--quiet", "--single-branch", str(night.root), "elsewhere")
    return Lab(tmp_path / "elsewhere")


def contents(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as tar:
        return {m.name: source.read() for m in tar if (source := tar.extractfile(m))}


def nothing_of_it(lab: Lab) -> bool:
    """Return whether no session, no ref and no temporary file is left."""
    left = [path.name for path in lab.state.iterdir() if path.name != ".gitignore"] if lab.state.exists() else []
    return (left, git(lab.root, "for-each-ref", "refs/autoresearch", "refs/heads/autoresearch")) == ([], "")


# --- to another lab and back


@pytest.mark.slow
def test_a_session_moves_to_a_fresh_clone_and_goes_on_there(night: Lab, clone: Lab, tmp_path: Path) -> None:
    file = tmp_path / "moved.tar.gz"
    done = call(night, "archive", "-o", str(file))
    assert done.stdout.startswith(f"{file}: session t, 6 experiments, 7 refs, "), done
    done = call(clone, "restore", str(file))
    assert (done.returncode, done.stdout) == (0, "session t on branch autoresearch/t: 6 experiments\n"), done
    for command in (["log", "--json"], ["diff", "2"], ["show", "3"], ["status"]):
        assert call(clone, *command).stdout == call(night, *command).stdout
    assert data(clone, "compare")["here"] == data(night, "compare")["here"]
    assert git(clone.root, "fsck", "--strict") == ""
    assert call(clone, "run", "--experiments", "1", "--agent", "knobs").returncode == 0
    assert list(experiments(clone)) == [*STATUSES, 6]
    assert experiments(night) == STATUSES


@pytest.mark.slow
def test_an_archive_goes_into_another_repository_under_another_name(packed: Path, tmp_path: Path) -> None:
    lab = write_command_lab(tmp_path / "lab")
    git(lab.root, "commit", "--quiet", "--allow-empty", "-m", "a history of its own")
    assert restore(lab, packed, "u").tag == "u"
    told = data(lab, "status")
    assert (told["session"], told["branch"], told["incumbent"]["value"]) == ("u", "autoresearch/u", 1.25)
    assert {e["ref"] for e in read(lab.folder("u") / FILE).records} == {f"refs/autoresearch/u/{n}" for n in range(6)}
    assert "+X = 9.0" in call(lab, "diff", "2").stdout
    assert restore(lab, packed, None).tag == "t"  # both sessions may exist in one lab


def test_the_manifest_says_what_is_in_it_and_what_was_left_out(night: Lab, packed: Path) -> None:
    inside = contents(packed)
    assert list(inside)[:2] == [MANIFEST, BUNDLE]
    told = json.loads(inside.pop(MANIFEST))
    assert {name: hashlib.sha256(data).hexdigest() for name, data in inside.items()} == {
        name: entry["sha256"] for name, entry in told["members"].items()
    }
    assert {left["name"]: left["why"] for left in told["left_out"]} == {
        "runs/0001-1/link": "not a plain file",
        "runs/0001-1/weights.safetensors": "not the incumbent's weights",
        "runs/0005-1/weights.safetensors": "`--weights` includes this file",
    }
    assert not {name for name in inside if name.startswith(("session/worktree", "session/lock", "session/tmp"))}
    assert (told["tag"], told["prefix"], told["experiments"], len(told["refs"])) == ("t", ".", 6, 7)


def test_weights_go_along_when_asked_for(night: Lab, clone: Lab, tmp_path: Path) -> None:
    archive(night, "t", tmp_path / "heavy.tar.gz", weights=True)
    restore(clone, tmp_path / "heavy.tar.gz", None)
    assert [str(p.relative_to(clone.folder("t"))) for p in clone.folder("t").rglob("*.safetensors")] == [
        "runs/0005-1/weights.safetensors"
    ]


def test_the_times_of_files_stay_for_gc_goes_by_them(night: Lab, packed: Path, clone: Lab) -> None:
    restore(clone, packed, None)
    log = "runs/0002-1/log.txt"
    was, there = ((lab.folder("t") / log).stat().st_mtime for lab in (night, clone))
    assert int(was) == int(there)


@pytest.mark.slow
def test_a_session_of_another_machine_is_said_to_be_one(packed: Path, clone: Lab, tmp_path: Path) -> None:
    def moved(told: dict[str, Any]) -> None:
        told["host"], told["machine"]["chip"] = "studio", "Apple M4 Max"

    done = call(clone, "restore", str(remade(packed, tmp_path, manifest=moved)))
    assert "measured on studio (Apple M4 Max): its numbers cannot be compared" in done.stderr
    (event,) = [json.loads(x) for x in (clone.folder("t") / FILE).read_text().splitlines() if '"restored"' in x]
    assert event["host"] == "studio"


# --- sessions that cannot be archived


def test_a_session_in_use_is_not_archived(night: Lab, tmp_path: Path) -> None:
    with locked(night.folder("t")), pytest.raises(LockedError, match=f"in use by process {os.getpid()}"):
        archive(night, "t", tmp_path / "x.tar.gz", weights=False)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_takes_no_files_place(night: Lab, packed: Path) -> None:
    before = packed.read_bytes()
    assert "exists already" in refused(night, "archive", "-o", str(packed))
    assert packed.read_bytes() == before


@pytest.mark.parametrize(("how", "said"), [("--depth=1", "shallow"), ("--filter=blob:none", "partial")])
def test_a_clone_without_the_whole_history_is_refused_with_its_remedy(
    night: Lab, packed: Path, tmp_path: Path, how: str, said: str
) -> None:
    source = copied(night, tmp_path)
    git(source.root, "config", "uploadpack.allowFilter", "true")
    git(source.root, "commit", "--quiet", "--allow-empty", "-m", "later")
    git(tmp_path, "clone", "--quiet", "--single-branch", how, f"file://{source.root}", "part")
    lab = Lab(tmp_path / "part")
    restore(lab, packed, None)
    with pytest.raises(LabError, match=f"the clone is {said}") as caught:
        archive(lab, "t", tmp_path / "x.tar.gz", weights=False)
    remedy = caught.value.hint.split("`")[1] if "`" in caught.value.hint else caught.value.hint.partition(": ")[2]
    subprocess.run(["sh", "-ec", remedy], cwd=lab.root, check=True, capture_output=True)
    archive(lab, "t", tmp_path / "x.tar.gz", weights=False)


# --- archives that cannot be restored


def remade(
    packed: Path,
    folder: Path,
    manifest: Callable[[dict[str, Any]], None] = lambda told: None,
    member: Callable[[str, bytes], tuple[tarfile.TarInfo, bytes]] | None = None,
) -> Path:
    """Return a malicious archive: one that was changed, with a manifest that matches the change as far as possible."""
    inside = contents(packed)
    told = json.loads(inside.pop(MANIFEST))
    manifest(told)
    file = folder / "remade.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        for name, data in {MANIFEST: json.dumps(told).encode(), **inside}.items():
            info, body = member(name, data) if member else (tarfile.TarInfo(name), data)
            info.size = len(body) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(body))
    return file


def renamed(name: str) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        told["members"][name] = told["members"].pop("session/results.tsv")

    return change


@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil", "session/../../evil", "session//x", "session/a\\b", "evil", "session/\x1b"]
)
def test_a_member_that_wants_to_be_elsewhere_is_refused(packed: Path, clone: Lab, tmp_path: Path, name: str) -> None:
    def member(was: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        return tarfile.TarInfo(name if was == "session/results.tsv" else was), data

    file = remade(packed, tmp_path, renamed(name), member)
    with pytest.raises(LabError, match="is not a complete archive of a session: a member has the unsafe name"):
        restore(clone, file, None)
    assert nothing_of_it(clone) and not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_no_plain_file_is_refused(packed: Path, clone: Lab, tmp_path: Path, kind: bytes) -> None:
    def member(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        info = tarfile.TarInfo(name)
        if name == "session/results.tsv":
            info.type, info.linkname = kind, "/etc/passwd"
        return info, data

    with pytest.raises(LabError, match=r"is not a plain file of the size that its manifest\.json gives"):
        restore(clone, remade(packed, tmp_path, member=member), None)
    assert nothing_of_it(clone)


def _no_ref(told: dict[str, Any]) -> None:
    told["refs"] = {}


def _later(told: dict[str, Any]) -> None:
    told["format"] = 99


def _place(told: dict[str, Any]) -> None:
    told["prefix"] = "labs/one"


def _huge(told: dict[str, Any]) -> None:
    told["members"]["session/results.tsv"]["bytes"] = 10**18


def _more(told: dict[str, Any]) -> None:
    told["members"]["session/more"] = {"bytes": 0, "sha256": ""}


def _evil_tag(told: dict[str, Any]) -> None:
    told["tag"] = "../../evil"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_no_ref, "differ from its manifest"),
        (_later, "in format 99"),
        (_place, "is at 'labs/one' in its repository"),
        (_huge, "bytes, .* are free on this disk"),
        (_more, "session/more is missing"),
        (_evil_tag, "cannot name a session"),
        (lambda told: told["members"].pop("session/results.tsv"), "does not list"),
        (lambda told: told["members"].pop(BUNDLE), "no ledger or no history"),
        (lambda told: told.update(kind="x"), "contains no session"),
        (lambda told: told.pop("members"), "is incomplete"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    packed: Path, clone: Lab, tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    with pytest.raises((LabError, ConfigError), match=said):
        restore(clone, remade(packed, tmp_path, change), None)
    assert nothing_of_it(clone)


def test_a_changed_member_is_seen(packed: Path, clone: Lab, tmp_path: Path) -> None:
    def member(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        return tarfile.TarInfo(name), data.replace(b"1.25", b"0.25")

    with pytest.raises(LabError, match=r"ledger\.jsonl is damaged: its SHA-256 differs"):
        restore(clone, remade(packed, tmp_path, member=member), None)
    assert nothing_of_it(clone)


@pytest.mark.parametrize("what", ["text", "gzip", "half", "damaged", "empty"])
def test_a_file_that_is_no_archive_is_refused(packed: Path, clone: Lab, tmp_path: Path, what: str) -> None:
    whole = packed.read_bytes()
    middle = len(whole) // 2
    (file := tmp_path / "file").write_bytes(
        {
            "text": b"hello\n",
            "gzip": gzip.compress(b"hello\n" * 1000),
            "half": whole[:middle],
            "damaged": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
            "empty": b"",
        }[what]
    )
    with pytest.raises(LabError, match="is not a complete archive of a session"):
        restore(clone, file, None)
    assert nothing_of_it(clone)


@pytest.mark.slow
def test_what_is_here_already_is_never_overwritten(night: Lab, packed: Path, clone: Lab) -> None:
    assert "session t is here already" in (said := refused(night, "restore", str(packed)))
    assert "--tag NAME" in said
    for ref in ("refs/heads/autoresearch/t", "refs/autoresearch/t/3"):
        git(clone.root, "update-ref", ref, "HEAD")
        with pytest.raises(LabError, match=f"already has git refs of session t: {ref}"):
            restore(clone, packed, None)
        assert git(clone.root, "rev-parse", ref) == git(clone.root, "rev-parse", "HEAD")
        git(clone.root, "update-ref", "-d", ref)
    with pytest.raises(ConfigError, match="cannot name a session"):
        restore(clone, packed, "../x")


@pytest.mark.slow
@pytest.mark.uncounted  # a kill near the end damages the file of coverage counts
def test_a_restore_that_is_killed_leaves_nothing_for_the_next_one(packed: Path, clone: Lab) -> None:
    command = ("restore", str(packed))
    began = time.monotonic()
    assert command_line(*command, "--tag", "whole", cwd=clone.root).returncode == 0
    whole = time.monotonic() - began
    for share in (0.3, 0.5, 0.7, 0.9):
        with working(clone, *command) as process:
            time.sleep(whole * share)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        if "t" in clone.tags():
            break  # it was done before the kill
    else:
        restore(clone, packed, None)
    assert list(clone.state.glob(".restoring*")) == []
    assert len(git(clone.root, "for-each-ref", "refs/autoresearch/t").splitlines()) == 6


def test_a_lock_that_a_killed_git_left_on_our_refs_is_removed(packed: Path, clone: Lab) -> None:
    lock = clone.root / ".git" / "refs" / "heads" / "autoresearch" / "t.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert restore(clone, packed, None).experiments == 6
    assert not lock.exists()


def test_refs_of_a_restore_that_died_before_its_folder_came_are_removed(packed: Path, clone: Lab) -> None:
    clone.make_state()
    (begun := clone.state / ".restoring-1").mkdir()
    head = git(clone.root, "rev-parse", "HEAD")
    (begun / "refs.json").write_text(json.dumps({"tag": "t", "refs": {"refs/autoresearch/t/3": head}}))
    git(clone.root, "update-ref", "refs/autoresearch/t/3", head)
    assert restore(clone, packed, None).experiments == 6
    assert not begun.exists()


# --- a session that trains


def test_rows_that_lie_elsewhere_are_known_by_their_hashes(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made = tiny.corpus(cache)
    conditions = PretrainConditions.from_json(
        {
            "script": "train_mlx.py",
            "corpus": str(tmp_path / "gone"),
            "data_sha256": made.manifest.sha256,
            "source": "folder",
            "vocab_size": 300,
            "seq_len": 32,
            "eval_rows": 32,
            "device": "cpu",
            "budget_seconds": 5.0,
            "compile_seconds": 10.0,
            "evaluate_seconds": 60.0,
        }
    )
    assert recorded_corpus(conditions, cache).folder == made.folder
    shutil.rmtree(made.folder)
    with pytest.raises(CorpusError, match=f"the corpus was in {tmp_path / 'gone'}") as caught:
        recorded_corpus(conditions, cache)
    assert "`autoresearch-mlx prepare folder PATH --vocab-size 300 --seq-len 32`" in caught.value.hint
