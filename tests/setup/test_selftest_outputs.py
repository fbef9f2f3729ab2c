"""Outputs of the system's programs: which ones the self-test can read, and how it refuses the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from autoresearch_mlx.setup.selftest.outputs import check_outputs, programs_of, run_program

SAMPLES = Path(__file__).parents[1] / "hardware" / "samples"
PROGRAMS = {program.name: program for program in programs_of("Darwin")}


def sample(name: str) -> str:
    """Return a sample without the line that names its source."""
    text = (SAMPLES / name).read_text()
    return text.partition("\n")[2] if text.startswith("# source: ") else text


@pytest.mark.parametrize(
    ("program", "name", "state", "said"),
    [
        ("assertions", "public/assertions-display-on.txt", "ok", "display awake yes"),
        ("batt", "public/batt-ac-m2.txt", "ok", "power mains, percent 100"),
        ("batt", "public/batt-ac-not-charging.txt", "ok", "power mains, percent 79"),
        ("batt", "public/batt-battery-no-estimate.txt", "ok", "power battery, percent 100"),
        ("batt", "mac-mini/batt.txt", "ok", "power mains"),
        ("gpu", "public/ioreg-ioaccelerator-m4max.txt", "ok", "load of the GPU in percent 16"),
        ("lid", "public/lid.txt", "ok", "lid closed no"),
        ("pressure", "public/notifyutil-0.txt", "ok", "thermal pressure nominal"),
        ("pressure", "public/notifyutil-failed.txt", "fail", "nothing that we can read: com.apple"),
        ("pressure", "public/notifyutil-out-of-range.txt", "fail", "pressurelevel 30"),
        ("pressure", "public/notifyutil-unposted-key.txt", "fail", "does.not.exist 0"),
        ("settings", "public/settings-powermode.txt", "ok", "Low Power Mode yes"),
        ("settings", "public/custom-two-profiles.txt", "fail", "nothing that we can read: Battery Power:"),
        ("settings", "mac-mini/settings.txt", "ok", "Low Power Mode no"),
        ("sysctl", "public/sysctl-pressure.txt", "ok", "memory pressure normal, free MB 28508, swap MB 11947.4"),
        ("displays", "public/system_profiler-m3pro.txt", "ok", "GPU Apple M3 Pro, GPU cores 14"),
        ("displays", "public/system_profiler-m1pro-no-bus.txt", "ok", "GPU Apple M1 Pro, GPU cores 16"),
        ("therm", "public/therm-apple-silicon.txt", "ok", "does not contain CPU speed limit"),
        ("therm", "public/therm-cpu-power-notify.txt", "ok", "CPU speed limit 100"),
        ("display", "macbook/display.txt", "ok", "prints nothing"),
        ("chip", "m4-pro/sysctl.txt", "ok", "chip Apple M4 Pro"),
        ("sw_vers", "m4-pro/sw_vers.txt", "ok", "system macOS"),
    ],
)
def test_each_recorded_output_is_read_or_refused_in_words(program: str, name: str, state: str, said: str) -> None:
    found = PROGRAMS[program].judge(sample(name))
    assert found.state == state
    assert said in found.words


@pytest.mark.parametrize("program", [program for program in PROGRAMS if program != "display"])
def test_an_output_of_another_kind_is_refused_with_its_first_line(program: str) -> None:
    found = PROGRAMS[program].judge("\n  zsh: command moved\nto /opt\n")
    assert (found.state, found.words) == ("fail", "printed nothing that we can read: zsh: command moved")


def test_an_output_with_a_part_missing_names_the_part() -> None:
    text = "\n".join(line for line in sample("public/sysctl-pressure.txt").splitlines() if "level:" not in line)
    found = PROGRAMS["sysctl"].judge(text)
    assert found.state == "fail" and found.words.startswith("does not contain memory pressure or free MB: vm.swapusage")


# --- a Mac of stand-ins on the PATH

STAND_IN = """\
#!/bin/sh
case "$*" in
{cases}
esac
"""


def stand_ins(folder: Path, **texts: str) -> Path:
    """Make programs that print the samples of a Mac mini; ``texts`` replaces the samples by name."""
    said = {name: (SAMPLES / "mac-mini" / f"{name}.txt") for name in ("assertions", "batt", "gpu", "settings", "therm")}
    said |= {name: SAMPLES / "mac-mini" / f"{name}.txt" for name in ("pressure", "sysctl")}
    said |= {"chip": SAMPLES / "m4-pro" / "sysctl.txt", "sw_vers": SAMPLES / "m4-pro" / "sw_vers.txt"}
    said |= {"displays": SAMPLES / "m4-pro" / "system_profiler.txt", "battery": SAMPLES / "macbook" / "battery.txt"}
    said |= {"lid": SAMPLES / "macbook" / "lid.txt", "display": SAMPLES / "macbook" / "display.txt"}
    cases: dict[str, list[str]] = {}
    folder.mkdir()
    for program in (each for each in PROGRAMS.values() if each.name in said):
        text = texts.get(program.name, f"cat '{said[program.name]}'")
        cases.setdefault(program.line[0], []).append(f'"{" ".join(program.line[1:])}") {text};;')
    for name, lines in cases.items():
        (folder / name).write_text(STAND_IN.format(cases="\n".join(lines)))
        (folder / name).chmod(0o755)
    return folder


CHECK = """\
import json, sys
from pathlib import Path
from autoresearch_mlx.setup.selftest.check import Ground
from autoresearch_mlx.setup.selftest.outputs import check_outputs
here = Path(".")
print(json.dumps(check_outputs(Ground(here, here), lambda words: None, system="Darwin").to_json()))
"""


def checked(programs: Path) -> dict[str, object]:
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_a_mac_whose_programs_print_what_is_expected(tmp_path: Path) -> None:
    found = checked(stand_ins(tmp_path / "bin"))
    assert (found["state"], found["words"]) == ("ok", "14 outputs read")
    read = {each["command"]: each["read"] for each in found["outputs"]}  # type: ignore[attr-defined]
    assert read["pmset -g batt"] == "power mains"
    assert read["system_profiler SPDisplaysDataType -json"] == "GPU Apple M4 Pro, GPU cores 20"


def test_a_planted_output_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    found = checked(stand_ins(tmp_path / "bin", batt="echo Stromversorgung: Netz", gpu="exit 64"))
    assert found["state"] == "fail"
    assert "`pmset -g batt` printed nothing that we can read: Stromversorgung: Netz" in str(found["words"])
    assert "`ioreg -r -c IOAccelerator -d 1 -w 0` ended with 64: no output" in str(found["words"])


def test_a_program_that_is_slow_is_said_to_be_unknown_at_night(tmp_path: Path) -> None:
    found = checked(stand_ins(tmp_path / "bin", lid="sleep 2.1"))
    assert (found["state"], str(found["words"])[:60]) == (
        "note",
        "`ioreg -r -k AppleClamshellState -d 4` takes 2.1 s; a run wa",
    )


# --- one program


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    asleep = ["sleep", str(600 + os.getpid())]  # a program of this run of the tests alone
    (tmp_path / "hangs").write_text(f"#!/bin/sh\n{' '.join(asleep)} &\n{' '.join(asleep)}\n")
    (tmp_path / "hangs").chmod(0o755)
    began = time.monotonic()
    output, trouble = run_program([str(tmp_path / "hangs")], seconds=0.5)
    assert (output.text, trouble) == ("", "did not end within 0.5 s and was ended")
    assert time.monotonic() - began < 5
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == asleep]


def test_a_program_that_is_not_there_is_said_not_to_run() -> None:
    assert run_program(["no-such-program"])[1] == "cannot be run: No such file or directory"


# --- Linux


def test_the_files_of_a_linux_machine_are_read(tmp_path: Path) -> None:
    from autoresearch_mlx.setup.selftest.check import Ground

    here = Ground(tmp_path, tmp_path)
    good = check_outputs(here, lambda words: None, "Linux", SAMPLES / "xeon")
    assert "/proc/loadavg contains nothing that we can read" in good.words  # the sample has no such file
    assert "/proc/cpuinfo" in [output.command for output in good.outputs]
    bare = check_outputs(here, lambda words: None, "Linux", tmp_path)
    assert bare.state == "fail" and bare.words.count("contains nothing that we can read") == 3


def test_a_planted_nvidia_smi_that_prints_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho Failed to initialize NVML\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    code = CHECK.replace('"Darwin"', '"Linux"')
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["state"] == "fail" and "nothing that we can read: Failed to initialize NVML" in found["words"]
