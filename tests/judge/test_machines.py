"""A change that several machines measure: which machine runs it next, when it is kept, and on which chips it wins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoresearch_mlx.experiment import Experiment, History, Measurement, Repeat, Verdict
from autoresearch_mlx.judge.across import (
    View,
    changes,
    decide_across,
    effect_across,
    name_of,
    reference,
    spread_of,
    views,
)
from autoresearch_mlx.judge.combined import Between
from autoresearch_mlx.judge.evidence import UNKNOWN, Again, Evidence, Rules, Run, Sigma
from autoresearch_mlx.judge.history import gained, standing
from autoresearch_mlx.judge.judge import Case, Judge
from autoresearch_mlx.judge.machines import (
    OnMachine,
    decide_on_machines,
    effects_of,
    platform_of,
    runs_of_baseline,
    runs_to_learn,
    together,
)

SIGMA = 0.01
KNOWN = Sigma(SIGMA, 30, 20, "30 runs")
LEVELS = {"attic": 1.0, "desk": 1.25, "shelf": 1.06}
"""The incumbent's value on each machine; the values lie far apart."""
CHIPS = {"attic": "M1", "desk": "M4", "shelf": "M4"}
ALIKE = Between(0.09, 20)


def side(machine: str, *gains: float, sigma: Sigma = KNOWN, incumbent: int = 3) -> OnMachine:
    """Return a machine whose candidate gains this many sigma in each run; lower values are better."""
    level = LEVELS[machine]
    return OnMachine(
        machine,
        CHIPS[machine],
        Evidence(
            tuple(Run(level - gain * SIGMA, seed, fresh=seed > 0) for seed, gain in enumerate(gains)),
            tuple(Run(level, seed) for seed in range(incumbent)),
            sigma,
        ),
    )


def decide(*sides: OnMachine, mode: str = "adaptive") -> Verdict | Again:
    return decide_on_machines(sides, ALIKE, "strict" if mode == "strict" else "adaptive")


def test_the_first_machine_goes_first() -> None:
    again = decide(side("desk"), side("attic"))
    assert isinstance(again, Again)
    assert (again.whom, again.machine, again.seed) == ("candidate", "desk", 0)


def test_a_loser_goes_after_one_run_on_one_machine() -> None:
    verdict = decide(side("desk", -1.0), side("attic"))
    assert verdict == Verdict("discard", "loss 1.0 +- 1.2 sigma on desk (1 run): discard")


def test_even_a_clear_winner_needs_a_second_machine() -> None:
    again = decide(side("desk", 8.0), side("attic"))
    assert isinstance(again, Again)
    assert (again.whom, again.machine) == ("candidate", "attic")

    verdict = decide(side("desk", 8.0), side("attic", 7.0))
    assert isinstance(verdict, Verdict) and verdict.status == "keep"
    assert verdict.reason == "gain 7.5 +- 0.8 sigma over 2 machines (8.0 on desk, 7.0 on attic; 2 runs): keep"


def test_values_that_lie_a_quarter_apart_do_not_matter() -> None:
    worst = decide(side("attic", 0.0), side("desk", 0.0))
    assert isinstance(worst, Verdict) and worst.status == "discard", "attic's values are far below those of desk"


def test_a_win_that_the_second_machine_denies_is_not_kept() -> None:
    third = decide(side("desk", 4.0), side("attic", -0.5), side("shelf"))
    assert isinstance(third, Again) and third.machine == "shelf", "a third machine is asked"

    verdict = decide(side("desk", 4.0), side("attic", -3.5))
    assert isinstance(verdict, Verdict) and verdict.status == "discard"


def test_a_close_call_goes_round_the_machines_and_ends() -> None:
    runs: dict[str, list[float]] = {"desk": [], "attic": [], "shelf": []}
    order = []
    for _ in range(10):
        decision = decide(*(side(machine, *gains) for machine, gains in runs.items()))
        if isinstance(decision, Verdict):
            break
        order.append(decision.machine)
        runs[decision.machine].append(1.2)
    assert order[:3] == ["desk", "attic", "shelf"]
    assert isinstance(decision, Verdict) and len(order) <= Rules().across.limit


def test_strict_asks_for_more() -> None:
    sides = side("desk", 2.2), side("attic", 2.0)
    assert isinstance(decide(*sides), Verdict)
    assert isinstance(decide(*sides, mode="strict"), Again)


