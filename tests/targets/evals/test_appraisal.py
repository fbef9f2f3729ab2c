"""A message before the night says that no edit could improve on the baseline, or that there are too few cases."""

from __future__ import annotations

from statistics import fmean

import pytest

from autoresearch_mlx.experiment import Measurement
from autoresearch_mlx.targets.evals.appraisal import appraised


def runs(*texts: str) -> list[Measurement]:
    tables = [{f"c{n}": float(digit) for n, digit in enumerate(text)} for text in texts]
    return [Measurement(fmean(t.values()), seed, extra={"cases": t}) for seed, t in enumerate(tables)]


@pytest.mark.parametrize(
    ("texts", "state", "said"),
    [
        (["1" * 20], "fail", "saturated: all 20 dev cases are right"),
        (["0" * 20], "fail", "hopeless: none of 20 dev cases is right"),
        (["1" * 18 + "00"], "note", "nearly saturated: 18 of 20 dev cases are right, and an edit must win 3 more"),
        (["1" * 9 + "0" * 11] * 3, "ok", "9 of 20 dev cases are right; an edit must win 3 more cases, or 0.15"),
        (
            ["1100" * 5, "0110" * 5, "1010" * 5],
            "note",
            "from run to run: to see a gain of 0.1 nine times in ten, about",
        ),
    ],
)
def test_a_start_is_appraised(texts: list[str], state: str, said: str) -> None:
    (found,) = appraised(runs(*texts))
    assert found.state == state and said in found.value
    assert (state == "ok") == (not found.hint)


def test_it_says_how_many_cases_would_be_needed() -> None:
    (close,) = appraised(runs("1" * 18 + "00"))
    assert close.hint == "about 60 dev cases as hard as these would be enough"
    (spread,) = appraised(runs("1100" * 5, "0110" * 5, "1010" * 5))
    assert "are needed" in spread.value and "there are 20" in spread.value


def test_without_cases_there_is_nothing_to_say() -> None:
    assert appraised([Measurement(1.0, 1)]) == []
