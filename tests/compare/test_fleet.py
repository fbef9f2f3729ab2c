"""The machines of a fleet side by side, from the ledger of one night of two machines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import command_line

from autoresearch_mlx.compare.machines import Fleetwide, fleetwide, render, to_json
from autoresearch_mlx.experiment import History
from autoresearch_mlx.store.ledger import read

GOLDEN = Path(__file__).parent / "golden"
LEDGER = GOLDEN / "fleet" / "ledger.jsonl"
"""A night of fourteen changes on an M4 Max and an M1, whose values differ by 0.25; our judge gave the verdicts."""


@pytest.fixture(scope="module")
def night() -> History:
    return read(LEDGER).history


@pytest.fixture(scope="module")
def fleet(night: History) -> Fleetwide:
    found = fleetwide(night)
    assert found is not None
    return found


@pytest.mark.parametrize(("width", "name"), [(110, "fleet_wide"), (64, "fleet_narrow")])
def test_the_table_is_as_a_person_has_approved_it(fleet: Fleetwide, width: int, name: str) -> None:
    text = render(fleet, width)
    assert text + "\n" == (GOLDEN / f"{name}.txt").read_text()
    assert max(map(len, text.splitlines())) <= width


def test_each_machine_has_its_own_values_and_its_own_noise(fleet: Fleetwide) -> None:
    desk, attic = fleet.machines
    assert (desk.machine, desk.chip, attic.machine, attic.chip) == ("desk", "Apple M4 Max", "attic", "Apple M1")
    assert desk.baseline is not None and attic.baseline is not None and attic.baseline - desk.baseline > 0.24
    assert desk.sigma is not None and attic.sigma is not None and desk.sigma < attic.sigma
    assert desk.gain is not None and desk.low is not None and 0 < desk.low < desk.gain


def test_a_change_says_where_it_holds(fleet: Fleetwide) -> None:
    where = {held.number: held.where for held in fleet.changes}
    assert (where[1], where[3], where[9]) == ("gains on all", "on one chip alone", "within noise")
    (depth,) = (held for held in fleet.changes if held.number == 3)
    assert depth.chip == "Apple M4 Max" and depth.combined.i_squared > 0.9 and depth.status == "discard"


def test_a_change_that_only_one_machine_measured_is_counted_and_a_crash_is_not(fleet: Fleetwide) -> None:
    assert fleet.elsewhere == (4, 10, 14)
    assert 6 not in {held.number for held in fleet.changes}


def test_the_document_has_every_figure_and_is_plain_json(fleet: Fleetwide) -> None:
    document = json.loads(json.dumps(to_json(fleet), allow_nan=False))
    assert [side["machine"] for side in document["machines"]] == ["desk", "attic"]
    first = document["changes"][0]
    assert {"number", "where", "effect", "low", "high", "q", "chance", "i_squared", "effects"} <= first.keys()
    assert {"machine", "gain", "low", "high", "sigmas", "runs_candidate"} <= first["effects"][0].keys()
    assert document["between"]["changes"] == len(document["changes"])
    assert document["between"]["left_out"] == 1, "number 3, which suits one chip alone"


def test_a_session_without_machine_names_has_nothing_to_compare() -> None:
    plain = read(Path(__file__).parents[1] / "store" / "golden" / "regimes" / "plain.jsonl").history
    assert fleetwide(plain) is None


def test_one_machine_of_a_fleet_is_not_a_comparison(night: History) -> None:
    alone = replace(night, repeats=(), experiments=night.experiments[:1])
    assert fleetwide(alone) is None


def test_a_night_that_has_only_its_baseline_shows_the_machines(night: History) -> None:
    found = fleetwide(replace(night, experiments=night.experiments[:1]))
    assert found is not None and found.changes == () and found.machines[0].gain is None
    assert "No change was measured on two machines yet." in render(found, 100)


def test_a_title_with_escape_codes_cannot_reach_the_screen(night: History) -> None:
    first, change, *more = night.experiments
    hostile = replace(change, title="\x1b[2Jgone\nand a second line")
    found = fleetwide(replace(night, experiments=(first, hostile, *more)))
    assert found is not None
    text = render(found, 160)
    assert "\x1b" not in text and "gone and a second line" in text


# -- the command ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a lab with that night, and with a night of one machine."""
    root = tmp_path_factory.mktemp("lab")
    (root / "lab.toml").write_text("")
    plain = Path(__file__).parents[1] / "store" / "golden" / "regimes" / "plain.jsonl"
    for tag, ledger in (("alone", plain), ("nov29", LEDGER)):
        folder = root / ".autoresearch" / tag
        folder.mkdir(parents=True)
        (folder / "ledger.jsonl").write_bytes(ledger.read_bytes())
    return root


def test_compare_shows_the_machines_first_and_then_the_reference(lab: Path) -> None:
    done = command_line("compare", "--tag", "nov29", cwd=lab)
    assert done.stdout.index("on the machines of the fleet") < done.stdout.index("H100")
    assert "fleet" in json.loads(command_line("compare", "--tag", "nov29", "--json", cwd=lab).stdout)


def test_compare_machines_shows_only_the_machines(lab: Path) -> None:
    done = command_line("compare", "--machines", "--tag", "nov29", cwd=lab)
    assert "on Apple M4 Max alone" in done.stdout and "H100" not in done.stdout


def test_compare_machines_of_one_machine_is_refused_with_the_next_step(lab: Path) -> None:
    done = command_line("compare", "--machines", "--tag", "alone", cwd=lab)
    assert done.returncode != 0 and "has runs of one machine only" in done.stderr and "--import FILE" in done.stderr


def test_compare_machines_goes_with_no_other_log(lab: Path) -> None:
    done = command_line("compare", "--machines", "--with", "H100", cwd=lab)
    assert done.returncode == 2 and "leave the other options out" in done.stderr