def test_a_machine_that_has_no_run_of_the_incumbent_takes_one_first() -> None:
    again = decide(side("desk", 3.0), side("attic", 1.0, incumbent=0))
    assert isinstance(again, Again)
    assert (again.whom, again.machine) == ("incumbent", "attic")


def test_without_a_sigma_each_machine_goes_by_the_margin_and_two_must_agree() -> None:
    unknown = {"sigma": UNKNOWN}
    first = decide(side("desk", 2.0, **unknown), side("attic", **unknown))
    assert isinstance(first, Again) and first.machine == "attic"
    both = decide(side("desk", 2.0, **unknown), side("attic", 1.0, **unknown))
    assert isinstance(both, Verdict) and both.status == "keep"
    one = decide(side("desk", 2.0, **unknown), side("attic", -1.0, **unknown))
    assert isinstance(one, Verdict) and one.status == "discard" and one.reason.startswith("on attic:")


def test_a_gain_on_one_chip_alone_is_a_platform_keep() -> None:
    undecided = decide(side("desk", 4.0), side("attic", -3.0), side("shelf", 3.0))
    assert isinstance(undecided, Again), "the mean over the machines is a gain, but not on every chip"
    verdict = decide(side("desk", 4.0), side("attic", -3.0, -3.0), side("shelf", 3.0))
    assert isinstance(verdict, Verdict) and verdict.status == "discard"
    assert verdict.reason.endswith("discard, a platform keep for M4 alone")


@pytest.mark.parametrize("gains", [(1.0, -0.5, 1.0), (4.0, 3.0, 4.0), (-3.0, 1.0, -3.0)])
def test_a_difference_within_the_noise_or_a_gain_everywhere_is_no_platform_keep(
    gains: tuple[float, float, float],
) -> None:
    effects = effects_of([side(machine, gain) for machine, gain in zip(LEVELS, gains, strict=True)], 4)
    assert platform_of(effects, ALIKE, 1.4) is None


def test_machines_of_one_chip_cannot_show_a_platform_keep() -> None:
    assert platform_of(effects_of([side("desk", 9.0), side("shelf", -9.0)], 4), ALIKE, 1.4) is None


def test_a_noisy_machine_counts_in_its_own_sigma() -> None:
    loud = Sigma(4 * SIGMA, 30, 20, "30 runs")
    quiet, noisy = effects_of([side("desk", 4.0), side("attic", 4.0, sigma=loud)], 4)
    assert (quiet.estimate.effect, noisy.estimate.effect) == pytest.approx((4.0, 1.0))
    assert together([quiet, noisy], Between(0.0)).effect == pytest.approx(2.5)


def test_disturbed_runs_send_the_case_to_another_machine() -> None:
    spoiled = OnMachine(
        "desk",
        "M4",
        Evidence(
            tuple(Run(1.2, seed, tainted=True) for seed in range(3)),
            side("desk").evidence.incumbent,
            Sigma(SIGMA, 9, 6, ""),
        ),
    )
    again = decide(spoiled, side("attic"))
    assert isinstance(again, Again) and again.machine == "attic"


# -- a session's ledger -----------------------------------------------------------------------------

REGIMES = {"desk": 0, "attic": 1}


def run(machine: str, gain: float, seed: int = 0, **more: object) -> Measurement:
    """Return a run that gains this many sigma over the baseline."""
    described = {"chip": CHIPS[machine], "fleet_machine": machine}
    value = LEVELS[machine] - gain * SIGMA
    return Measurement(value, seed, machine=described, regime=REGIMES[machine], **more)  # type: ignore[arg-type]


def kept(number: int, *measured: Measurement, status: str = "keep") -> Experiment:
    return Experiment(
        number=number,
        status=status,  # type: ignore[arg-type]
        value=measured[0].value,
        gain=0.0,
        commit=f"c{number}",
        base=None,
        ref=None,
        title=f"change {number}",
        axis=None,
        knobs={},
        agent="test",
        reason="",
        started="",
        finished="",
        measurements=measured,
    )


def history(*more: Experiment) -> History:
    """Return a night of two machines, each of which has measured the baseline three times."""
    noise = (0.0, 1.0, -1.0)
    first = kept(0, *(run("desk", gain, seed) for seed, gain in enumerate(noise)))
    there = tuple(Repeat(0, 0, run("attic", gain, seed)) for seed, gain in enumerate(noise))
    return History((first, *more), "val_bpb", "min", there)


def test_a_ledger_shows_its_machines_with_their_chips_and_regimes() -> None:
    desk, attic = views(history())
    assert (desk.machine, desk.chip, desk.history.regime, desk.history.own) == ("desk", "M4", 0, {0})
    assert (attic.machine, attic.chip, attic.history.regime, attic.history.own) == ("attic", "M1", 1, {1})


