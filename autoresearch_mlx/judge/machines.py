"""Decide on a change that is measured on several machines: keep it, discard it, or name the machine for the next run.

Values of two machines are never compared.  On each machine the candidate is compared with the incumbent's runs on that
machine, and the gain is divided by that machine's sigma.  The effects on all machines are combined (:mod:`combined`),
and the combined effect is compared with bounds that narrow with the number of runs, as on one machine (:mod:`stages`).
The machine with the fewest runs makes the next run.  So a gain is kept only when a second machine has confirmed it, and
this confirmation costs no more than a repeat on the first machine.

To discard a loser, a machine need not have run the incumbent.  A machine may have run an older version instead, because
a candidate that loses to that version would lose to the better incumbent by even more.  For any other decision, the
candidate's runs on that machine count only after the machine has run the incumbent too; until then, other machines may
decide.

A change that helps one kind of chip alone is discarded, and the reason calls it a platform keep, a keep for one kind of
chip only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Verdict
from autoresearch_mlx.judge.combined import Between, Combined, Estimate, between, combine
from autoresearch_mlx.judge.difference import Difference, counted, difference, newest_unselected
from autoresearch_mlx.judge.evidence import Again, Decision, Evidence, Mode, Rules
from autoresearch_mlx.judge.margin import by_margin
from autoresearch_mlx.judge.next_run import OTHER_SPEED, disturbed, missing, next_seed, refresh, thin, unlike
from autoresearch_mlx.judge.student_t import quantile

_ASSUMED_TAU, _WEIGHT = 0.3, 10.0
"""The standard deviation of an effect between machines, in sigma, that is assumed before several machines have measured
any change, and the weight of this assumption.  The assumption counts as much as 20 changes, each with one run of the
candidate and one of the incumbent on each of two machines."""
_APART = 1.645
"""A platform keep needs an effect that exceeds the effect on the other machines by this number of standard errors;
chance alone reaches it in 1 of 20 cases."""
PLATFORM_KEEP = "platform keep"
"""Words that mark the reason of a change that helps one kind of chip alone; ledgers hold them, so they stay."""
_LEARNING = 3
"""Number of machines whose whole baselines are enough to learn the noise, because the noise of a machine is estimated
from the repeats of all machines (:func:`sigma.moderated`).  In simulated nights, further repeats gained nothing
(`bench/fleet.py`)."""


def runs_of_baseline(machines: int, replicates: int) -> tuple[int, int]:
    """Return how many runs of the baseline each machine makes at least, and how many all machines make together.

    ``replicates`` is the number of runs that one machine alone would make; in a fleet no machine makes more runs than
    that.
    """
    least = min(replicates, 2)
    repeats = max(machines * (least - 1), min(machines, _LEARNING) * (replicates - 1))
    return least, machines + repeats


def runs_to_learn(replicates: int, repeats: int) -> int:
    """Return how many runs of the baseline a machine makes if it joins the fleet later.

    ``repeats`` is the number of degrees of freedom of the other machines' repeats.
    """
    return min(replicates, 2) if repeats >= _LEARNING * (replicates - 1) else replicates


@dataclass(frozen=True, slots=True)
class OnMachine:
    """The evidence on one machine, in its current regime; the machine may have no run of the candidate yet."""

    machine: str
    chip: str
    """Name of the machine's chip; machines with the same chip are of one kind."""
    evidence: Evidence
    older: Evidence | None = None
    """``evidence`` with the runs of an older version in place of the incumbent's runs.  This is the newest version that
    this machine has run, provided that every later keep was a gain.  None if there is no such version, or if the
    incumbent has runs on this machine."""
    away: bool = False
    """True while the machine does not take part: its earlier runs count, but it is asked for no more runs."""


@dataclass(frozen=True, slots=True)
class MachineEffect:
    """The effect of a change on one machine; positive is better."""

    machine: str
    chip: str
    gain: float
    error: float
    """Gain and standard error in the metric's unit."""
    sigma: float
    """Standard deviation of one run on this machine, in the metric's unit."""
    dof: int
    runs_candidate: int
    runs_incumbent: int

    @property
    def sigmas(self) -> float:
        """The gain, in multiples of this machine's sigma."""
        return self.gain / self.sigma

    @property
    def estimate(self) -> Estimate:
        """The effect, in multiples of this machine's sigma."""
        return Estimate(self.sigmas, self.error / self.sigma, max(1, self.dof))


def effect_on(machine: str, chip: str, found: Difference) -> MachineEffect | None:
    """Return a difference as the effect on a machine, or None while the machine's sigma is unknown."""
    if not (found.error and found.sigma):
        return None
    runs = found.runs_candidate, found.runs_incumbent
    return MachineEffect(machine, chip, found.gain, found.error, found.sigma, found.dof, *runs)


def effects_of(sides: Iterable[OnMachine], most: int) -> tuple[MachineEffect, ...]:
    """Return the effect on each machine that has a sigma and runs of both candidate and incumbent; at most ``most`` of
    the incumbent's runs count (:func:`difference`)."""
    now = [(side, counted(side.evidence)) for side in sides]
    found = (effect_on(s.machine, s.chip, difference(e, most)) for s, e in now if e.candidate and e.incumbent)
    return tuple(each for each in found if each is not None)


