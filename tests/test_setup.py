"""scripts/setup on machines where much is missing: no network is used, and the test puts every program on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ("sh", "cat", "cksum", "dirname", "grep", "mkdir", "rm", "sed", "tail", "uname", "cp", "chmod")

# Answers the script's questions: its version, the modules that it has, `-m venv`, `-m pip install`.
PYTHON = """#!/bin/sh
echo "$0 $*" >>"$CALLS"
case "$*" in
*sys.version_info*) echo {version} ;;
*"import ensurepip, venv"*) exit {without_venv} ;;
*platform.machine*) echo {machine} ;;
*platform.mac_ver*) echo {mac_ver} ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
*"pip install"*)
    [ ! -e "$CALLS.interrupted" ] || {{ kill -INT $PPID; exit 1; }}
    [ ! -e "$CALLS.offline" ] || {{ echo "Failed to establish a new connection"; exit 1; }} ;;
esac
"""


@dataclass(frozen=True)
class Box:
    """A clone in a folder with a space in its name, and a PATH of its own."""

    clone: Path
    bin: Path
    calls: Path

    def python(
        self, name: str, version: str, without_venv: int = 0, machine: str = "arm64", mac_ver: str = "26.3"
    ) -> None:
        text = PYTHON.format(version=version, without_venv=without_venv, machine=machine, mac_ver=mac_ver)
        self.program(name, text)

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def setup(self, level: str = "run", **environ: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self.bin), "CALLS": str(self.calls), **environ}
        command = ["sh", str(self.clone / "scripts/setup"), level]
        return subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=False)

    def installs(self) -> list[str]:
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if " install " in line]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    clone, programs = tmp_path / "my clone", tmp_path / "bin"
    (clone / "scripts").mkdir(parents=True)
    programs.mkdir()
    for name in ("scripts/setup", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, clone / name)
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool) or "")
    return Box(clone, programs, tmp_path / "calls")


def test_a_python_that_is_too_old_is_named(box: Box) -> None:
    box.python("python3", "3.9.18")
    done = box.setup()
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed, up to 3.14; found python3 (3.9.18)." in done.stderr
    assert "brew install" in done.stderr
    assert "apt install" in done.stderr


def test_no_python_at_all(box: Box) -> None:
    done = box.setup()
    assert done.returncode == 1
    assert "found none" in done.stderr


def test_the_first_python_that_will_do_is_taken(box: Box) -> None:
    box.program("python3.13", "#!/bin/sh\nexit 127\n")  # a pyenv shim for a version that is not installed
    box.python("python3.12", "3.12.1")
    box.python("python3", "3.9.18")
    assert "Python 3.12.1 (python3.12), with venv and pip" in box.setup().stderr


def test_the_variable_python_comes_first(box: Box, tmp_path: Path) -> None:
    box.python("python3.13", "3.13.0")
    box.python("my python", "3.11.7")
    assert "Python 3.11.7" in box.setup(PYTHON=str(tmp_path / "bin" / "my python")).stderr


def test_an_intel_python_on_a_mac_is_refused(box: Box) -> None:
    box.program("uname", "#!/bin/sh\necho Darwin\n")
    box.python("python3", "3.12.1", machine="x86_64")
    done = box.setup()
    assert done.returncode == 1
    assert "python3 (3.12.1 for Intel, which MLX does not support)" in done.stderr


def test_a_python_without_wheels_is_passed_over(box: Box) -> None:
    box.python("python3", "3.15.0")
    done = box.setup()
    assert done.returncode == 1
    assert "python3 (3.15.0, for which numpy, PyYAML and contourpy have no wheels yet)" in done.stderr
    box.python("python3.14", "3.14.1")
    assert "Python 3.14.1 (python3.14)" in box.setup().stderr


def on_a_mac(box: Box, macos: str, seen_by_python: str) -> None:
    box.program("uname", "#!/bin/sh\necho Darwin\n")
    box.program("sw_vers", f"#!/bin/sh\necho {macos}\n")
    box.python("python3", "3.13.1", machine="arm64", mac_ver=seen_by_python)


@pytest.mark.parametrize(
    ("macos", "seen_by_python", "code", "said"),
    [
        ("13.7.1", "13.7.1", 1, "This Mac has macOS 13.7.1; MLX needs macOS 14 or newer."),
        ("26.1", "26.1", 0, "MLX's build for macOS 26 needs 26.2: if MLX does not start, update macOS."),
        ("26.3", "16.0", 0, "python3 was built for an older macOS and gets MLX's build for that one"),
    ],
)
def test_a_macs_version_is_told_in_words(box: Box, macos: str, seen_by_python: str, code: int, said: str) -> None:
    on_a_mac(box, macos, seen_by_python)
    done = box.setup()
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_a_suitable_mac_is_not_worth_a_word(box: Box) -> None:
    on_a_mac(box, "26.3", "26.3")
    assert "macOS" not in box.setup().stderr


def test_a_debian_python_without_venv_names_the_package(box: Box) -> None:
    box.python("python3", "3.11.2", without_venv=1)
    done = box.setup()
    assert done.returncode == 1
    assert "sudo apt install python3.11-venv" in done.stderr


def test_pip_installs_once_and_a_repeat_does_nothing(box: Box) -> None:
    box.python("python3", "3.11.7")
    assert box.setup().returncode == 0
    assert len(box.installs()) == 1
    start = time.perf_counter()
    again = box.setup()
    assert time.perf_counter() - start < 2
    assert (again.returncode, again.stderr) == (0, "")
    assert len(box.installs()) == 1


def test_an_install_for_the_tests_serves_the_program_too(box: Box) -> None:
    box.python("python3", "3.11.7")
    box.setup("run")
    box.setup("dev")
    assert "--requirement" in box.installs()[1]
    box.setup("run")
    assert len(box.installs()) == 2


def test_uv_is_used_where_it_is_on_path(box: Box) -> None:
    box.python("python3", "3.11.7")
    box.program("uv", '#!/bin/sh\necho "uv $*" >>"$CALLS"\n[ "$1" != venv ] || python3 -m venv .venv\n')
    assert "with uv" in box.setup().stderr
    assert box.installs() == ["uv pip install --quiet --python .venv/bin/python -c constraints.txt --editable ."]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "scripts/setup"])
def test_a_change_installs_again_into_the_same_environment(box: Box, name: str) -> None:
    box.python("python3", "3.11.7")
    box.setup()
    (box.clone / ".venv/kept").touch()
    with (box.clone / name).open("a") as file:
        file.write("# changed\n")
    box.setup()
    assert len(box.installs()) == 2
    assert (box.clone / ".venv/kept").exists()


def test_without_network_it_says_so_and_the_next_call_starts_again(box: Box) -> None:
    box.python("python3", "3.11.7")
    offline = Path(f"{box.calls}.offline")
    offline.touch()
    done = box.setup()
    assert done.returncode == 1
    assert "the package index could not be reached" in done.stderr
    offline.unlink()
    (box.clone / ".venv/half-finished").touch()
    assert box.setup().returncode == 0
    assert not (box.clone / ".venv/half-finished").exists()


def test_a_ctrl_c_during_the_install_says_what_to_do_and_the_next_call_starts_again(box: Box) -> None:
    box.python("python3", "3.12.4")
    interrupted = box.calls.with_name(f"{box.calls.name}.interrupted")
    interrupted.touch()
    done = box.setup()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "setup: interrupted before the end; run the same command again"
    interrupted.unlink()
    assert box.setup().returncode == 0
    assert len(box.installs()) == 2


def test_a_clone_that_was_moved_is_installed_anew(box: Box) -> None:
    box.python("python3", "3.11.7")
    box.setup()
    (box.clone / ".venv/old").touch()
    moved = Box(box.clone.rename(box.clone.with_name("moved clone")), box.bin, box.calls)
    assert moved.setup().returncode == 0
    assert not (moved.clone / ".venv/old").exists()


def test_a_python_that_was_removed_is_replaced(box: Box) -> None:
    box.python("python3", "3.11.7")
    box.setup()
    (box.clone / ".venv/bin/python").unlink()
    assert "with venv and pip" in box.setup().stderr


def test_an_unknown_level_is_a_usage_error(box: Box) -> None:
    assert "usage: scripts/setup run|dev" in box.setup("everything").stderr


def test_the_scripts_can_be_run() -> None:
    assert all(os.access(ROOT / name, os.X_OK) for name in ("scripts/setup", "scripts/constraints", ".ci/run"))


def test_constraints_are_plain_versions_and_name_no_host() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(line.count("==") == 1 and not set(line) & set(" ;@/[") for line in pins)
    versions = dict(line.split("==") for line in pins)
    assert versions["mlx"] == versions["mlx-cpu"] == versions["mlx-metal"]
