"""What every target promises to the rest of the program, checked for the built-in targets and for an external one.

A new target joins by one line in ``KINDS`` with a lab for it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny
from conftest import write_command_lab
from evals_lab import example_lab
from kernel_labs import wave_lab

from autoresearch_mlx.errors import ConfigError
from autoresearch_mlx.experiment import Assignment, Measurement, Target
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.config import load_settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.targets.contract import Confinable, Finding, Place, Rescorable, TargetKind
from autoresearch_mlx.targets.registry import kind_of, with_defaults


@dataclass(frozen=True)
class Case:
    """A lab for a kind of target, a file that fails when it is run, and an option that changes the conditions."""

    lab: Callable[[Path], Lab]
    file: str
    fails: str | None
    """Text of the file with which a run fails; None means that the file is removed."""
    changed: Mapping[str, Any]
    rescorable: bool = False
    confinable: bool = False


def toy_lab(root: Path) -> Lab:
    root.mkdir()
    (root / "words.txt").write_text("some words\n")
    (root / "lab.toml").write_text('[target]\nkind = "toy_target:ToyKind"\n')
    return Lab(root)


KINDS = {
    "pretrain": Case(
        lambda root: tiny.lab(root, tiny.settings(0.5)),
        "train_mlx.py",
        "X = 1 / 0\n\n\ndef build_model() -> None: ...\n\n\ndef train() -> None: ...\n",
        {"budget.seconds": 1.0},
        rescorable=True,
        confinable=True,
    ),
    "command": Case(write_command_lab, "solver.py", "X = 1 / 0\nY = 2\n", {"target.run": "echo METRIC score=2"}),
    "evals": Case(example_lab, "agent.py", "X = 1 / 0\n", {"target.options.repeats": 2}, confinable=True),
    "kernel": Case(
        wave_lab,
        "kernel.py",
        "import mlx.core as mx\n\n\ndef kernel(x):\n    return mx.reshape(x, (3, 3))\n",
        {"target.options.believe": 5.0},
        confinable=True,
    ),
    "toy": Case(toy_lab, "words.txt", None, {"target.options.unit": 2}),
}


@dataclass(frozen=True)
class Subject:
    """One kind of target, with the conditions that it settled and the target that it built."""

    case: Case
    kind: TargetKind[Any]
    place: Place
    conditions: Any
    target: Target
    folder: Path

    def measure(self, text: str | None, seed: int = 7) -> Measurement:
        """Make one run of the lab's files, with this text in the editable file."""
        tree, run = (self.folder / f"{len(list(self.folder.iterdir()))}-{name}" for name in ("tree", "run"))
        tree.mkdir()
        run.mkdir()
        for file in self.place.lab.root.iterdir():
            if file.is_file():
                (tree / file.name).write_bytes(file.read_bytes())
            elif file.name == "prompts":
                shutil.copytree(file, tree / file.name)
        (tree / self.case.file).unlink()
        if text is not None:
            (tree / self.case.file).write_text(text)
        return self.target.measure(Assignment(tree, run, seed, lambda progress: None))

    @property
    def text(self) -> str:
        return (self.place.lab.root / self.case.file).read_text()


def place_of(lab: Lab, **options: Any) -> tuple[TargetKind[Any], Place]:
    settings = load_settings(lab.root, options).settings
    kind = kind_of(settings, lab.root)
    machine = read_machine()
    return kind, Place(with_defaults(settings, kind), lab, machine, choose_profile(machine, "cpu"))


@pytest.fixture(scope="module", params=list(KINDS))
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp(request.param)
    case = KINDS[request.param]
    kind, place = place_of(case.lab(folder / "lab"))
    conditions = kind.settle(place)
    (runs := folder / "runs").mkdir()
    return Subject(case, kind, place, conditions, kind.build(conditions, place), runs)


@pytest.mark.slow
def test_conditions_are_frozen(subject: Subject) -> None:
    assert isinstance(subject.conditions, subject.kind.conditions)
    field = dataclasses.fields(subject.conditions)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(subject.conditions, field, None)


@pytest.mark.slow
def test_the_ledger_gives_back_the_same_conditions(subject: Subject) -> None:
    written = json.loads(json.dumps(subject.kind.record(subject.conditions)))
    assert subject.kind.read(written) == subject.conditions
    assert subject.kind.read({**written, "of a later version": 1}) == subject.conditions
    assert subject.kind.record(subject.kind.read(written)) == written


def test_a_change_of_what_is_fixed_is_seen_and_makes_another_key(subject: Subject) -> None:
    kind, place = place_of(subject.place.lab, **subject.case.changed)
    other = kind.settle(place)
    fixed, changed = kind.fixed(subject.conditions), kind.fixed(other)
    assert {name for name in fixed if fixed[name] != changed[name]} == set(subject.case.changed)
    assert kind.key_parts(other, place.machine) != kind.key_parts(subject.conditions, place.machine)


