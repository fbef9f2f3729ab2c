"""Every system call by which a confined process could leave a message, slow down another process, or get out."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from autoresearch_mlx.trial.sandbox.detect import Sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox of Linux")

NOBODY = 65534
USERS = [
    pytest.param([], id="as this user"),
    pytest.param(
        [str(NOBODY)],
        id="as an ordinary user",
        marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; see the first case"),
    ),
]


@pytest.fixture(params=USERS)
def outcomes(request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path) -> dict[str, int]:
    """Return the errno of each attempt, from a process that confined itself."""
    (tmp_path / "run").mkdir()
    for file in (tmp_path / "run" / "mine", tmp_path / "theirs"):
        file.write_text("text")
        file.chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() != "root" or folder == Path("/tmp"):
            break
        folder.chmod(folder.stat().st_mode | 0o055)
    victim = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    try:
        if request.param:
            for path in (tmp_path / "run", tmp_path / "run" / "mine"):
                os.chown(path, NOBODY, NOBODY)
        program = ROOT / "tests" / "support" / "forbidden_calls.py"
        command = [sys.executable, str(program), str(tmp_path), str(victim.pid), *request.param]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        found: dict[str, int] = json.loads(done.stdout)
        return found
    finally:
        victim.kill()
        victim.wait()


def test_each_of_more_than_a_hundred_calls_is_refused(outcomes: dict[str, int]) -> None:
    assert len(outcomes) > 100
    worked = {name: errno.errorcode.get(code, "worked") for name, code in outcomes.items() if code != errno.EPERM}
    assert worked == {}