def together(effects: Sequence[MachineEffect], spread: Between | None = None) -> Combined:
    """Return the mean effect over machines, in sigma, as :func:`combined.combine` computes it."""
    return combine([each.estimate for each in effects], spread)


def spread_between(changes: Iterable[Sequence[MachineEffect]]) -> Between:
    """Return how much effects differ between machines, in sigma, estimated from the changes of a session."""
    return between(([e.estimate for e in change] for change in changes), _ASSUMED_TAU**2, _WEIGHT)


def decide_on_machines(
    sides: Sequence[OnMachine], spread: Between, mode: Mode = "adaptive", rules: Rules | None = None
) -> Decision:
    """Return a keep, a discard, or the next measurement and the machine that makes it.

    ``sides`` has every machine that takes part, or whose runs count; the first of these machines is the first to be
    asked for runs.  ``spread`` says how much effects differ between machines (:func:`spread_between`).
    """
    rules = rules or Rules()
    now = [replace(side, evidence=counted(side.evidence)) for side in sides]
    useful = [not side.away or bool(side.evidence.candidate and side.evidence.incumbent) for side in now]
    sides, now = list(compress(sides, useful)), list(compress(now, useful))
    lacking = {side.machine for side in now if side.evidence.candidate and not side.evidence.incumbent}
    if not lacking:
        return _decided(sides, now, spread, mode, rules)
    if (lost := _behind_older(sides, spread, mode, rules)) is not None:
        return lost
    known = [_without_runs(side) if side.machine in lacking else side for side in now]
    decision = _decided(sides, known, spread, mode, rules, begun=True)
    if isinstance(decision, Verdict) and decision.status == "keep":
        return decision  # two other machines agree
    if isinstance(decision, Again) and not {sides[0].machine, decision.machine} & lacking:
        return decision
    at = next(at for at, side in enumerate(now) if side.machine in lacking)
    return _at(missing(sides[at].evidence, now[at].evidence, rules), now[at].machine)


def _without_runs(side: OnMachine) -> OnMachine:
    """Return the side without the candidate's runs; these runs count only after the machine has run the incumbent
    too."""
    return replace(side, evidence=replace(side.evidence, candidate=()))


def _decided(
    sides: Sequence[OnMachine],
    now: Sequence[OnMachine],
    spread: Between,
    mode: Mode,
    rules: Rules,
    begun: bool = False,
) -> Decision:
    """Decide by the machines that have run the candidate and the incumbent; ``begun`` says that another machine has run
    only the candidate."""
    measured = [side for side in now if side.evidence.candidate]
    if not measured:
        return _next_run(sides, now, rules, begun=begun)
    found: dict[str, Difference] = {}
    for side in measured:
        found[side.machine] = difference(side.evidence, rules.record)
        if not side.away and unlike(found[side.machine], side.evidence, rules):
            return _at(refresh(side.evidence, OTHER_SPEED), side.machine)
    effects = [effect_on(side.machine, side.chip, found[side.machine]) for side in measured]
    known = [each for each in effects if each is not None]
    if len(known) < len(effects):
        return _without_sigma(sides, now, found, rules)
    return _staged(sides, now, known, spread, mode, rules)


def _behind_older(sides: Sequence[OnMachine], spread: Between, mode: Mode, rules: Rules) -> Verdict | None:
    """Return a discard if the change loses even to older versions, or None if the incumbent's runs are needed.

    An older version replaces the incumbent where the incumbent has no run; the gain over an older version is larger
    than the gain over the incumbent.
    """
    stand_ins = [older_instead(side) for side in sides]
    if any(counted(side.evidence).candidate and not counted(side.evidence).incumbent for side in stand_ins):
        return None
    decision = decide_on_machines(stand_ins, spread, mode, rules)
    lost = isinstance(decision, Verdict) and decision.status == "discard"
    bounds = rules.strict if mode == "strict" else rules.across
    if not lost or platform_of(effects_of(stand_ins, rules.record), spread, bounds.upper[-1]) is not None:
        return None
    assert isinstance(decision, Verdict)
    return decision


def older_instead(side: OnMachine) -> OnMachine:
    """Return the side with an older version in place of the incumbent, if only the older version has runs on this
    machine."""
    if side.older is None or counted(side.evidence).incumbent:
        return side
    return replace(side, evidence=side.older, older=None)


def _staged(
    sides: Sequence[OnMachine],
    now: Sequence[OnMachine],
    effects: Sequence[MachineEffect],
    spread: Between,
    mode: Mode,
    rules: Rules,
) -> Decision:
    bounds = rules.strict if mode == "strict" else rules.across
    total, runs = together(effects, spread), sum(len(side.evidence.candidate) for side in now)
    lower, upper = bounds.at(runs)
    said = in_words(effects, total)
    if total.score < lower:
        return _not_for_all(effects, spread, bounds.upper[-1], said)
    enough = min(2, len(sides))
    confirmed = sum(each.gain > 0 for each in effects) >= enough
    if total.score >= upper and confirmed and platform_of(effects, spread, bounds.upper[-1]) is None:
        return Verdict("keep", f"{said}: keep")
    if runs >= bounds.limit and len(effects) >= enough:
        return _not_for_all(effects, spread, bounds.upper[-1], said)
    return _next_run(sides, now, rules, said)


