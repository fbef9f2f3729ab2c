"""The directions that knobs tries first come from published logs, never from the runs that bench/ is fitted to."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from autoresearch_mlx.agents.knobs.interest import goes_the_usual_way
from autoresearch_mlx.agents.knobs.memory import Memory
from autoresearch_mlx.agents.knobs.moves import Step
from autoresearch_mlx.agents.knobs.outlook import look
from autoresearch_mlx.agents.knobs.space import read_space

DATA = Path(__file__).resolve().parents[2] / "data"
FITTED = "H200-automl"
"""The log of the study whose runs bench/fitted.py uses."""


def number(text: str) -> float | None:
    base, _, power = text.partition("**")
    try:
        return float(base) ** float(power or 1)
    except ValueError:
        return None


def directions() -> dict[str, int]:
    """Return the direction, -1 or 1, of each axis where one was kept at least twice as often as the other.

    That direction was kept three times or more, and each direction was tried three times or more.
    """
    tries: Counter[tuple[str, int]] = Counter()
    kept: Counter[tuple[str, int]] = Counter()
    for name in ("cuda_baseline", "cuda_runs", "apple_runs"):
        lines = [line for line in (DATA / f"{name}.tsv").read_text().splitlines() if not line.startswith("#")]
        for run in csv.DictReader(lines, delimiter="\t"):
            before, after = number(run["from"] or ""), number(run["to"] or "")
            if run["log"] != FITTED and before is not None and after is not None and before != after:
                way = (run["axis"], 1 if after > before else -1)
                tries[way] += 1
                kept[way] += run["status"] == "keep"
    share = {way: kept[way] / tries[way] for way in tries if tries[way] >= 3}
    return {
        axis: way for (axis, way), x in share.items() if kept[axis, way] >= 3 and x >= 2 * share.get((axis, -way), 1)
    }


def test_the_usual_ways_are_those_of_the_published_logs() -> None:
    found = directions()
    assert found == {"batch": -1, "depth": -1, "lr.matrix": -1, "lr.scalar": -1, "schedule.final": 1}
    del found["depth"]  # more layers gained on the H100, fewer on Apple chips
    for axis, way in found.items():
        assert goes_the_usual_way(axis, 1, 1 + 0.5 * way) and not goes_the_usual_way(axis, 1, 1 - 0.5 * way)
    assert not goes_the_usual_way("depth", 8, 7) and not goes_the_usual_way("depth", 8, 9)


@pytest.mark.parametrize(
    ("knob", "value", "way"), [("MATRIX_LR", 0.04, -1), ("SCALAR_LR", 0.5, -1), ("FINAL_LR_FRAC", 0.1, 1)]
)
def test_the_first_step_of_such_a_knob_goes_the_usual_way(knob: str, value: float, way: int) -> None:
    space = read_space({"t.py": f"{knob} = {value}\n"})
    outlook = look(space, Memory((), frozenset({space.start}), 0.0))
    usual, other = outlook.rank([(Step(0, value * (1 + 0.3 * way)),), (Step(0, value * (1 - 0.3 * way)),)])
    assert usual > other