def test_only_settings_that_exist_are_fixed(subject: Subject) -> None:
    known = {name for name, _, _ in load_settings(subject.place.lab.root).rows()}
    assert all(name in known or name.startswith("target.options.") for name in subject.kind.fixed(subject.conditions))


def test_the_parts_of_the_key_are_plain_and_the_same_each_time(subject: Subject) -> None:
    parts = subject.kind.key_parts(subject.conditions, subject.place.machine)
    assert json.loads(json.dumps(parts)) == parts
    assert subject.kind.key_parts(subject.conditions, subject.place.machine) == parts


def test_nothing_is_missing_where_the_session_began(subject: Subject) -> None:
    assert subject.kind.missing(subject.conditions) is None


def test_the_target_has_the_metric_and_the_direction_of_the_settings(subject: Subject) -> None:
    wanted = subject.place.settings.target
    assert (subject.target.metric, subject.target.direction) == (wanted.metric, wanted.direction)
    assert subject.target.name == subject.kind.name


def test_every_target_has_the_cases_that_the_search_selects_by(subject: Subject) -> None:
    assert "val" in subject.target.splits and set(subject.target.splits) <= {"val", "hidden"}


def test_a_target_says_why_lanes_are_refused_or_allows_them(subject: Subject) -> None:
    why = subject.target.lanes_refused()
    assert why is None or (why and "\n" not in why)


def test_the_workload_is_known_or_empty(subject: Subject) -> None:
    workload = subject.target.workload
    assert workload.device in (None, "cpu", "gpu")
    assert bool(workload.budget) == (workload.device is not None)


def test_the_files_of_the_lab_are_not_refused(subject: Subject) -> None:
    assert subject.target.refuse({subject.case.file: subject.text}) is None


@pytest.mark.slow
def test_a_measurement_is_a_finite_number_with_the_seed_that_was_asked(subject: Subject) -> None:
    measured = subject.measure(subject.text)
    assert measured.value is not None and math.isfinite(measured.value), measured.reason
    assert (measured.seed, measured.failure) == (7, None)
    json.dumps(dataclasses.asdict(measured), allow_nan=False)


def test_a_failure_of_the_edited_file_is_data(subject: Subject) -> None:
    measured = subject.measure(subject.case.fails)
    assert measured.value is None
    assert measured.failure == "crash" and measured.reason


@pytest.mark.slow
def test_a_smoke_run_passes_for_the_files_of_the_lab_where_there_is_one(subject: Subject, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(subject.place.lab.root, tree)
    (run := tmp_path / "run").mkdir()
    done = subject.target.smoke(Assignment(tree, run, 7, lambda progress: None))
    assert done is None or done.failure is None, done.reason


@pytest.mark.slow
def test_the_lines_in_doctor_are_findings_and_none_of_a_sound_lab_fails(subject: Subject) -> None:
    rows = list(subject.kind.doctor_rows(subject.place))
    assert all(isinstance(row, Finding) and row.state != "fail" for row in rows), rows


def test_a_plan_has_no_figure_that_was_not_measured(subject: Subject) -> None:
    before = subject.kind.plan_before(subject.place)
    within = subject.kind.plan_of(subject.conditions, subject.place, subject.kind.preset(subject.place.profile.knobs))
    for facts in (before, within):
        assert all(value is None or value > 0 for value in (facts.training_seconds, facts.timeout_seconds))
        assert (facts.overhead_seconds is None) == (facts.overhead_source is None)


def test_the_preset_is_a_part_of_the_profiles_knobs(subject: Subject) -> None:
    knobs = subject.place.profile.knobs
    assert subject.kind.preset(knobs).items() <= knobs.items()
    assert subject.kind.margin(subject.place.profile) >= 0


def test_a_target_that_can_be_rescored_or_confined_says_so_by_its_methods(subject: Subject) -> None:
    assert isinstance(subject.target, Rescorable) == subject.case.rescorable
    assert isinstance(subject.target, Confinable) == subject.case.confinable


def test_conditions_that_lack_a_value_are_an_error_with_the_next_step() -> None:
    from autoresearch_mlx.targets.command.kind import CommandKind
    from autoresearch_mlx.targets.pretrain.kind import PretrainKind

    for kind in (CommandKind(), PretrainKind()):
        with pytest.raises(ConfigError) as caught:
            kind.read({"budget_seconds": 5.0})
        assert "--tag" in caught.value.hint
    with pytest.raises(ConfigError, match="budget is 'match-joules', which this version does not know"):
        PretrainKind().read({"budget_kind": "match-joules"})
