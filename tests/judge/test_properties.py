"""Properties of every decision: more gain never hurts, min and max mirror each other, a verdict is always reached."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autoresearch_mlx.experiment import Direction, Verdict
from autoresearch_mlx.judge.evidence import UNKNOWN, Again, Evidence, Mode, Rules, Run, Sigma
from autoresearch_mlx.judge.stages import decide

MODES: tuple[Mode, ...] = ("auto", "fast", "adaptive", "strict")

run = st.builds(
    Run,
    value=st.floats(-4, 4).map(lambda off: 100 + off),
    seed=st.integers(0, 5),
    regime=st.integers(0, 1),
    fresh=st.booleans(),
    tainted=st.sampled_from((False, False, False, True)),
)
sigma = st.one_of(
    st.just(UNKNOWN),
    st.just(Sigma(0.0, 3, 2, "exact")),
    st.builds(Sigma, st.floats(0.2, 3), st.just(9), st.integers(1, 60), st.just("some runs")),
)


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    return Evidence(
        candidate=tuple(draw(st.lists(run, min_size=1, max_size=5))),
        incumbent=tuple(draw(st.lists(run, min_size=1, max_size=6))),
        sigma=draw(sigma),
        direction=draw(st.sampled_from(("min", "max"))),
        recent_effects=tuple(draw(st.lists(st.floats(0, 12), max_size=6))),
        lines_removed=draw(st.integers(-3, 3)),
        regime=draw(st.integers(0, 1)),
        pair_sigma=draw(sigma),
        incumbent_age=draw(st.integers(0, 20)),
        refreshes=draw(st.integers(0, 4)),
        audited=draw(st.booleans()),
    )


def better(evidence: Evidence, by: float) -> Evidence:
    """Return the same evidence with every run of the candidate better by ``by``."""
    sign = -1 if evidence.direction == "min" else 1
    return replace(evidence, candidate=tuple(replace(r, value=r.value + sign * by) for r in evidence.candidate))


def mirrored(evidence: Evidence) -> Evidence:
    def flip(runs: tuple[Run, ...]) -> tuple[Run, ...]:
        return tuple(replace(each, value=-each.value) for each in runs)

    other: Direction = "max" if evidence.direction == "min" else "min"
    return replace(evidence, direction=other, candidate=flip(evidence.candidate), incumbent=flip(evidence.incumbent))


def rank(decision: object) -> int:
    """Return 0 for a discard, 1 for a request to measure again, and 2 for a keep."""
    return 1 if isinstance(decision, Again) else 2 if isinstance(decision, Verdict) and decision.status == "keep" else 0


@pytest.mark.slow
@settings(max_examples=200)
@given(evidences(), st.floats(0, 6), st.sampled_from(MODES))
def test_a_larger_gain_never_turns_a_keep_into_a_discard(evidence: Evidence, by: float, mode: Mode) -> None:
    """The candidate counts as audited, because before an audit a gain may be held back for its size."""
    evidence = replace(evidence, audited=True)
    before, after = decide(evidence, mode), decide(better(evidence, by), mode)
    if rank(before) == 2:
        assert rank(after) >= 1
    if rank(after) == 0:
        assert rank(before) == 0


@given(evidences(), st.floats(0, 200), st.sampled_from(MODES))
def test_nothing_is_discarded_for_being_good(evidence: Evidence, by: float, mode: Mode) -> None:
    if rank(decide(evidence, mode)) == 2:
        after = decide(better(evidence, by), mode)
        assert not isinstance(after, Verdict) or after.status != "discard"


@given(evidences(), st.sampled_from(MODES))
def test_a_metric_that_points_up_is_judged_as_its_mirror_image(evidence: Evidence, mode: Mode) -> None:
    ours, theirs = decide(evidence, mode), decide(mirrored(evidence), mode)
    assert rank(ours) == rank(theirs)
    if isinstance(ours, Again) and isinstance(theirs, Again):
        assert (ours.whom, ours.seed, ours.audit) == (theirs.whom, theirs.seed, theirs.audit)


@given(evidences(), st.lists(st.floats(-1e6, 1e6), max_size=Rules().spoiled - 1), st.sampled_from(MODES))
def test_tainted_runs_change_nothing_beside_ones_that_count(
    evidence: Evidence, values: list[float], mode: Mode
) -> None:
    spoiled = tuple(Run(value, 9, evidence.regime, tainted=True) for value in values)
    clean = replace(
        evidence,
        candidate=(Run(100.0, 0, evidence.regime), *evidence.candidate),
        incumbent=(Run(100.5, 0, evidence.regime), *evidence.incumbent),
    )
    dirty = replace(clean, candidate=(*clean.candidate, *spoiled), incumbent=(*clean.incumbent, *spoiled))
    assume(sum(run.tainted for run in dirty.candidate) < Rules().spoiled)  # from here on the candidate is given up
    assert decide(dirty, mode) == decide(clean, mode)


@pytest.mark.slow
@settings(max_examples=200)
@given(evidences(), st.integers(0, 10**6), st.booleans(), st.sampled_from((0.0, 0.3, 1.0)), st.sampled_from(MODES))
def test_every_course_ends_in_a_verdict(
    evidence: Evidence, luck: int, obliging: bool, spoiled: float, mode: Mode
) -> None:
    """This holds whatever the further runs measure, if some of them are disturbed, and without an audit too."""
    rng = random.Random(luck)
    evidence = replace(evidence, candidate=evidence.candidate[:1], refreshes=0, audited=False)
    for _ in range(14):
        decision = decide(evidence, mode)
        if isinstance(decision, Verdict):
            return
        taken = Run(100 + rng.gauss(0, 3), decision.seed or 0, evidence.regime, tainted=rng.random() < spoiled)
        if decision.whom == "incumbent":
            evidence = replace(evidence, incumbent=(*evidence.incumbent, taken), refreshes=evidence.refreshes + 1)
        else:
            evidence = replace(
                evidence,
                candidate=(*evidence.candidate, taken),
                audited=evidence.audited or (obliging and decision.audit),
            )
    pytest.fail(f"still asking after 14 runs: {decision.reason}")


@given(evidences(), st.sampled_from(MODES))
def test_a_decision_is_a_function_of_its_evidence(evidence: Evidence, mode: Mode) -> None:
    assert decide(evidence, mode) == decide(evidence, mode)