def _next_run(
    sides: Sequence[OnMachine],
    now: Sequence[OnMachine],
    rules: Rules,
    said: str = "not measured yet",
    begun: bool = False,
) -> Decision:
    """Ask the machine with the fewest runs for one more run, unless its runs are disturbed again and again."""
    able = [i for i, side in enumerate(sides) if not side.away and disturbed(side.evidence) < rules.spoiled]
    begun = begun or any(side.evidence.candidate for side in now)
    if not able:
        return Verdict("invalid", f"{said}: undecided, and further runs were disturbed on every machine")
    # Among machines with equally few runs, a machine that has already run the incumbent is preferred.
    at = min(able, key=lambda i: (len(now[i].evidence.candidate), begun and not now[i].evidence.incumbent))
    evidence, machine = now[at].evidence, now[at].machine
    if evidence.candidate and evidence.refreshes < rules.refreshes and (reason := thin(evidence, rules)):
        return _at(refresh(evidence, reason), machine)
    seed = next_seed(evidence.candidate, newest_unselected(evidence.incumbent, rules.record))
    again = "measure again" if evidence.candidate else "measure"
    reason = said if said == "not measured yet" else f"{said}: {again} on {machine}"
    return Again(reason, "candidate", seed, evidence.steps[0] if evidence.candidate else None, machine=machine)


def _without_sigma(
    sides: Sequence[OnMachine], now: Sequence[OnMachine], found: Mapping[str, Difference], rules: Rules
) -> Decision:
    """Decide by the margin on each machine, because some machine has no usable sigma.

    A machine has no usable sigma while it has repeated no run, or if all its repeats agree to the last digit.
    """
    for side in now:
        if side.machine in found:
            verdict = by_margin(found[side.machine].gain, found[side.machine].before, rules.margin)
            if verdict.status != "keep":
                return replace(verdict, reason=f"on {side.machine}: {verdict.reason}")
    if len(found) < min(2, len(sides)):
        return _next_run(sides, now, rules, f"a gain on {', '.join(found)}")
    gains = ", ".join(f"{terms.amount(each.gain)} on {name}" for name, each in found.items())
    return Verdict("keep", f"gain {gains} (margin {rules.margin:g}): keep")


def _not_for_all(effects: Sequence[MachineEffect], spread: Between, bound: float, said: str) -> Verdict:
    chip = platform_of(effects, spread, bound)
    if chip is None:
        return Verdict("discard", f"{said}: discard")
    return Verdict("discard", f"{said}: discard, a {PLATFORM_KEEP} for {chip} alone")


def platform_of(effects: Sequence[MachineEffect], spread: Between, bound: float) -> str | None:
    """Return the chip if a change wins on one kind of chip alone, else None.

    The change wins on a kind of chip alone if three conditions hold.  Its effect on that kind is at least ``bound``
    standard errors above 0.  This effect is clearly above the effect on the other machines.  And the combined effect on
    the other machines is no gain.
    """
    for chip in dict.fromkeys(each.chip for each in effects):
        there = [each for each in effects if each.chip == chip]
        rest = [each for each in effects if each.chip != chip]
        if not rest:
            return None
        a, b = together(there, spread), together(rest, spread)
        apart = (a.effect - b.effect) / math.hypot(*(_own_error(side) for side in (there, rest)))
        if a.score >= bound and b.effect <= 0 and apart >= _APART:
            return chip
    return None


def _own_error(effects: Sequence[MachineEffect]) -> float:
    """Return the standard error of the mean over only these machines.

    The error has no allowance for differences between machines.
    """
    return together(effects, Between(0.0)).error


def in_words(effects: Sequence[MachineEffect], total: Combined) -> str:
    """Return the effects as text: ``gain 2.1 +- 0.6 sigma over 2 machines (2.4 on m4, 1.7 on m1; 3 runs)``."""
    word = "loss" if total.effect < 0 else "gain"
    runs = terms.plural(sum(each.runs_candidate for each in effects), "run")
    size = f"{word} {abs(total.effect):.1f} +- {total.error:.1f} sigma"
    if len(effects) == 1:
        return f"{size} on {effects[0].machine} ({runs})"
    each = ", ".join(f"{e.sigmas:.1f} on {e.machine}" for e in effects)
    return f"{size} over {len(effects)} machines ({each}; {runs})"


def interval_on(effect: MachineEffect, coverage: float = 0.9) -> tuple[float, float]:
    """Return the interval of the effect on one machine, in the metric's unit."""
    reach = quantile((1 + coverage) / 2, max(1, effect.dof)) * effect.error
    return effect.gain - reach, effect.gain + reach


def _at(decision: Decision, machine: str) -> Decision:
    return replace(decision, machine=machine) if isinstance(decision, Again) else decision
