"""One child process with a time limit: no part of it survives, and nothing that it writes can stop the parent."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autoresearch_mlx.trial.runner import LOG_LIMIT, Ended, Log, child_process_environment, python_command, run_child
from autoresearch_mlx.trial.sandbox.limits import MARKER, Limits, Watch
from autoresearch_mlx.trial.spec import EVENTS_ENV


@dataclass
class Run:
    ended: Ended
    log: bytes
    events: list[Mapping[str, Any]] = field(default_factory=list)
    output: bytes = b""


def run(folder: Path, *command: str, seconds: float = 20.0, **environment: str) -> Run:
    """Run a child that is killed after this time, with the reason ``late``."""
    end = time.monotonic() + seconds
    events: list[Mapping[str, Any]] = []
    output: list[bytes] = []
    with Log(folder / "log") as log:
        ended = run_child(
            command,
            cwd=folder,
            environment={**os.environ, **environment},
            log=log,
            allowed=lambda: "late" if time.monotonic() > end else None,
            on_event=events.append,
            on_output=output.append,
        )
    return Run(ended, (folder / "log").read_bytes(), events, b"".join(output))


def shell(folder: Path, line: str, **limits: Any) -> Run:
    return run(folder, "/bin/sh", "-c", line, **limits)


def python(folder: Path, text: str, **limits: Any) -> Run:
    return run(folder, sys.executable, "-c", text, **limits)


def wait_for(what: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def is_gone(pid: int) -> bool:
    """Return whether a process is dead, or a zombie that its new parent has not reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return "Z" in subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout


def test_an_ordinary_child(tmp_path: Path) -> None:
    done = shell(tmp_path, "echo out; echo err >&2; sleep 0.3; exit 3")
    assert (done.ended.returncode, done.ended.killed) == (3, None)
    assert done.log == done.output == b"out\nerr\n"
    assert 0.3 <= done.ended.seconds < 10
    assert done.ended.peak_memory_mb is not None and 0 < done.ended.peak_memory_mb < 1000


def test_all_that_a_child_says_before_its_end_is_kept(tmp_path: Path) -> None:
    assert shell(tmp_path, "head -c 500000 /dev/zero | tr '\\0' 'x'; echo end").log.endswith(b"xend\n")


def test_a_child_that_overstays_is_killed_with_its_grandchildren(tmp_path: Path) -> None:
    done = shell(tmp_path, "sleep 600 & echo $! >pid; sleep 600", seconds=0.3)
    assert (done.ended.returncode, done.ended.killed) == (-signal.SIGKILL, "late")
    assert wait_for(lambda: is_gone(int((tmp_path / "pid").read_text())))


def test_ignoring_signals_does_not_help(tmp_path: Path) -> None:
    ignoring = "import signal, time\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\n"
    ignoring += "print('up', flush=True)\ntime.sleep(600)"
    done = python(tmp_path, ignoring, seconds=0.5)
    assert done.ended.killed == "late"
    assert done.log == b"up\n"
    assert done.ended.seconds < 10


def test_what_an_ended_child_left_running_is_killed(tmp_path: Path) -> None:
    done = shell(tmp_path, "sleep 600 & echo $! >pid; exit 0")
    assert (done.ended.returncode, done.ended.killed) == (0, None)
    assert done.ended.seconds < 5
    assert wait_for(lambda: is_gone(int((tmp_path / "pid").read_text())))


def test_a_writer_left_behind_does_not_keep_the_parent_waiting(tmp_path: Path) -> None:
    began = time.monotonic()
    done = shell(tmp_path, "(while :; do echo more; done) & sleep 0.1; exit 0", seconds=8)
    assert done.ended.returncode == 0
    assert time.monotonic() - began < 5


def test_not_even_a_writer_that_left_the_group(tmp_path: Path) -> None:
    escape = "import os, time\nos.setsid()\nend = time.monotonic() + 6\n"
    escape += "while time.monotonic() < end: os.write(1, b'x'); time.sleep(0.005)"
    (tmp_path / "escape.py").write_text(escape)
    began = time.monotonic()
    done = shell(tmp_path, f"{sys.executable} escape.py & sleep 0.2; exit 0", seconds=8)
    assert done.ended.returncode == 0
    assert time.monotonic() - began < 5


