"""Real child processes in this machine's real sandbox: what fails, what works, and what the parent still sees."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny

from autoresearch_mlx.experiment import Assignment
from autoresearch_mlx.targets.corpus.rows import Corpus
from autoresearch_mlx.trial.conditions import Conditions
from autoresearch_mlx.trial.runner import Ended, Log, child_process_environment, python_command, run_child
from autoresearch_mlx.trial.sandbox import landlock, seccomp
from autoresearch_mlx.trial.sandbox.child_permissions import training_permissions
from autoresearch_mlx.trial.sandbox.detect import NoSandbox, Sandbox, find_sandbox, refused
from autoresearch_mlx.trial.sandbox.permissions import Permissions, private_tmp
from autoresearch_mlx.trial.spec import TRAIN_ENV

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox of Linux")


@dataclass(frozen=True)
class Room:
    """A run folder and a worktree, with child processes that run there in the sandbox."""

    sandbox: Sandbox
    assignment: Assignment
    conditions: Conditions
    permissions: Permissions

    def run(self, *command: str, permissions: Permissions | None = None) -> tuple[Ended, str, list[Mapping[str, Any]]]:
        events: list[Mapping[str, Any]] = []
        end = time.monotonic() + 30
        environment = {
            **child_process_environment(self.conditions.environment),
            **private_tmp(self.assignment.folder),
            TRAIN_ENV: str(self.assignment.folder / "train.json"),
        }
        log = self.assignment.folder.parent / "log"
        log.unlink(missing_ok=True)
        with Log(log) as writer:
            ended = run_child(
                self.sandbox.wrap(command, permissions or self.permissions),
                cwd=self.assignment.tree,
                environment=environment,
                log=writer,
                allowed=lambda: "late" if time.monotonic() > end else None,
                on_event=events.append,
            )
        return ended, log.read_text(errors="replace"), events

    def python(self, text: str, permissions: Permissions | None = None) -> str:
        """Return the output of a program; if it raises an exception, that is the last line."""
        _, said, _ = self.run(*python_command("-c", text), permissions=permissions)
        return (said.strip().splitlines() or [""])[-1]


@pytest.fixture
def room(sandbox: Sandbox, under: Conditions, tmp_path: Path) -> Room:
    assignment = Assignment(tmp_path / "tree", tmp_path / "runs" / "run", 42, lambda progress: None)
    assignment.tree.mkdir(parents=True)
    assignment.folder.mkdir(parents=True)
    return Room(sandbox, assignment, under, training_permissions(under, assignment))


DENIED = "PermissionError: [Errno 13] Permission denied"
REFUSED = "PermissionError: [Errno 1] Operation not permitted"


def test_no_rows_open(room: Room, corpus: Corpus) -> None:
    said = room.python(
        f"for secret in {[*(str(corpus.path(name)) for name in ('train', 'val', 'hidden')), str(Path.home())]!r}:\n"
        "    try: open(secret, 'rb').read(1)\n"
        "    except PermissionError: print('denied', end=' ')\n"
    )
    assert said == "denied denied denied denied"


def test_other_names_of_a_closed_file_are_closed_too(room: Room, corpus: Corpus) -> None:
    secret = corpus.path("val")
    (room.assignment.tree / "link").symlink_to(secret)
    assert room.python("open('link', 'rb').read(1)").startswith(DENIED)
    relative = os.path.relpath(secret, room.assignment.tree)
    assert room.python(f"open({relative!r}, 'rb').read(1)").startswith(DENIED)
    hard = room.assignment.folder / "hard"
    assert "OSError" in room.python(f"import os; os.link({str(secret)!r}, {str(hard)!r})") or not hard.exists()
    moved = room.python(f"import os; os.rename({str(secret)!r}, {str(hard)!r})")
    assert moved.startswith(("PermissionError", "OSError")) and secret.exists()


@pytest.mark.parametrize(
    "act", ["open({}, 'w')", "open({}, 'a')", "os.remove({})", "os.truncate({}, 0)", "os.chmod({}, 0)"]
)
def test_what_is_outside_cannot_be_changed(act: str, room: Room, tmp_path: Path) -> None:
    mine = tmp_path / "runs" / "ledger.jsonl"
    mine.write_text("kept")
    said = room.python(f"import os; {act.format(repr(str(mine)))}")
    assert said.startswith("PermissionError")
    assert mine.read_text() == "kept" and mine.stat().st_mode & 0o400


@pytest.mark.parametrize("where", ["tree", "beside", "home", "tmp", "shm"])
def test_nothing_is_made_outside_the_run_folder(where: str, room: Room, tmp_path: Path) -> None:
    place = {
        "tree": room.assignment.tree,
        "beside": tmp_path / "runs",
        "home": Path.home(),
        "tmp": Path("/tmp"),
        "shm": Path("/dev/shm"),
    }[where] / f"made-{os.getpid()}"
    assert room.python(f"open({str(place)!r}, 'w')").startswith(DENIED)
    assert not place.exists()


def test_the_run_folder_and_the_temporary_folder_are_there_to_write(room: Room) -> None:
    said = room.python(
        "import os, tempfile\n"
        f"os.chdir({str(room.assignment.folder)!r})\n"
        "open('a', 'w').write('1'); os.makedirs('d/e'); os.rename('a', 'd/e/b')\n"
        "os.remove('d/e/b'); os.removedirs('d/e')\n"
        "with tempfile.NamedTemporaryFile() as f: print(f.name.startswith(os.getcwd() + '/tmp/'))"
    )
    assert said == "True"


def test_no_link_pipe_or_socket_waits_in_the_run_folder_for_the_parent(room: Room) -> None:
    folder = room.assignment.folder
    for act in ("os.symlink('/etc/passwd', {})", "os.mkfifo({})", "socket.socketpair()[0].bind({})"):
        assert room.python(f"import os, socket; {act.format(repr(str(folder / 'evaluate.json')))}").startswith(
            "PermissionError"
        )
    assert not (folder / "evaluate.json").exists()


def test_no_socket_can_be_opened(room: Room) -> None:
    said = room.python(
        "import socket\n"
        "for family in ('AF_INET', 'AF_INET6', 'AF_UNIX', 'AF_NETLINK', 'AF_VSOCK'):\n"
        "    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):\n"
        "        try: socket.socket(getattr(socket, family), kind); print('open', family, kind)\n"
        "        except PermissionError as error: assert error.errno == 1, error\n"
        "print('all refused')"
    )
    assert said == "all refused"


def test_a_network_that_is_allowed_is_there(room: Room) -> None:
    said = room.python("import socket; socket.socket(); print('open')", replace(room.permissions, network=True))
    assert said == "open"


@pytest.mark.skipif(landlock.abi() < landlock.PORTS_ABI, reason="Landlock 4, of Linux 6.7")
def test_with_one_port_open_only_a_tcp_connection_to_that_port_is_possible(room: Room) -> None:
    with socket.create_server(("127.0.0.1", 0)) as open_, socket.create_server(("127.0.0.1", 0)) as closed:
        port, other = open_.getsockname()[1], closed.getsockname()[1]
        said = room.python(
            "import socket\n"
            f"socket.create_connection(('127.0.0.1', {port}), 5).sendall(b'x')\n"
            "def refused(what):\n"
            "    try: what()\n"
            "    except PermissionError: return\n"
            "    print('open')\n"
            f"refused(lambda: socket.create_connection(('127.0.0.1', {other}), 5))\n"
            "for family in ('AF_INET6', 'AF_UNIX', 'AF_NETLINK', 'AF_VSOCK'):\n"
            "    refused(lambda: socket.socket(getattr(socket, family), socket.SOCK_STREAM))\n"
            "for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):\n"
            "    refused(lambda: socket.socket(socket.AF_INET, kind))\n"
            "refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))\n"
            "refused(lambda: socket.socket().listen())\n"
            "refused(lambda: socket.socket().bind(('127.0.0.1', 0)))\n"
            f"refused(lambda: socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', {other})))\n"
            "print('all refused')",
            replace(room.permissions, ports=(port,)),
        )
    assert said == "all refused"


def test_other_processes_cannot_be_signalled_traced_or_looked_into(room: Room) -> None:
    assert room.python(f"import os; os.kill({os.getpid()}, 0)") == REFUSED
    assert room.python("import os; os.kill(-1, 0)") == REFUSED
    assert room.python(f"open('/proc/{os.getpid()}/environ').read()").startswith("PermissionError")
    limits = f"import resource; resource.prlimit({os.getpid()}, resource.RLIMIT_CORE, (0, 0))"
    assert room.python(limits).startswith("PermissionError")


def test_own_children_work_and_can_be_signalled(room: Room) -> None:
    ended, said, _ = room.run("/bin/sh", "-c", "sleep 60 & kill $!; wait $!; echo $?")
    assert (ended.returncode, said.strip().splitlines()[-1]) == (0, "143")


def test_nobody_leaves_the_process_group(room: Room) -> None:
    for way in ("os.setsid()", "os.setpgid(0, 0)"):
        assert room.python(f"import os\nif os.fork(): os.wait()\nelse: {way}") == REFUSED
    assert room.python("import subprocess; subprocess.run(['true'], start_new_session=True)") == REFUSED


@pytest.mark.slow
def test_threads_always_work_and_processes_only_where_they_are_allowed(room: Room) -> None:
    alone = replace(room.permissions, processes=1)
    threads = "import threading; t = threading.Thread(target=print, args=('ran',)); t.start(); t.join()"
    assert room.python(threads, alone) == "ran"
    for way in (
        "os.fork()",
        "sys.exit('?' if os.system('true') else 'ran')",
        "os.posix_spawn('/bin/true', ['true'], {})",
    ):
        said = room.python(f"import os, sys; {way}", alone)
        assert said in (REFUSED, "?") or said.startswith("PermissionError"), said


@pytest.mark.parametrize("code", [0, 3, 71])
def test_the_exit_code_is_the_commands(code: int, room: Room) -> None:
    ended, said, _ = room.run("/bin/sh", "-c", f"exit {code}")
    assert ended.returncode == code
    assert refused(code, said) is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_death_by_a_signal_is_seen_as_one(number: signal.Signals, room: Room) -> None:
    ended, _, _ = room.run("/bin/sh", "-c", f"kill -{int(number)} $$")
    assert ended.returncode == -number


def test_events_come_through_the_inherited_pipe(room: Room) -> None:
    ended, _, events = room.run(
        *python_command("-c", "import os; os.write(int(os.environ['AUTORESEARCH_EVENTS_FD']), b'{\"event\": 1}\\n')")
    )
    assert (ended.returncode, events) == (0, [{"event": 1}])


def test_the_child_is_the_process_that_was_started(room: Room) -> None:
    said = room.python("import os; print(os.getpgrp() == os.getpid() == os.getsid(0), os.getppid())")
    assert said == f"True {os.getpid()}"


def test_a_command_that_does_not_exist_is_said_and_nothing_runs(room: Room) -> None:
    ended, said, _ = room.run("./no-such-program")
    assert ended.returncode == 71
    assert refused(ended.returncode, said) == (
        "the sandbox could not be entered: No such file or directory (./no-such-program)"
    )


def test_a_program_outside_the_system_and_this_python_is_not_started(room: Room, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\ntouch made\n")
    program.chmod(0o755)
    ended, said, _ = room.run(str(program))
    assert "Permission denied" in (refused(ended.returncode, said) or "")


def test_a_file_that_grows_too_large_ends_with_an_error(room: Room) -> None:
    big = f"open({str(room.assignment.folder / 'big')!r}, 'wb').write(bytes(9_000_000))"
    assert room.python(big, replace(room.permissions, file_bytes=1_000_000)).startswith("OSError: [Errno 27]")
    assert (room.assignment.folder / "big").stat().st_size <= 1_000_000


def test_limits_cannot_be_raised_again_not_even_by_root(room: Room) -> None:
    said = room.python(
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))",
        replace(room.permissions, file_bytes=10**6),
    )
    assert said.startswith(("ValueError", "PermissionError"))


def test_memory_beyond_the_limit_is_not_given(room: Room) -> None:
    eater = "blocks = [b'x' * 10_000_000 for _ in range(100)]"
    assert room.python(eater, replace(room.permissions, memory_bytes=300_000_000)).startswith("MemoryError")


def test_memory_that_no_process_shows_cannot_be_had(room: Room) -> None:
    assert room.python("import os; os.memfd_create('x')") == REFUSED


def test_a_second_stricter_policy_stays_on_top_of_the_first(room: Room) -> None:
    file = room.assignment.tree / "file"
    file.write_text("123456789")
    said = room.python(
        "from dataclasses import replace\n"
        "from autoresearch_mlx.trial.sandbox.linux_sandbox import confine\n"
        "from autoresearch_mlx.trial.sandbox.permissions import permissions_from_json\n"
        f"permissions = permissions_from_json({room.permissions.to_json()!r})\n"
        f"first = open({str(file)!r}, 'rb')\n"
        f"less = tuple(p for p in permissions.read if str(p) != {str(file.parent.resolve())!r})\n"
        "confine(replace(permissions, read=less))\n"
        "print(len(first.read(9)), end=' ')\n"
        f"try: open({str(file)!r}, 'rb')\n"
        "except PermissionError: print('denied')"
    )
    assert said == "9 denied"


@pytest.mark.parametrize("version", [3, 4, 5])
def test_an_older_kernel_still_keeps_files_sockets_and_signals(version: int, room: Room, corpus: Corpus) -> None:
    """The sandbox uses only those features of this kernel that an older kernel has too."""
    text = (
        "import os, signal, socket\n"
        "from autoresearch_mlx.trial.sandbox.linux_sandbox import confine\n"
        "from autoresearch_mlx.trial.sandbox.permissions import permissions_from_json\n"
        f"confine(permissions_from_json({room.permissions.to_json()!r}), {version})\n"
        f"for act in (lambda: open({str(corpus.path('val'))!r}), socket.socket, lambda: os.kill(os.getppid(), 0)):\n"
        "    try: act(); print('works', end=' ')\n"
        "    except PermissionError: print('denied', end=' ')\n"
        "os.kill(os.getpid(), 0); print('own signal')"
    )
    done = subprocess.run([*python_command("-c", text)], capture_output=True, text=True, timeout=30)
    assert done.stdout == "denied denied denied own signal\n", done.stderr


@pytest.mark.slow
def test_a_whole_training_and_evaluation_give_inside_what_they_give_outside(room: Room, tmp_path: Path) -> None:
    plain = replace(room.conditions, steps=3)
    outside = tiny.measure(tiny.script(), tmp_path / "outside", plain)
    inside = tiny.measure(tiny.script(), tmp_path / "inside", replace(plain, sandbox=room.sandbox))
    assert outside.failure is None and inside.failure is None, (outside.reason, inside.reason)
    assert inside.value == tiny.score(outside.value)


def test_entering_costs_little(room: Room) -> None:
    """Measured: some 0.04 s."""
    began = time.monotonic()
    for _ in range(3):
        room.run("/bin/true")
    assert (time.monotonic() - began) / 3 < 2


def test_a_machine_without_a_table_of_calls_has_no_sandbox() -> None:
    assert seccomp.supported("x86_64") and seccomp.supported("aarch64")
    assert not seccomp.supported("riscv64")
    assert landlock.abi() >= landlock.LEAST_ABI
    assert isinstance(find_sandbox("win32"), NoSandbox)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_jumps_of_the_filter_stay_inside_it(machine: str) -> None:
    steps = seccomp.program(seccomp.Rules(network=False, fork=False, own_signals=7, ports=True), machine)
    assert len(steps) < 4096
    for at, (code, yes, no, _) in enumerate(steps):
        jumps = (yes, no) if code & 7 == 5 else (0,)
        assert all(at + 1 + jump < len(steps) or at + 1 == len(steps) for jump in jumps)
    assert steps[-1][0] == 6