def test_a_session_on_one_machine_has_no_views() -> None:
    plain = History((kept(0, Measurement(1.0, 0, machine={"chip": "M4"})),), "val_bpb", "min")
    assert views(plain) == () and changes(views(plain)) == ()
    assert name_of(plain.experiments[0].measurements[0]) is None


def test_a_machine_that_was_updated_goes_on_in_its_newest_regime() -> None:
    later = Measurement(1.0, 0, machine={"chip": "M1", "fleet_machine": "attic"}, regime=2)
    night = history()
    night = History(night.experiments, "val_bpb", "min", (*night.repeats, Repeat(0, 1, later)))
    assert [(v.history.regime, v.history.own) for v in views(night)] == [(0, {0}), (2, {1, 2})]


def test_the_changes_of_a_night_have_an_effect_on_each_machine() -> None:
    (change,) = changes(views(history(kept(1, run("desk", 3.0), run("attic", 2.0)))))
    assert [(e.machine, e.runs_candidate, e.runs_incumbent) for e in change.effects] == [
        ("desk", 1, 3),
        ("attic", 1, 3),
    ]
    assert [e.gain for e in change.effects] == pytest.approx([0.03, 0.02])


def test_a_change_is_compared_with_the_incumbent_of_its_time() -> None:
    night = history(kept(1, run("desk", 5.0), run("attic", 5.0)), kept(2, run("desk", 5.0), status="discard"))
    (effect,) = changes(views(night))[1].effects
    assert effect.gain == pytest.approx(0.0) and effect.runs_incumbent == 1


def test_the_spread_between_machines_is_learned_from_the_night() -> None:
    apart = [kept(n, run("desk", 1.8), run("attic", -1.8), status="discard") for n in range(1, 25)]
    assert spread_of(views(history(*apart))).variance > 2 * spread_of(views(history())).variance
    assert spread_of(views(history())).changes == 0


def test_one_change_that_suits_one_machine_alone_does_not_make_all_others_uncertain() -> None:
    alone = kept(1, run("desk", 9.0), run("attic", -9.0), status="discard")
    assert spread_of(views(history(alone))).variance == pytest.approx(spread_of(views(history())).variance)


def case(*measured: Measurement, **more: object) -> Case:
    return Case(1, measured, **more)  # type: ignore[arg-type]


JUDGE = Judge(margin=0.001)


def test_a_case_goes_from_machine_to_machine_until_it_is_kept() -> None:
    seen = views(history())
    first = decide_across(JUDGE, seen, case())
    assert isinstance(first, Again) and first.machine == "desk"
    second = decide_across(JUDGE, seen, case(run("desk", 6.0)))
    assert isinstance(second, Again) and second.machine == "attic"
    verdict = decide_across(JUDGE, seen, case(run("desk", 6.0), run("attic", 6.0)))
    assert isinstance(verdict, Verdict) and verdict.status == "keep", verdict.reason


def test_by_a_margin_one_run_decides_on_the_machine_that_took_it() -> None:
    by_margin = Judge(margin=2.5 * SIGMA, mode="margin")
    for machine, gain, status in (("attic", 3.0, "keep"), ("attic", 2.0, "discard"), ("desk", 3.0, "keep")):
        verdict = decide_across(by_margin, views(history()), case(run(machine, gain)))
        assert isinstance(verdict, Verdict) and verdict.status == status, verdict.reason


def test_a_crash_on_any_machine_decides_the_case() -> None:
    crashed = Measurement(None, 0, "crash", "it fell over", machine={"fleet_machine": "attic"}, regime=1)
    verdict = decide_across(JUDGE, views(history()), case(run("desk", 6.0), crashed))
    assert verdict == Verdict("crash", "it fell over")


def test_a_fleet_of_one_machine_is_judged_as_one_machine() -> None:
    (desk, _) = views(history())
    alone = case(run("desk", 6.0), run("desk", 6.0, 1))
    assert decide_across(JUDGE, [desk], alone) == JUDGE.decide(desk.history, alone)


def test_the_judges_other_rules_hold_on_every_machine() -> None:
    guard = {"guard": {"a": 1.0}}
    base = kept(0, *(run("desk", gain, seed, extra=guard) for seed, gain in enumerate((0.0, 1.0, -1.0))))
    night = History((base,), "val_bpb", "min", history().repeats)
    broken = case(run("desk", 6.0, extra={"guard": {"a": 0.0}}), run("attic", 6.0))
    verdict = decide_across(JUDGE, views(night), broken)
    assert isinstance(verdict, Verdict) and verdict.status == "discard"
    assert "the guard case a passed before and now fails" in verdict.reason