def test_a_child_that_closes_its_output_is_waited_for(tmp_path: Path) -> None:
    done = shell(tmp_path, "exec >&- 2>&-; sleep 0.4; touch done")
    assert (tmp_path / "done").exists()
    assert done.ended.seconds >= 0.4


def test_a_child_that_closes_everything_is_still_killed_in_time(tmp_path: Path) -> None:
    done = python(tmp_path, "import os, time\nos.closerange(0, 64)\ntime.sleep(600)", seconds=0.4)
    assert done.ended.killed == "late"
    assert done.ended.seconds < 10


def test_a_flood_keeps_its_last_megabyte(tmp_path: Path) -> None:
    done = python(tmp_path, "for i in range(60_000): print(i, 'x' * 90)")
    assert len(done.log) <= LOG_LIMIT
    assert done.log.rstrip().splitlines()[-1].startswith(b"59999 ")
    assert len(done.output) > 5 * LOG_LIMIT


def test_a_line_without_an_end_is_no_trouble(tmp_path: Path) -> None:
    text = "import os\nfd = int(os.environ['AUTORESEARCH_EVENTS_FD'])\n"
    text += "for _ in range(40): os.write(fd, b'{' * 50_000); os.write(1, b'y' * 50_000)\n"
    done = python(tmp_path, text + 'os.write(fd, b\'\\n{"event": "last"}\\n\')')
    assert done.events == [{"event": "last"}]
    assert len(done.log) == LOG_LIMIT


def test_output_that_is_no_text_is_kept_as_it_came(tmp_path: Path) -> None:
    garbage = bytes(range(256)) * 3
    assert python(tmp_path, f"import os; os.write(1, {garbage!r})").log == garbage


def test_events_are_the_json_objects_among_the_lines(tmp_path: Path) -> None:
    lines = [
        b'{"event": "a"}', b"not json", b"", b"[1, 2]", b"3", b"null", b'"text"', b"\xff\xfe", b'{"event": "b"',
        b"[" * 60_000, b'{"n": ' + b"9" * 9000 + b"}", b'{"event": "\xc3\xa9"}', b"\0\0\0", b'{"event": "c", "x": NaN}',
        b'{"event": "torn',
    ]  # fmt: skip
    (tmp_path / "lines").write_bytes(b"\n".join(lines))
    write = f"import os; os.write(int(os.environ[{EVENTS_ENV!r}]), open('lines', 'rb').read())"
    done = python(tmp_path, write)
    assert [e["event"] for e in done.events] == ["a", "é", "c"]
    assert done.log == b""


def test_an_event_that_comes_in_pieces_is_one(tmp_path: Path) -> None:
    text = "import os, time\nfd = int(os.environ['AUTORESEARCH_EVENTS_FD'])\n"
    text += "for piece in (b'{\"eve', b'nt\": 1', b'}\\n{}'): os.write(fd, piece); time.sleep(0.15)\n"
    assert python(tmp_path, text + "os.write(fd, b'\\n')").events == [{"event": 1}, {}]


@pytest.mark.parametrize(
    ("command", "error"), [("./no-such-program", FileNotFoundError), ("./not-executable", PermissionError)]
)
def test_a_command_that_cannot_start_raises_and_leaks_nothing(
    tmp_path: Path, command: str, error: type[OSError]
) -> None:
    (tmp_path / "not-executable").touch()
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(error):
            run(tmp_path, command)
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_a_child_gets_no_input_and_no_other_descriptor(tmp_path: Path) -> None:
    text = "import os, sys\nprint(repr(sys.stdin.read()))\n"
    text += "print([fd for fd in range(3, 200) if os.path.exists(f'/dev/fd/{fd}')])"
    secret = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(secret, True)
    first, second = python(tmp_path, text).log.decode().splitlines()
    os.close(secret)
    assert first == "''"
    assert str(secret) not in second.strip("[]").split(", ")


