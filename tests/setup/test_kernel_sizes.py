"""A step is profiled and timed at the sizes with which the lab trains, and the command says which these are."""

from __future__ import annotations

import shutil
from pathlib import Path

from conftest import ROOT

from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.lab.source import read_knobs, set_knobs
from autoresearch_mlx.setup.kernel_sizes import Sized, at_its_sizes, sized
from autoresearch_mlx.store.ledger import Ledger

FIT = choose_profile(read_machine(), "cpu")


def lab_with_script(root: Path) -> Path:
    """Make a lab with the shipped script; return the script."""
    (root / "lab.toml").touch()
    return Path(shutil.copy(ROOT / "train_mlx.py", root / "train_mlx.py"))


def sizes(script: Path, **wanted: int | None) -> Sized:
    lab = Lab(script.parent)
    return sized(lab, script, script.read_text(), load_settings(lab.root).settings, FIT, wanted)


def test_without_a_session_the_machines_preset_is_taken_and_named(tmp_path: Path) -> None:
    found = sizes(lab_with_script(tmp_path))
    assert read_knobs(found.text)["DEPTH"].value == FIT.knobs["DEPTH"] != 4
    assert f"vocabulary {FIT.vocab_size:,}, rows of {FIT.seq_len} tokens" in found.words
    assert f"from this machine's preset {FIT.name}: DEPTH 4 -> {FIT.knobs['DEPTH']}" in found.words


def test_the_session_that_was_used_last_has_settled_the_sizes(tmp_path: Path) -> None:
    script = lab_with_script(tmp_path)
    lab = Lab(tmp_path)
    lab.make_state()
    lab.folder("night").mkdir()
    conditions = {"vocab_size": 777, "seq_len": 33}
    session = {"tag": "night", "target": "pretrain", "metric": "val_bpb", "direction": "min", "preset": {"DEPTH": 3}}
    Ledger(lab.folder("night")).append("session", **session, conditions=conditions)
    found = sizes(script)
    assert read_knobs(found.text)["DEPTH"].value == 3
    assert (found.inputs["vocab_size"], found.inputs["seq_len"]) == (777, 33)
    assert found.words == "sizes: vocabulary 777, rows of 33 tokens; from session night: DEPTH 4 -> 3"
    assert sizes(script, vocab_size=500).inputs["vocab_size"] == 500, "a size that the person names wins"


def test_a_knob_that_the_person_changed_and_another_script_keep_their_sizes(tmp_path: Path) -> None:
    script = lab_with_script(tmp_path)
    script.write_text(set_knobs(script.read_text(), {"DEPTH": 7}))
    assert read_knobs(sizes(script).text)["DEPTH"].value == 7
    other = tmp_path / "other.py"
    other.write_text(script.read_text())
    assert sizes(other).text == other.read_text() and "knobs of the file itself" in sizes(other).words


def test_a_text_that_is_not_the_files_lies_in_a_copy_with_the_scripts_name(tmp_path: Path) -> None:
    script = lab_with_script(tmp_path)
    with at_its_sizes(script, script.read_text()) as same:
        assert same == script
    with at_its_sizes(script, "X = 1\r\n") as copy:
        assert copy.name == script.name and copy.read_bytes() == b"X = 1\r\n"
    assert not copy.exists()
