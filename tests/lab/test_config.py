"""lab.toml and options: every value has a source, and every mistake is named with a remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.lab.config import FILE, Settings, load_settings


def settings(folder: Path, text: str, **options: Any) -> Settings:
    (folder / FILE).write_text(text, encoding="utf-8")
    return load_settings(folder, {name.replace("__", "."): value for name, value in options.items()}).settings


def refused(folder: Path, text: str, **options: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        settings(folder, text, **options)
    assert caught.value.hint
    return caught.value


def test_a_lab_without_a_file_has_all_defaults(tmp_path: Path) -> None:
    resolved = load_settings(tmp_path)
    assert resolved.settings == Settings()
    assert {source for _, _, source in resolved.rows()} == {"default"}
    assert ("target.editable", ("train_mlx.py",), "default") in resolved.rows()


def test_options_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    text = "seed = 7\n[budget]\nseconds = 30\n[agent]\nname = 'scripted:é.json'\n"
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    resolved = load_settings(tmp_path, {"budget.seconds": 5.0, "seed": None, "judge.margin": 0.1})
    rows = {name: (value, source) for name, value, source in resolved.rows()}
    assert rows["seed"] == (7, FILE)
    assert rows["budget.seconds"] == (5.0, "option")
    assert rows["judge.margin"] == (0.1, "option")
    assert rows["agent.name"] == ("scripted:é.json", FILE)
    assert rows["agent.repairs"] == (2, "default")


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings(tmp_path, "").seed = 3


@pytest.mark.parametrize(
    ("text", "name", "guess"),
    [
        ("[budget]\nsecond = 3", "budget.second", "budget.seconds"),
        ("[agent]\nnames = 'knobs'", "agent.names", "agent.name"),
        ("sed = 3", "sed", "seed"),
        ("seconds = 3", "seconds", "budget.seconds"),
        ("[tarjet]\nmetric = 'm'", "tarjet.metric", "target.metric"),
        ("[judge]\nmargin = {min = 1}", "judge.margin.min", "judge.margin"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest_valid_one(tmp_path: Path, text: str, name: str, guess: str) -> None:
    error = refused(tmp_path, text)
    assert str(error) == f"{tmp_path / FILE}: unknown setting {name}"
    assert error.hint == f"did you mean {guess}?"


def test_with_a_pattern_a_metric_may_have_any_name(tmp_path: Path) -> None:
    text = "[target]\nkind = 'command'\npattern = 'loss (.*)'\nmetric = 'val-loss, %'"
    (tmp_path / FILE).write_text(text)
    assert load_settings(tmp_path).settings.target.metric == "val-loss, %"


def test_a_byte_order_mark_does_not_count(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xef\xbb\xbfseed = 7\r\n")
    assert load_settings(tmp_path).settings.seed == 7


def test_a_name_that_resembles_nothing_is_answered_with_the_list(tmp_path: Path) -> None:
    assert (
        "valid names: seed, hardware.profile, hardware.calibrate, target.kind"
        in refused(tmp_path, "[zzz]\nqqq = 1").hint
    )
    assert "zzz" in str(refused(tmp_path, "[zzz]"))


@pytest.mark.parametrize("text", ["budget = 3", "budget = 'auto'", "[[budget]]\nseconds = 3"])
def test_a_section_written_as_a_value_is_told(tmp_path: Path, text: str) -> None:
    error = refused(tmp_path, text)
    assert "should be a section [budget]" in str(error)
    assert "[budget] on a line of its own" in error.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[budget]\nseconds = 'long'", r"budget.seconds: .*number.*\(got 'long'\)"),
        ("[budget]\nseconds = -1", r"budget.seconds: .*greater than 0 \(got -1\)"),
        ("[budget]\nseconds = nan", r"budget.seconds: .*finite"),
        ("[judge]\nmargin = inf", r"judge.margin: .*finite"),
        ("seed = 4.5", r"seed: should be a whole number \(got 4.5\)"),
        ("seed = -1", r"seed: should be at least 0"),
        ("[agent]\nrepairs = -1", r"agent.repairs"),
        ("[agent]\nname = 5", r"agent.name: should be text in quotes \(got 5\)"),
        ("[data]\nvocab_size = 0", r"data.vocab_size: .*greater than 0"),
        ("[data]\nsource = 'wiki'", r"data.source: .*'stdlib'.*\(got 'wiki'\)"),
        ("[target]\ndirection = 'up'", r"target.direction: should be 'min' or 'max' \(got 'up'\)"),
        ("seed = true", r"seed: should be a number, not true or false"),
        ("[machine]\nquiet_seconds = false", r"machine.quiet_seconds: should be a number, not true or false"),
        ("[limits]\nmemory_gb = 'much'", r"limits.memory_gb: should be a number or 'auto' \(got 'much'\)"),
        ("[limits]\nfree_disk_gb = 1e308", r"limits.free_disk_gb: should be at most 1e\+15 .*\(got 1e\+308\)"),
        ("[target]\ntimeout_seconds = 2020-01-01", r"timeout_seconds: should be a number \(got 2020-01-01\)"),
        (f"[judge]\nmode = '{'x' * 9000}'", r"judge.mode: should be 'auto', .{80,140}…\)$"),
        ("[target]\neditable = 'solver.py'", r"target.editable: .*\(got 'solver.py'\)"),
        ("[target]\neditable = []", r"editable names no file"),
        ("[target]\neditable = ['']", r"not a path inside the lab"),
        ("[target]\neditable = ['/etc/passwd']", r"'/etc/passwd' is not a path inside the lab"),
        ("[target]\neditable = ['a.py', '../b.py']", r"'../b.py' is not a path inside the lab"),
        ("[target]\npattern = 'loss: ('", r"pattern is not a regular expression"),
        ('[target]\nmetric = "a\\tb"', r"'a\\tb' cannot name a metric"),
        ("[target]\nmetric = ' '", r"' ' cannot name a metric"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_file_and_what_was_given(tmp_path: Path, text: str, said: str) -> None:
    error = refused(tmp_path, text)
    assert str(error).startswith(f"{FILE}: ")
    assert re.search(said, str(error)), str(error)
    assert str(tmp_path / FILE) in error.hint


@pytest.mark.parametrize("name", ["target.run", "hooks.before", "tools.needs"])
def test_text_with_a_zero_character_is_refused(tmp_path: Path, name: str) -> None:
    section, key = name.split(".")
    value = r'["a\u0000"]' if name == "tools.needs" else r'"a\u0000"'
    assert f"{name} contains the character" in str(refused(tmp_path, f"[{section}]\n{key} = {value}"))


def test_a_wrong_option_is_named_as_an_option(tmp_path: Path) -> None:
    assert str(refused(tmp_path, "seed = 3", budget__seconds=-1.0)).startswith("option: budget.seconds: ")


def test_a_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    error = refused(tmp_path, "seed = 1\nname = knobs\n")
    assert f"{tmp_path / FILE} is not valid TOML" in str(error)
    assert "line 2" in str(error)


def test_bytes_that_are_no_text_are_no_toml(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"seed = 1 # \xff\n")
    with pytest.raises(ConfigError, match="is not valid TOML") as caught:
        load_settings(tmp_path)
    assert caught.value.hint == "save it as UTF-8"


def test_a_folder_in_the_files_place_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path)


def test_automatic_values_stay_the_word_auto(tmp_path: Path) -> None:
    assert settings(tmp_path, "[budget]\nseconds = 'auto'").budget.seconds == "auto"
    assert settings(tmp_path, "", budget__seconds="auto").budget.seconds == "auto"


def test_lanes_is_a_number_and_not_a_yes(tmp_path: Path) -> None:
    assert "run.lanes" in str(refused(tmp_path, "[run]\nlanes = true\n"))
