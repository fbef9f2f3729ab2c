"""A pairing file that is damaged, foreign or readable by others is refused with a reason, before any connection."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import write_command_lab

from autoresearch_mlx.errors import ConfigError, LabError
from autoresearch_mlx.fleet.admission import wanted_here
from autoresearch_mlx.fleet.coordinator import start
from autoresearch_mlx.fleet.handshake import refused_certificate
from autoresearch_mlx.fleet.member import join
from autoresearch_mlx.fleet.pairing import FOLDER, OWN, PAIRING, make_pairing, read_pairing
from autoresearch_mlx.fleet.serving import kept_running, words_of_death

pytest.importorskip("distributed", reason="the extra `fleet` is not installed")

NOTHING_THERE = "tls://127.0.0.1:9"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("pairing")
    return dict(json.loads(make_pairing(folder, NOTHING_THERE).read_text()))


def written(folder: Path, pairing: dict[str, Any]) -> Path:
    path = folder / "pairing.json"
    path.write_text(json.dumps(pairing))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    "address",
    [
        *("", "tls://127.0.0.1", "tls://127.0.0.1:abc", "tls://127.0.0.1:99999", "tcp://127.0.0.1:8786", [1]),
        *("tls://[::1:1", "tls://\x1b[31mhost\x1b[0m:1", "tls://ho\x1bst:1"),
    ],
)
def test_a_file_with_another_address_is_no_pairing(tmp_path: Path, whole: dict[str, Any], address: Any) -> None:
    with pytest.raises(ConfigError, match="is not a pairing file"):
        read_pairing(written(tmp_path, {**whole, "address": address}))


@pytest.mark.parametrize(
    "damage", [{"key": "-----BEGIN PRIVATE KEY-----\nMIGH"}, {"certificate": "nothing"}, {"authority": None}]
)
def test_damaged_certificates_are_named_before_anything_connects(
    tmp_path: Path, whole: dict[str, Any], damage: dict[str, Any]
) -> None:
    said = refused_certificate(read_pairing(written(tmp_path, {**whole, **damage})), tmp_path)
    assert said is not None and "certificates in the pairing file are damaged" in said


def test_whole_certificates_are_no_reason_to_refuse_while_nothing_answers(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    assert refused_certificate(read_pairing(written(tmp_path, whole)), tmp_path) is None


@pytest.mark.parametrize(("mode", "told"), [(0o644, True), (0o640, True), (0o600, False)])
def test_a_pairing_file_that_others_can_read_is_noted(
    tmp_path: Path, whole: dict[str, Any], mode: int, told: bool
) -> None:
    path, said = written(tmp_path, whole), list[str]()
    path.chmod(mode)
    with pytest.raises(ConfigError, match="cannot be a machine's name"):
        join(path, "a/b", None, 0, tmp_path, said.append)
    assert any(f"`chmod 600 {path}`" in line for line in said) == told


@pytest.mark.parametrize("name", [PAIRING, OWN])
def test_a_damaged_file_of_the_coordinator_is_named_with_the_remedy(tmp_path: Path, name: str) -> None:
    lab = write_command_lab(tmp_path / "lab")
    path = make_pairing(lab.state / FOLDER, NOTHING_THERE).with_name(name)
    path.write_text(path.read_text()[:100])
    with pytest.raises(LabError, match="is damaged") as raised:
        start(lab, wanted_here(lab), None, None, False, print)
    assert "fleet start --new-keys" in (raised.value.hint or "")
    assert make_pairing(lab.state / FOLDER, NOTHING_THERE, anew=True).exists(), "new keys make it whole again"


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ("2026 - distributed.scheduler - INFO - Close client connection\n", -signal.SIGKILL, "killed by SIGKILL"),
        ("2026 - distributed.core - INFO - Connection closed\n", 1, "exit code 1"),
        ("Traceback\n  File\nOSError: [Errno 28] No space left on device\n", 1, "OSError: [Errno 28] No space left on"),
        ("", 3, "exit code 3"),
    ],
)
def test_a_death_is_told_by_its_signal_or_by_its_error(said: str, code: int, words: str) -> None:
    assert words_of_death(said, code).startswith(words)


def test_a_process_with_many_messages_goes_on(tmp_path: Path) -> None:
    """Dask's scheduler writes some lines for each connection, and would block on a pipe that nobody reads."""
    program = "import sys; sys.stderr.write('a message\\n' * 50_000); print('{\"kind\": \"ready\"}')"
    told, deaths = list[dict[str, Any]](), list[str]()
    kept_running([sys.executable, "-c", program], lambda event: told.append(event) is None, deaths.append)
    assert (told, deaths) == ([{"kind": "ready"}], [])