def test_a_gain_too_small_for_the_person_is_not_kept() -> None:
    wants = Judge(margin=0.001, floor=0.2)
    verdict = decide_across(wants, views(history()), case(run("desk", 6.0), run("attic", 6.0)))
    assert isinstance(verdict, Verdict) and verdict.status == "discard" and "margin of 0.2" in verdict.reason


@pytest.mark.parametrize("value", [None, 9.0])
def test_disturbed_runs_of_a_third_machine_say_nothing_about_a_gain(value: float | None) -> None:
    quiet = Measurement(LEVELS["shelf"], 0, machine={"chip": "M4", "fleet_machine": "shelf"}, regime=2)
    night = history()
    night = History(night.experiments, "val_bpb", "min", (*night.repeats, Repeat(0, 0, quiet)))
    disturbed = replace(quiet, value=value, failure=None if value else "interrupted", tainted=True)
    wants = Judge(margin=0.001, floor=0.001)
    taken = run("desk", 1.9), run("attic", 1.9), run("desk", 1.9, 1), disturbed, disturbed
    verdict = decide_across(wants, views(night), case(*taken, auditable=True))
    assert isinstance(verdict, Verdict) and verdict.status == "keep", verdict.reason


def test_the_gain_to_report_is_the_mean_over_the_machines_in_the_metrics_unit() -> None:
    effect = effect_across(JUDGE, views(history()), case(run("desk", 6.0), run("attic", 4.0)))
    assert effect is not None
    assert effect.raw == pytest.approx(0.05, rel=0.01) and 0 < effect.gain < effect.raw
    assert effect.runs_candidate == 2 and effect.runs_incumbent == 6
    assert effect_across(JUDGE, views(history()), case()) is None


def test_a_machine_without_a_view_yet_can_be_asked() -> None:
    desk, attic = views(history())
    new = View("new", "M3", attic.history.__class__(attic.history.experiments, "val_bpb", "min", (), -1, frozenset()))
    again = decide_across(JUDGE, [desk, new], case(run("desk", 6.0)))
    assert isinstance(again, Again) and again.machine == "new"


# -- a machine that has run only an older version ---------------------------------------------------


def behind(machine: str, *gains: float) -> OnMachine:
    """Return a machine that has run an older version but not the incumbent; gains are over the older version."""
    now = side(machine, *gains)
    return replace(now, evidence=replace(now.evidence, incumbent=()), older=now.evidence)


@pytest.mark.parametrize("others", [(), ("attic",)])
def test_a_loser_to_an_older_version_needs_no_run_of_the_incumbent(others: tuple[str, ...]) -> None:
    verdict = decide(behind("desk", -2.0), *(side(machine) for machine in others))
    assert verdict == Verdict("discard", "loss 2.0 +- 1.2 sigma on desk (1 run): discard")


def test_what_beats_an_older_version_is_compared_with_the_incumbent_on_the_same_machine() -> None:
    again = decide(behind("desk", 9.0), side("attic"))
    assert isinstance(again, Again)
    assert (again.whom, again.machine) == ("incumbent", "desk"), "a keep never rests on an older version"


def test_a_loss_on_one_machine_and_an_older_version_on_another_are_weighed_together() -> None:
    verdict = decide(side("attic", -3.0), behind("desk", 1.0))
    assert isinstance(verdict, Verdict) and verdict.status == "discard"


def test_a_gain_on_one_chip_over_an_older_version_is_not_called_a_platform_keep() -> None:
    again = decide(side("attic", -3.0, -3.0), behind("desk", 4.0, 4.0))
    assert isinstance(again, Again) and (again.whom, again.machine) == ("incumbent", "desk")


def test_a_machine_that_has_run_the_incumbent_confirms_before_one_that_has_not() -> None:
    again = decide(side("shelf", 8.0), behind("desk"), side("attic"))
    assert isinstance(again, Again) and (again.whom, again.machine) == ("candidate", "attic")


def two_keeps(**more: object) -> History:
    """Return a night in which the machine ``attic`` has run only the baseline, and ``desk`` has run every version."""
    gains = [replace(kept(n, run("desk", 4.0 * n), run("desk", 4.0 * n, 1)), gain=0.04) for n in (1, 2)]
    return history(gains[0], replace(gains[1], **more))  # type: ignore[arg-type]


