"""The profile for sandbox-exec, as text, because there is no Mac here to run it on."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_mlx.trial.sandbox.detect import refused
from autoresearch_mlx.trial.sandbox.permissions import Permissions
from autoresearch_mlx.trial.sandbox.seatbelt import TOOL, confined, explain, own_cache, profile, quoted

PERMISSIONS = Permissions(
    read=(Path("/Users/me/lab/.autoresearch/a/worktree"), Path("/Users/me/Library/Caches/rows/train.npy")),
    write=(Path("/Users/me/lab/.autoresearch/a/runs/0001-1"),),
    listed=(Path("/Users/me/src"),),
    gpu=True,
    processes=1,
)
CACHE = Path("/private/var/folders/ab/cd/C/autoresearch-0123")

BEGINNING = """\
(version 1)
(deny default)
(allow process-exec)
(allow process-info* (target same-sandbox))
(allow signal (target same-sandbox))
(allow sysctl-read)
(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))
(allow file-read-metadata)
(allow file-test-existence)
(allow file-map-executable)
(allow file-read-data (literal "/"))
(allow file-read* (subpath "/usr/lib"))
"""
END = """\
(allow file-read* (subpath "/dev/urandom"))
(allow file-read* (subpath "/Users/me/lab/.autoresearch/a/worktree"))
(allow file-read* (subpath "/Users/me/Library/Caches/rows/train.npy"))
(allow file-read-data (literal "/Users/me/src"))
(allow file-write-data (literal "/dev/null") (literal "/dev/zero"))
(allow file-read* file-write* (subpath "/Users/me/lab/.autoresearch/a/runs/0001-1"))
(deny file-write-create (vnode-type SYMLINK))
(deny file-link)
(allow iokit-open (iokit-user-client-class "AGXDeviceUserClient"))
(allow mach-lookup (global-name "com.apple.MTLCompilerService"))
(allow mach-lookup (xpc-service-name "com.apple.MTLCompilerService"))
(allow file-read* file-write* (subpath "/private/var/folders/ab/cd/C/autoresearch-0123"))
(allow file-issue-extension (require-all (extension-class "com.apple.app-sandbox.read-write") \
(subpath "/private/var/folders/ab/cd/C/autoresearch-0123")))
"""
LAST = "(deny syscall-unix (syscall-number SYS_setsid) (syscall-number SYS_setpgid))\n"


def test_the_profile_of_a_training_run() -> None:
    text = profile(PERMISSIONS, CACHE)
    assert text.startswith(BEGINNING)
    assert END in text
    assert text.endswith(LAST)


def test_nothing_lets_it_out_to_the_network_or_the_home_directory() -> None:
    text = profile(PERMISSIONS, CACHE)
    assert "network" not in text and "socket" not in text
    assert '(subpath "/")' not in text and '(subpath "/Users/me")' not in text and '(subpath "/System")' not in text
    assert "process-fork" not in text


def test_each_permission_is_a_rule_of_its_own() -> None:
    assert "(allow process-fork)" in profile(replace(PERMISSIONS, processes=32), CACHE)
    assert "(allow network*)" in profile(replace(PERMISSIONS, network=True), CACHE)
    only = profile(replace(PERMISSIONS, ports=(8080,)), CACHE)
    assert '(allow network-outbound (remote tcp "localhost:8080"))' in only and "network*" not in only
    assert "SYS_setsid" not in profile(replace(PERMISSIONS, leave_group=True), CACHE)
    assert "AGXDeviceUserClient" not in profile(replace(PERMISSIONS, gpu=False), CACHE)
    assert "/private/var/folders" not in profile(PERMISSIONS, None)


def test_parentheses_are_closed() -> None:
    text = profile(PERMISSIONS, CACHE)
    assert all(line.count("(") == line.count(")") for line in text.splitlines())


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("/a b/c", '"/a b/c"'),
        ('/say "hi"', '"/say \\"hi\\""'),
        ("/back\\slash", '"/back\\\\slash"'),
        ('/"))(allow default)', '"/\\"))(allow default)"'),
        ("/ünï/試", '"/ünï/試"'),
    ],
)
def test_odd_paths_are_quoted(path: str, written: str) -> None:
    assert quoted(Path(path)) == written


@pytest.mark.parametrize("path", ["/new\nline", "/tab\t", "/nul\x7f"])
def test_a_path_that_cannot_be_written_down_is_an_error(path: str) -> None:
    with pytest.raises(OSError, match="control characters"):
        profile(replace(PERMISSIONS, read=(Path(path),)), None)


def test_the_command_line_carries_the_profile() -> None:
    command = confined(["/usr/bin/true", "-x"], PERMISSIONS)
    assert command[:2] == [TOOL, "-p"]
    assert command[2].startswith("(version 1)\n(deny default)\n")
    assert command[3:] == ["/usr/bin/true", "-x"]


def test_a_sandbox_inside_another_one_is_said_clearly() -> None:
    said = "sandbox-exec: sandbox_apply: Operation not permitted\n"
    assert "inside another sandbox" in explain(71, said)
    assert "inside another sandbox" in (refused(71, said) or "")
    assert explain(65, "sandbox-exec: unbound variable: SYS_x\n") == (
        "sandbox-exec failed: sandbox-exec: unbound variable: SYS_x"
    )


def test_this_text_is_the_same_everywhere() -> None:
    assert str(Path.home()) not in profile(PERMISSIONS, CACHE) and sys.prefix not in profile(PERMISSIONS, CACHE)


def test_no_rule_allows_a_write_outside_the_run_folder_and_the_process_s_own_cache() -> None:
    """Changing times, flags, modes, owners and attributes is writing too; devices accept only content."""
    allowed = [
        line for line in profile(PERMISSIONS, CACHE).splitlines() if "write" in line and line.startswith("(allow")
    ]
    devices, run, cache, extension = allowed
    assert devices == '(allow file-write-data (literal "/dev/null") (literal "/dev/zero"))'
    assert f'(subpath "{PERMISSIONS.write[0]}")' in run
    assert f'(subpath "{CACHE}")' in cache and f'(subpath "{CACHE}")' in extension


def test_processes_share_no_semaphores_and_no_memory() -> None:
    assert "ipc-" not in profile(PERMISSIONS, CACHE)


def test_each_process_has_a_cache_with_a_name_that_no_other_knows_and_old_ones_are_removed(tmp_path: Path) -> None:
    old, other = tmp_path / "autoresearch-old", tmp_path / "com.apple.metal"
    for folder in (old, other):
        folder.mkdir()
        os.utime(folder, (0, 0))
    one, two = own_cache(tmp_path), own_cache(tmp_path)
    assert one != two and {*tmp_path.iterdir()} == {one, two, other}
    assert one.stat().st_mode & 0o777 == 0o700
