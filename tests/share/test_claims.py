"""A claim goes to exactly one lab, holds for a while, and ends by itself."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier

import pytest
from share_cases import bare, publish, side_by_side

from autoresearch_mlx.share.claims import REFS, Claims
from autoresearch_mlx.share.place import place_of
from autoresearch_mlx.share.remote import Remote

QUESTION = "332776621ea4"


def claims(folder: Path, remote: Path) -> Claims:
    place = place_of(folder)
    return Claims(place, Remote(str(remote), place.pool, asks=False), "46954e61")


@pytest.mark.slow
def test_six_labs_race_for_25_claims_and_each_has_one_winner(tmp_path: Path) -> None:
    remote = bare(tmp_path / "remote.git")
    labs = [claims(tmp_path / f"lab{n}", remote) for n in range(6)]
    hypotheses = [f"{n:016x}" for n in range(25)]

    start = Barrier(len(labs))

    def race(lab: Claims) -> list[str]:
        won = []
        for hypothesis in hypotheses:
            start.wait(60)  # all push at one moment, or the first winner would stay ahead of the others
            won += [hypothesis] if lab.take(QUESTION, hypothesis, 600) is None else []
        return won

    won = side_by_side(*(lambda lab=lab: race(lab) for lab in labs))
    assert sorted(h for each in won for h in each) == hypotheses
    assert sum(map(bool, won)) > 1, "several labs won something, so it was a race"


def test_a_claim_of_another_lab_holds_until_it_ends_and_then_goes_to_one(tmp_path: Path) -> None:
    remote = bare(tmp_path / "remote.git")
    first, second, third = (claims(tmp_path / f"lab{n}", remote) for n in range(3))
    assert first.take(QUESTION, "aa", 600) is None
    assert first.take(QUESTION, "aa", 600) is None
    words = second.take(QUESTION, "aa", 600)
    assert words is not None and f"lab {first.place.lab}" in words and "10 minutes" in words
    old = b'{"kind": "claim", "lab": "1e74be3278", "machine": "46954e61", "begun": 1000, "seconds": 600}'
    publish(remote, {f"{REFS}/{QUESTION}/bb": old}, "claim.json")
    taken = side_by_side(lambda: second.take(QUESTION, "bb", 600), lambda: third.take(QUESTION, "bb", 600))
    assert sum(each is None for each in taken) == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\xff" * 9000,
        b'{"kind": "claim", "lab": "\x1b[31m", "machine": 1, "begun": 1e999, "seconds": -1}',
        b'{"kind": "claim", "lab": "a", "machine": "b", "begun": true, "seconds": [600]}',
    ],
)
def test_what_is_no_claim_does_not_hold(text: bytes, tmp_path: Path) -> None:
    remote = bare(tmp_path / "remote.git")
    publish(remote, {f"{REFS}/{QUESTION}/cc": text}, "claim.json")
    assert claims(tmp_path / "lab", remote).take(QUESTION, "cc", 600) is None


def test_a_clock_that_is_ahead_does_not_stretch_a_claim(tmp_path: Path) -> None:
    remote = bare(tmp_path / "remote.git")
    ahead = b'{"kind": "claim", "lab": "1e74be3278", "machine": "46954e61", "begun": 9e10, "seconds": 9e10}'
    publish(remote, {f"{REFS}/{QUESTION}/dd": ahead}, "claim.json")
    lab = claims(tmp_path / "lab", remote)
    words = lab.take(QUESTION, "dd", 600)
    assert words is not None and "720 minutes" in words  # twelve hours at most
    lab.seen = dict.fromkeys(lab.seen, 0.0)  # as if it had been seen for the first time in 1970
    assert lab.take(QUESTION, "dd", 600) is None


def test_claims_that_are_over_are_removed_also_those_of_an_earlier_run(tmp_path: Path) -> None:
    remote = bare(tmp_path / "remote.git")
    lab = claims(tmp_path / "lab", remote)
    assert lab.take(QUESTION, "ee", 600) is None
    later = claims(tmp_path / "lab", remote)
    later.held = {ref: (commit, 0.0) for ref, (commit, _) in later.held.items()}
    later.expire()
    assert later.remote.refs(f"{REFS}/*") == {} == claims(tmp_path / "lab", remote).held