def test_a_machine_compares_with_the_newest_version_that_it_has_run_and_that_keeps_have_only_improved() -> None:
    for night, number in ((two_keeps(), 0), (two_keeps(gain=-0.001), None), (two_keeps(talk={"removes": 1}), None)):
        desk, attic = (reference(view.history) for view in views(night))
        assert desk is not None and desk.number == 2
        assert (None if attic is None else attic.number) == number


def test_a_loser_on_a_machine_that_has_run_only_an_older_version_is_discarded_with_its_loss() -> None:
    desk, attic = views(two_keeps())
    loser = Case(3, [run("attic", -5.0)])
    verdict = decide_across(JUDGE, [attic, desk], loser)
    assert isinstance(verdict, Verdict) and verdict.status == "discard", verdict.reason
    assert verdict.reason.endswith(": discard; compared with experiment 0, the newest version that attic has run")
    effect = effect_across(JUDGE, [attic, desk], loser)
    assert effect is not None and effect.raw == pytest.approx(-0.05, rel=0.01), "over the baseline, which it has run"

    winner = decide_across(JUDGE, [attic, desk], Case(3, [run("attic", 12.0)]))
    assert isinstance(winner, Again) and (winner.whom, winner.machine) == ("incumbent", "attic")


def test_a_free_machine_that_has_run_the_incumbent_goes_on_with_what_beat_an_older_version() -> None:
    again = decide(side("attic"), behind("desk", 9.0))
    assert isinstance(again, Again) and (again.whom, again.machine) == ("candidate", "attic")
    again = decide(side("attic", 8.0), behind("desk", 9.0), side("shelf"))
    assert isinstance(again, Again) and (again.whom, again.machine) == ("candidate", "shelf")
    verdict = decide(side("attic", 8.0), behind("desk", 9.0), side("shelf", 7.0))
    assert isinstance(verdict, Verdict) and verdict.status == "keep", "two machines that have run both versions agree"


def test_what_beat_an_older_version_on_one_machine_is_not_discarded_before_that_machine_has_run_the_incumbent() -> None:
    again = decide(side("attic", 0.0), behind("desk", 9.0))
    assert isinstance(again, Again) and (again.whom, again.machine) == ("incumbent", "desk")


def test_the_value_of_a_version_is_told_on_the_scale_of_the_sessions_machine_although_others_have_run_it() -> None:
    night = history(kept(1, run("attic", 5.0), run("attic", 5.0, 1)))
    best = night.incumbent
    assert best is not None and best.number == 1
    assert standing(night, best) == pytest.approx(LEVELS["desk"] - 5 * SIGMA)
    assert gained(night) == pytest.approx(5 * SIGMA)
    there = replace(night, regime=REGIMES["attic"])
    assert standing(there, best) == pytest.approx(LEVELS["attic"] - 5 * SIGMA)


@pytest.mark.parametrize(
    ("machines", "replicates", "least", "together"),
    [(1, 3, 2, 3), (2, 3, 2, 6), (3, 3, 2, 9), (4, 3, 2, 10), (6, 3, 2, 12), (9, 3, 2, 18), (4, 1, 1, 4), (4, 2, 2, 8)],
)
def test_many_machines_share_the_repeats_of_the_baseline(
    machines: int, replicates: int, least: int, together: int
) -> None:
    assert runs_of_baseline(machines, replicates) == (least, together)


def test_a_machine_that_joins_later_takes_fewer_runs_if_the_others_have_repeated_enough() -> None:
    assert [runs_to_learn(3, repeats) for repeats in (0, 5, 6, 20)] == [3, 3, 2, 2]
    assert runs_to_learn(1, 0) == 1


def test_the_run_of_a_machine_that_is_away_confirms_a_gain() -> None:
    away = replace(side("desk", 4.0), away=True)
    found = decide(side("attic", 4.0), away)
    assert isinstance(found, Verdict) and found.status == "keep" and "over 2 machines" in found.reason


def test_a_machine_that_is_away_is_asked_for_nothing() -> None:
    for away in (side("desk", 1.0), side("desk", 1.0, incumbent=0), side("desk")):
        again = decide(side("attic", 1.5, 1.0), side("shelf", 1.2), replace(away, away=True))
        assert isinstance(again, Verdict) or again.machine != "desk"
    alone = decide(side("attic", 4.0), replace(side("desk"), away=True))
    assert isinstance(alone, Again) and alone.machine == "attic"