def test_an_interrupt_of_the_parent_leaves_no_child(tmp_path: Path) -> None:
    parent = f"""
import os, sys
from pathlib import Path
from autoresearch_mlx.trial.runner import Log, run_child
with Log(Path({str(tmp_path)!r}) / "log") as log:
    run_child(["/bin/sh", "-c", "sleep 600 & echo $! $$ >pids; echo up; wait"], cwd=Path({str(tmp_path)!r}),
              environment=os.environ, log=log, allowed=lambda: None,
              on_output=lambda data: print("up", flush=True))
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) in (-signal.SIGINT, 130, 1)
    grandchild, child = map(int, (tmp_path / "pids").read_text().split())
    assert wait_for(lambda: is_gone(child) and is_gone(grandchild))


def test_the_memory_of_descendants_counts(tmp_path: Path) -> None:
    heavy = "import time; block = b'x' * 120_000_000; print('held', flush=True); time.sleep(1.6)"
    done = shell(tmp_path, f'{sys.executable} -c "{heavy}"; true')
    assert done.ended.peak_memory_mb is not None
    assert 100 < done.ended.peak_memory_mb < 1000


def test_children_do_not_import_from_the_scripts_folder_and_write_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')\n")
    (tmp_path / "script.py").write_text("import json\nprint('fine')\n")
    done = run(tmp_path, *python_command("script.py"), **child_process_environment({}))
    assert done.log == b"fine\n"
    assert not (tmp_path / "__pycache__").exists()


def test_a_log_goes_on_where_it_ended_and_stays_within_its_limit(tmp_path: Path) -> None:
    with Log(tmp_path / "log") as log:
        log.write(b"first\n")
    with Log(tmp_path / "log") as log:
        log.write(b"second\n")
    assert (tmp_path / "log").read_bytes() == b"first\nsecond\n"
    with Log(tmp_path / "log") as log:
        for _ in range(5):
            log.write(b"z" * LOG_LIMIT)
            assert (tmp_path / "log").stat().st_size <= 2 * LOG_LIMIT
        log.write(b"end")
    assert (tmp_path / "log").stat().st_size == LOG_LIMIT
    assert (tmp_path / "log").read_bytes().endswith(b"zend")


# --- limits, and files in the place of the log


def watched(folder: Path, line: str, marker: str = "", **limits: Any) -> Ended:
    end = time.monotonic() + 20
    with Log(folder / "log") as log:
        return run_child(
            ["/bin/sh", "-c", line],
            cwd=folder,
            environment={**os.environ, MARKER: marker},
            log=log,
            allowed=lambda: "late" if time.monotonic() > end else None,
            watch=Watch(Limits(**limits), marker),
        )


def test_a_child_that_uses_too_much_is_killed_with_the_reason(tmp_path: Path) -> None:
    ended = watched(tmp_path, "for n in 1 2 3 4 5 6; do sleep 30 & done; wait", processes=4)
    assert (ended.returncode, ended.killed) == (-signal.SIGKILL, None)
    assert re.fullmatch(r"the run had [5-7] processes, and a run may have 4", ended.exceeded or "")


def test_what_left_the_group_is_killed_when_it_is_watched(tmp_path: Path) -> None:
    leaves = "import os, time; os.setsid(); open('pid', 'w').write(str(os.getpid())); time.sleep(30)"
    (tmp_path / "leaves.py").write_text(leaves)
    waits = "while ! test -s pid; do sleep 0.02; done"
    ended = watched(tmp_path, f"{sys.executable} leaves.py & {waits}; exit 4", marker="this-run")
    assert (ended.returncode, ended.exceeded) == (4, None)
    assert is_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("kind", ["link", "second name", "pipe", "folder"])
def test_whatever_stands_in_the_logs_place_is_removed_and_not_written_to(kind: str, tmp_path: Path) -> None:
    ledger, log = tmp_path / "ledger", tmp_path / "log"
    ledger.write_text("kept")
    {
        "link": lambda: log.symlink_to(ledger),
        "second name": lambda: log.hardlink_to(ledger),
        "pipe": lambda: os.mkfifo(log),
        "folder": log.mkdir,
    }[kind]()
    with Log(log) as writer:
        writer.write(b"mine")
    assert (log.read_text(), ledger.read_text()) == ("mine", "kept")
    assert log.is_file() and not log.is_symlink()


def test_a_log_is_added_to(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        with Log(tmp_path / "log") as writer:
            writer.write(text)
    assert (tmp_path / "log").read_text() == "first\nsecond\n"
