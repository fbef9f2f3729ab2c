"""The decision in stages: clear cases after one run, close ones after more, and always an end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from judge_cases import BASELINE_ONLY, SIGMA, WELL_KNOWN, against, gains, runs

from autoresearch_mlx.experiment import Verdict
from autoresearch_mlx.judge.evidence import UNKNOWN, Again, Rules, Run, Sigma, Stages
from autoresearch_mlx.judge.stages import decide, decide_baseline, settled_mode

BIG = (6 * SIGMA,) * 5


def test_a_clear_loser_goes_after_one_run() -> None:
    assert decide(gains(-2.0)) == Verdict("discard", "loss 0.0018 +- 0.0023 (0.8 sigma, 1 run against 3): discard")


def test_a_clear_winner_stays_after_one_run_and_is_flagged() -> None:
    verdict = decide(gains(8.0), "adaptive")
    assert verdict == Verdict("keep", "gain 0.0148 +- 0.0023 (6.4 sigma, 1 run against 3): keep, fast")


def test_a_close_call_runs_again_on_a_seed_of_the_incumbent() -> None:
    again = decide(gains(2.0))
    assert isinstance(again, Again)
    assert (again.whom, again.seed) == ("candidate", 1)
    assert again.reason == "gain 0.0018 +- 0.0023 (0.8 sigma, 1 run against 3): measure again"


def test_all_runs_of_the_candidate_count_and_the_reason_says_how_many() -> None:
    verdict = decide(gains(2.5, 2.6, 2.4), "adaptive")
    assert isinstance(verdict, Verdict) and verdict.status == "keep"
    assert verdict.reason.endswith("3 runs each): keep")


def test_after_the_last_run_there_is_a_verdict() -> None:
    assert isinstance(decide(gains(1.2, 1.2, 1.2), "adaptive"), Again)
    assert isinstance(decide(gains(1.2, 1.2, 1.2, 1.2), "adaptive"), Verdict)


def test_what_three_baseline_runs_know_of_sigma_keeps_less_at_once() -> None:
    assert isinstance(decide(gains(5.0), "adaptive"), Verdict)
    assert isinstance(decide(gains(5.0, sigma=BASELINE_ONLY), "adaptive"), Again)


def test_strict_asks_where_adaptive_keeps() -> None:
    assert isinstance(decide(gains(2.2, 2.2), "strict"), Again)
    assert isinstance(decide(gains(2.2, 2.2), "adaptive"), Verdict)


def test_the_metric_may_point_up() -> None:
    up = against((0.5, 0.502, 0.498), (0.52,), direction="max")
    down = replace(up, direction="min")
    assert isinstance(kept := decide(up), Verdict) and kept.status == "keep"
    assert isinstance(lost := decide(down), Verdict) and lost.status == "discard"


# -- modes ------------------------------------------------------------------------------------------


def test_fast_keeps_a_gain_over_one_sigma_after_one_run_and_nothing_less() -> None:
    assert decide(gains(1.1), "fast") == Verdict(
        "keep", "gain 0.0006 +- 0.0023 (0.3 sigma, 1 run against 3): keep, fast"
    )
    assert isinstance(lost := decide(gains(0.9), "fast"), Verdict) and lost.status == "discard"


@pytest.mark.parametrize(
    ("effects", "mode"),
    [
        ((), "adaptive"),
        ((9 * SIGMA,), "adaptive"),
        ((9 * SIGMA, 5 * SIGMA), "fast"),
        ((9 * SIGMA, 2 * SIGMA, 5 * SIGMA), "fast"),
        ((9 * SIGMA, 2 * SIGMA, 3 * SIGMA), "adaptive"),
        ((*BIG, SIGMA, SIGMA, SIGMA), "adaptive"),
        ((SIGMA, SIGMA, SIGMA, *BIG), "fast"),
    ],
)
def test_auto_is_fast_while_the_last_five_effects_are_large_against_sigma(
    effects: tuple[float, ...], mode: str
) -> None:
    assert settled_mode(effects, WELL_KNOWN, Rules()) == mode


def test_auto_decides_as_the_mode_it_settles_on() -> None:
    assert decide(gains(1.5, recent_effects=BIG)) == decide(gains(1.5, recent_effects=BIG), "fast")
    assert decide(gains(1.5)) == decide(gains(1.5), "adaptive")


# -- the incumbent's record -------------------------------------------------------------------------


def test_a_close_call_has_an_incumbent_with_only_its_screening_run_measured_first_on_the_candidates_seed() -> None:
    evidence = replace(gains(2.0), incumbent=runs(1.8, first_seed=9, selected=True))
    again = decide(evidence)
    assert isinstance(again, Again)
    assert (again.whom, again.seed) == ("incumbent", 0)
    assert "too few runs that were not selected" in again.reason


def test_a_clear_case_does_not_wait_for_the_incumbent() -> None:
    thin = runs(1.8, first_seed=9, selected=True)
    assert isinstance(decide(replace(gains(-2.0), incumbent=thin)), Verdict)
    assert isinstance(decide(replace(gains(9.0), incumbent=thin)), Verdict)


def test_a_close_call_has_an_old_record_measured_anew() -> None:
    again = decide(gains(2.0, incumbent_age=11))
    assert isinstance(again, Again) and again.whom == "incumbent"
    assert "11 experiments ago" in again.reason
    assert isinstance(again := decide(gains(2.0, incumbent_age=10)), Again) and again.whom == "candidate"


def test_the_incumbent_is_not_measured_for_one_decision_without_end() -> None:
    again = decide(gains(2.0, incumbent_age=99, refreshes=3))
    assert isinstance(again, Again) and again.whom == "candidate"


def test_the_incumbents_screening_run_does_not_count_beside_unselected_ones() -> None:
    """The screening run chose the incumbent, so it was probably a lucky one."""
    lucky = (Run(1.7, 0, fresh=False), *runs(1.8, 1.8, 1.8, first_seed=1))
    assert decide(replace(gains(8.0), incumbent=lucky)) == decide(
        replace(gains(8.0), incumbent=runs(1.8, 1.8, 1.8, first_seed=1))
    )


def test_the_newest_four_runs_of_the_incumbent_count() -> None:
    old = runs(1.5, 1.5, 1.8, 1.8, 1.8, 1.8)
    assert decide(replace(gains(8.0), incumbent=old)) == decide(replace(gains(8.0), incumbent=old[2:]))


# -- runs that do not count --------------------------------------------------------------------------


def test_tainted_runs_never_count() -> None:
    clean = gains(2.0)
    spoiled = replace(
        clean,
        candidate=(*clean.candidate, Run(1.0, 8, tainted=True)),
        incumbent=(Run(3.0, 9, tainted=True), *clean.incumbent),
    )
    assert decide(spoiled) == decide(clean)


def test_runs_of_an_earlier_regime_do_not_count() -> None:
    now = replace(
        against((), (), regime=1),
        candidate=(*runs(1.0), *runs(1.784, regime=1)),
        incumbent=(*runs(9.0, 9.0), *runs(1.798, 1.8, 1.802, regime=1)),
    )
    assert decide(now) == decide(against((1.798, 1.8, 1.802), (1.784,)))


def test_a_disturbed_candidate_is_measured_again_but_not_for_ever() -> None:
    bad = [Run(1.8, 0, tainted=True)] * 3
    again = decide(replace(gains(), candidate=tuple(bad[:2])))
    assert isinstance(again, Again) and again.reason == "disturbed: measured again" and again.seed == 0
    assert decide(replace(gains(), candidate=tuple(bad))) == Verdict(
        "invalid", "all 3 runs were disturbed, so nothing can be compared"
    )


def test_a_close_call_on_a_machine_that_never_rests_ends_as_invalid_not_as_a_guess() -> None:
    close = gains(2.0)
    bad = tuple(Run(1.8, seed, tainted=True) for seed in (1, 1, 1))
    assert isinstance(decide(replace(close, candidate=(*close.candidate, *bad[:2]))), Again)
    assert decide(replace(close, candidate=(*close.candidate, *bad))) == Verdict(
        "invalid", "gain 0.0018 +- 0.0023 (0.8 sigma, 1 run against 3): undecided, and 3 further runs were disturbed"
    )


def test_a_new_regime_has_the_incumbent_measured_first() -> None:
    again = decide(replace(gains(2.0), candidate=runs(1.79, regime=1), regime=1))
    assert isinstance(again, Again) and again.whom == "incumbent" and again.seed == 0
    lost = decide(replace(gains(2.0), candidate=runs(1.79, regime=1), regime=1, refreshes=3))
    assert isinstance(lost, Verdict) and lost.status == "invalid"


def test_nothing_measured_yet_asks_for_a_run_on_a_seed_of_the_incumbent() -> None:
    assert decide(gains()) == Again("not measured yet", seed=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_no_run(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Run(value, 0)


# -- seeds, steps -----------------------------------------------------------------------------------


def test_repeats_take_the_incumbents_seeds_one_by_one_then_a_new_one() -> None:
    seeds = []
    for taken in (1, 2, 3):
        again = decide(gains(*[1.3] * taken))
        assert isinstance(again, Again)
        seeds.append(again.seed)
    assert seeds == [1, 2, 3]


def test_pairs_on_common_seeds_decide_where_they_are_the_more_precise() -> None:
    """The two values move together with the seed, so one pair shows a gain of one sigma clearly."""
    evidence = against((1.798, 1.8, 1.802), (1.796,), pair_sigma=Sigma(0.1 * SIGMA, 20, 12, "20 runs of 8 pairs"))
    verdict = decide(evidence)
    assert isinstance(verdict, Verdict) and verdict.reason.endswith("1 run each): keep, fast")
    assert isinstance(decide(replace(evidence, pair_sigma=UNKNOWN)), Again)
    few = Sigma(0.1 * SIGMA, 4, 2, "4 runs of 2 pairs")
    assert isinstance(decide(replace(evidence, pair_sigma=few)), Again)


def test_a_repeat_ends_by_calibrated_steps_where_they_are_known() -> None:
    again = decide(gains(2.0, steps=(310, 290)))
    assert isinstance(again, Again) and again.steps == 310
    again = decide(gains(2.0, steps=(310, 290), incumbent_age=20))
    assert isinstance(again, Again) and again.steps == 290


# -- simplicity -------------------------------------------------------------------------------------


def test_an_equal_result_with_shorter_code_wins_after_two_runs() -> None:
    again = decide(gains(0.0, lines_removed=4))
    assert isinstance(again, Again)
    verdict = decide(gains(0.0, 0.1, lines_removed=4))
    assert isinstance(verdict, Verdict) and verdict.status == "keep"
    assert verdict.reason.endswith("keep, equal with 4 fewer lines")


@pytest.mark.parametrize("removed", [0, -5])
def test_an_equal_result_without_shorter_code_does_not(removed: int) -> None:
    assert isinstance(lost := decide(gains(0.0, 0.0, lines_removed=removed)), Verdict) and lost.status == "discard"


def test_a_worse_result_is_not_saved_by_shorter_code() -> None:
    lost = decide(gains(-0.6, -0.6, lines_removed=50))
    assert isinstance(lost, Verdict) and lost.status == "discard"


# -- without sigma ----------------------------------------------------------------------------------


def test_while_nothing_was_repeated_the_margin_rules_as_ever() -> None:
    rules = Rules(margin=0.003)
    kept = decide(against((1.8,), (1.796,), sigma=UNKNOWN), rules=rules)
    assert kept == Verdict("keep", "gain 0.004000 against the incumbent's 1.800000 (margin 0.003): keep")
    lost = decide(against((1.8,), (1.798,), sigma=UNKNOWN), rules=rules)
    assert isinstance(lost, Verdict) and lost.status == "discard"


def test_where_runs_repeat_exactly_any_gain_counts_and_equal_but_shorter_wins() -> None:
    exact = Sigma(0.0, 3, 2, "3 runs of 1 commit")
    assert isinstance(kept := decide(against((7.0,), (6.99,), sigma=exact)), Verdict) and kept.status == "keep"
    assert isinstance(lost := decide(against((7.0,), (7.0,), sigma=exact)), Verdict) and lost.status == "discard"
    assert decide(against((7.0,), (7.0,), sigma=exact, lines_removed=1)) == Verdict(
        "keep", "equal to the last digit with 1 fewer line: keep"
    )


# -- the baseline -----------------------------------------------------------------------------------


def test_the_baseline_is_measured_until_it_has_its_replicates() -> None:
    assert decide_baseline((), "val_bpb") == Again("run 1 of 3 of the baseline", "incumbent")
    again = decide_baseline(runs(1.8, 1.81, first_seed=42), "val_bpb")
    assert isinstance(again, Again) and again.seed == 44
    assert decide_baseline(runs(1.8, 1.81, 1.82), "val_bpb") == Verdict(
        "keep", "baseline: val_bpb 1.810000, sigma 0.010000 of 3 runs"
    )
    assert decide_baseline(runs(1.8), "val_bpb", 1) == Verdict("keep", "baseline: val_bpb 1.800000")


def test_disturbed_runs_of_the_baseline_are_made_up_for_up_to_a_limit() -> None:
    bad = tuple(Run(2.0, seed, tainted=True) for seed in range(5))
    assert isinstance(decide_baseline(bad, "m"), Again)
    assert isinstance(none := decide_baseline((*bad, bad[0]), "m"), Verdict) and none.status == "invalid"
    assert decide_baseline((*bad, Run(1.5, 9)), "m") == Verdict("keep", "baseline: m 1.500000")


def test_stages_that_never_meet_are_refused() -> None:
    with pytest.raises(ValueError, match="narrow to one score"):
        Stages((0.5, 1.0), (3.0, 2.0))
    with pytest.raises(ValueError, match="narrow to one score"):
        Stages((0.5,), (0.5, 0.5))
