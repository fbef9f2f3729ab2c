"""What identifies a person or a machine is taken out of the report; what the report needs stays."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from conftest import git

from autoresearch_mlx.setup.selftest.blot import Blot, blot_of

JANE = Blot(
    names=("jdoe", "Jane Q. Doe", "janes-mac.local", "Jane's MacBook Pro", "jane.doe@corp.example", "C02XK0AAJGH5"),
    paths=("/Users/jdoe", "/Volumes/Jane Disk/my lab", "/private/var/folders/ab/c1d2/T"),
)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param("host janes-mac.local up", "host (name) up", id="host name"),
        pytest.param("file backup-of-janes-mac_2.log", "file (name).log", id="host name inside other words"),
        pytest.param("JANES-MAC is up", "(name) is up", id="other case"),
        pytest.param("user jdoe2 and xjdoex", "user (name) and (name)", id="user name inside other words"),
        pytest.param("by Jane", "by (name)", id="first name"),
        pytest.param("ask jane.doe@corp.example", "ask (address)", id="e-mail of git"),
        pytest.param("other@person.example wrote", "(address) wrote", id="e-mail of somebody else"),
        pytest.param("in /Users/jdoe/lab/x.py, line 3", "in (path), line 3", id="home"),
        pytest.param("in /Users/somebody/x", "in (path)", id="another person's home"),
        pytest.param("in /home/somebody/x: no", "in (path): no", id="a home on Linux"),
        pytest.param("open '/Volumes/My Disk/a b.txt'", "open '(path)'", id="quoted path with spaces"),
        pytest.param("in /Volumes/Jane Disk/my lab/run 1", "in (path) 1", id="known path with spaces"),
        pytest.param("~/secret/plan.txt", "(path)", id="tilde"),
        pytest.param('"IOPlatformSerialNumber" = "FVFXC0AAJ1WK"', '"IOPlatformSerialNumber" = (serial)', id="serial"),
        pytest.param('"BatterySerialNumber" = "d86abc"', '"BatterySerialNumber" = (serial)', id="lower-case serial"),
        pytest.param('"Serial" = "F8Y1234"', '"Serial" = (serial)', id="short serial"),
        pytest.param("      Serial Number (system): XYZ12", "      Serial Number (system): (serial)", id="profiler"),
        pytest.param('  "_spdisplays_display-serial-number" : "0x1"', None, id="display's serial"),
        pytest.param("Hardware UUID: 01234567-89AB-CDEF-0123-456789ABCDEF", "Hardware UUID: (serial)", id="UUID"),
        pytest.param("GPU 0: H200 (UUID: GPU-0a1b2c3d-89ab-cdef-0123-456789abcdef)", None, id="UUID of a GPU"),
        pytest.param("serial C02XK0AAJGH5 found", None, id="known serial"),
        pytest.param("en0 a4:83:e7:01:02:03 up", "en0 (serial) up", id="MAC address"),
        pytest.param("from 192.168.1.23 to fe80::1c2d:3e4f:5a6b:7c8d%en0", "from (address) to (address)", id="IP"),
        pytest.param(" -InternalBattery-0 (id=4522083)\t80%;", " -InternalBattery-0 (id=(serial))\t80%;", id="battery"),
        pytest.param('named: "Playing for Jane"', 'named: "(name)"', id="assertion"),
        pytest.param("   pid 7(Secret App): [0x2] 00:01:00", "   pid 7(name): [0x2] 00:01:00", id="program's process"),
        pytest.param(
            "Created for PID: 7. Description: Jane's song", "Created for PID: 7. Description: (name)", id="song"
        ),
        pytest.param("on behalf of 'Secret App' (pid 3)", "on behalf of '(name)' (pid 3)", id="program"),
        pytest.param('"ManufacturerData" = <0001000a00300030>', '"ManufacturerData" = (serial)', id="data"),
    ],
)
def test_what_identifies_somebody_goes(text: str, left: str | None) -> None:
    found = JANE(text)
    for secret in (
        "jdoe",
        "jane",
        "C02XK",
        "FVFX",
        "d86abc",
        "F8Y",
        "0a1b2c3d",
        "somebody",
        "0x1",
        "XYZ12",
        "corp",
        "secret",
    ):
        assert secret.lower() not in found.lower()
    assert left is None or found == left


@pytest.mark.parametrize(
    "text",
    [
        "Apple M4 Pro, 16 GPU cores, 24 GB, macOS 26.2",
        "Now drawing from 'AC Power'",
        "com.apple.system.thermalpressurelevel 0",
        '"PerformanceStatistics" = {"Device Utilization %"=16,"In use system memory"=2363801600}',
        'PreventUserIdleSystemSleep named: "Powerd - Prevent sleep while display is on"',
        "/usr/bin/sandbox-exec and /proc/cpuinfo",
        "   pid 386(powerd): [0x00044fc100018b2d] 00:06:53 PreventUserIdleSystemSleep",
        "MLX 0.32.4 (cp311-cp311-macosx_26_0_arm64)",
        "20 in a row, 1.3 s each; 145 GFLOP/s, 2,048 tokens/s; CPU_Speed_Limit = 100",
        "no Ollama answers at 127.0.0.1:11434",
        '"sppci_model" : "Apple M1 Pro"',
        "2026-08-20 05:08:37 -0700 CPU Power notify",
    ],
)
def test_what_the_report_needs_stays(text: str) -> None:
    assert JANE(text) == text


def test_a_short_name_goes_where_it_is_a_word() -> None:
    assert Blot(names=("jo",))("jo's job on host-jo") == "(name)'s job on host-(name)"


def test_a_name_that_identifies_nobody_stays() -> None:
    assert (
        Blot(names=("root", "localhost", "mac", "Mac mini"))("macOS on a Mac mini, by root")
        == "macOS on a Mac mini, by root"
    )


def test_a_name_inside_one_of_our_words_takes_the_word_with_it() -> None:
    """Otherwise the rest of the word would give the name away: t(name)ing."""
    assert Blot(names=("rain",))("a training") == "a (name)"


def test_this_machine_and_this_person_are_known(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "Zebulon Quux")
    git(tmp_path, "config", "user.email", "zeb@quux.example")
    found = blot_of(tmp_path)
    said = found(f"{tmp_path}/lab by Zebulon, zeb@quux.example, {Path.home()}/x, in quux-land")
    assert said == "(path) by (name), (address), (path), in (name)"
    assert socket.gethostname() in found.names
