"""Curves of several logs, against experiments, hours, tokens and FLOPs."""

from __future__ import annotations

import json

from conftest import command_line

from autoresearch_mlx.lab.lab import Lab


def test_the_curves_of_built_in_logs_need_no_session(command_lab: Lab) -> None:
    done = command_line("compare", "--with", "H100", "--with", "M2Pro-sebasmos", "--curves", cwd=command_lab.root)
    assert done.returncode == 0, done.stderr
    h100 = done.stdout.split("\n\n")[0].splitlines()
    assert h100[0] == "H100" and h100[1].split() == ["experiments", "best", "gain", "%", "hours", "tokens", "FLOPs"]
    assert h100[2].split()[:3] == ["0", "0.997900", "+0.000"]
    assert h100[-1].split()[:3] == ["125", "0.969686", "+2.827"]
    assert "cannot be compared" in done.stdout


def test_a_sessions_own_curve_stands_beside_the_h100(command_lab: Lab) -> None:
    assert command_line("run", "--agent", "knobs", "--experiments", "2", cwd=command_lab.root).returncode == 0
    found = json.loads(command_line("compare", "--curves", "--json", cwd=command_lab.root).stdout)["curves"]
    (theirs, ours) = found.values()
    assert len(theirs) == 126 and theirs[-1]["gain_percent"] > 2.8
    assert [point["number"] for point in ours] == [0, 1, 2]
    assert ours[0]["gain_percent"] == 0 and ours[-1]["hours"] is not None
