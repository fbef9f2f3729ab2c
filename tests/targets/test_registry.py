"""A kind of target is found by its name or its import path; the error for a wrong name lists the known ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy_target

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.lab.config import Settings, load_settings
from autoresearch_mlx.targets.command.kind import CommandKind
from autoresearch_mlx.targets.pretrain.kind import PretrainKind
from autoresearch_mlx.targets.registry import BUILT_IN, find_kind, kind_of, with_defaults


def settings(folder: Path, text: str) -> Settings:
    (folder / "lab.toml").write_text(text)
    return load_settings(folder).settings


def test_the_two_that_are_built_in_are_known_by_name(tmp_path: Path) -> None:
    assert isinstance(find_kind("pretrain", tmp_path), PretrainKind)
    assert isinstance(find_kind("command", tmp_path), CommandKind)


def test_a_class_of_ones_own_is_imported(tmp_path: Path) -> None:
    assert find_kind("toy_target:ToyKind", tmp_path).name == toy_target.ToyKind.name


def test_a_module_in_the_lab_is_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "kind_of_this_lab.py").write_text("from toy_target import ToyKind\n")
    assert find_kind("kind_of_this_lab:ToyKind", tmp_path).name == "toy"


@pytest.mark.parametrize("name", ["no-such-target", "", ":", "toy_target:", ":ToyKind"])
def test_a_name_that_does_not_exist_says_what_does(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"there is no target {name!r}") as caught:
        find_kind(name, tmp_path)
    assert f"one of {', '.join(BUILT_IN)}, or module:Class" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module:Kind", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("toy_target:Absent", "AttributeError: .*'Absent'"),
        ("toy_target:NeedsArguments", "TypeError: .*unit"),
        ("toy_target:NeverBuilds", "TypeError: .*abstract method '?build"),
    ],
)
def test_what_a_module_raises_is_told(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"cannot load the target {name!r}: {said}") as caught:
        find_kind(name, tmp_path)
    assert "CONTRIBUTING.md" in caught.value.hint


def test_a_class_of_another_sort_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a TargetKind") as caught:
        find_kind("toy_target:NotAKind", tmp_path)
    assert "subclass" in caught.value.hint


def test_command_needs_a_line_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='needs run = "the shell line that prints METRIC name=value"'):
        kind_of(settings(tmp_path, '[target]\nkind = "command"\n'), tmp_path)


@pytest.mark.parametrize(("metric", "name"), [("val-loss", "val_loss"), ("acc@1 %", "acc_1"), ("95th", "_95th")])
def test_command_needs_a_metric_that_a_line_can_name(tmp_path: Path, metric: str, name: str) -> None:
    text = f"[target]\nkind = 'command'\nrun = 'true'\nmetric = '{metric}'\n"
    with pytest.raises(ConfigError, match=f"cannot have the name '{metric}'") as caught:
        kind_of(settings(tmp_path, text), tmp_path)
    assert f"write metric = '{name}'" in caught.value.hint
    kind_of(settings(tmp_path, f"{text}pattern = '(.*)'\n"), tmp_path)


def test_metric_direction_and_files_are_the_kinds_own_unless_the_lab_names_them(tmp_path: Path) -> None:
    kind = toy_target.ToyKind()
    plain = with_defaults(settings(tmp_path, '[target]\nkind = "toy_target:ToyKind"\n'), kind).target
    assert (plain.metric, plain.direction, plain.editable) == ("characters", "min", ("words.txt",))
    text = '[target]\nkind = "toy_target:ToyKind"\nmetric = "size"\neditable = ["a.txt"]\n'
    named = with_defaults(settings(tmp_path, text), kind).target
    assert (named.metric, named.direction, named.editable) == ("size", "min", ("a.txt",))


def test_pretrain_refuses_lanes_before_anything_is_prepared(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the target pretrain cannot have 2 lanes: two trainings"):
        kind_of(settings(tmp_path, "[run]\nlanes = 2\n"), tmp_path)
