"""Certify the head, which is the newest keep: compare it with an earlier version on new seeds and unused rows.

The runs of the two versions alternate.  Every run is logged when it ends, so a certification that was killed can
continue where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Experiment, History, Measurement
from autoresearch_mlx.judge.certificate import Certificate, Slot, certificate, in_words, slots_of
from autoresearch_mlx.judge.evidence import Run
from autoresearch_mlx.judge.history import cases_of, noise_of, sigma_of
from autoresearch_mlx.judge.speeds import log_work
from autoresearch_mlx.judge.waiting import waiting, waiting_in_words
from autoresearch_mlx.loop.measure import Order, fresh_split, measure, undisturbed
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.loop.upkeep import tell_of_machine
from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import Journal
from autoresearch_mlx.store.records import measurement_from, measurement_to
from autoresearch_mlx.targets.contract import Certifiable

_SEEDS = 1_000_000
"""First seed of certifications, counted from the session's seed; experiments use the seeds from 0 on."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Two kept experiments to compare.

    ``done`` has the runs that were made already, by side (``before`` or ``head``) and number of the pair.
    """

    before: Experiment
    head: Experiment
    done: Mapping[tuple[str, int], Measurement]


def certify(session: Session, pairs: int, against: int | None, screen: Screen) -> dict[str, Any]:
    """Make the missing runs, and return the certificate as it is written in the ledger.

    ``against`` is the number of the kept experiment with which the head is compared.  None means the head of the last
    certificate, or the baseline if there is no certificate.  Raises LabError when there is nothing to compare or a run
    fails.
    """
    if isinstance(session.target, Certifiable) and (why := session.target.certify_refused()) is not None:
        raise LabError(why, "start a session on text that training cannot read (docs/sandbox.md, Secret rows)")
    journal = session.journal()
    contest = _contest(session, journal, against)
    if pairs == 2 and sigma_of(journal.history).value is None:
        said = "nothing has been measured twice yet, so the error of the gain is unknown after two pairs"
        raise LabError(said, "make four pairs: `autoresearch-mlx certify --pairs 4`")
    tell_of_machine(session, screen)
    slots = slots_of(pairs, session.seed + _SEEDS)
    for slot in slots:
        if (slot.side, slot.pair) not in contest.done:
            _take(session, contest, slot, pairs, screen)
    found, runs = _found(session, contest, pairs)
    event = {
        "before": contest.before.number,
        "head": contest.head.number,
        "time": now(),
        "split": fresh_split(session),
        "runs": runs,
        **asdict(found),
        "words": in_words(found),
    }
    session.append("certified", **event)
    return event


def _contest(session: Session, journal: Journal, against: int | None) -> Contest:
    history = journal.history
    head = history.incumbent
    if head is None or head.commit is None:
        raise LabError(
            "there is nothing to certify: no baseline has been measured", "`autoresearch-mlx run` measures one"
        )
    before = _before(history, journal, against)
    if head.number == 0:
        hint = waiting_in_words(waiting(history)) or "`autoresearch-mlx run` continues the session"
        raise LabError("nothing has been kept yet, so there is nothing to certify", hint)
    if before.number == head.number:
        said = f"experiment {head.number} is the head, so there is nothing to compare it with"
        raise LabError(said, "name an earlier keep: `autoresearch-mlx certify --against N`")
    done = {
        (event["side"], event["pair"]): measurement_from(event["measurement"])
        for event in _unfinished(journal, before, head)
    }
    return Contest(before, head, {slot: m for slot, m in done.items() if _counts(session, m)})


def _before(history: History, journal: Journal, against: int | None) -> Experiment:
    kept = {e.number: e for e in history.experiments if e.status == "keep" and e.commit}
    if against is None:
        heads = [event["head"] for event in journal.certificates]
        against = heads[-1] if heads and heads[-1] != max(kept) else 0
    if against not in kept:
        hint = f"choose one of the kept experiments: {', '.join(map(str, kept))}"
        raise LabError(f"experiment {against} was not kept", hint)
    return kept[against]


def _unfinished(journal: Journal, before: Experiment, head: Experiment) -> Iterator[Mapping[str, Any]]:
    """Yield the runs of these two experiments that no certificate has used yet."""
    wanted = (len(journal.certificates), before.number, head.number)
    return (e for e in journal.pairs if (e["certificate"], e["before"], e["head"]) == wanted)


def _take(session: Session, contest: Contest, slot: Slot, pairs: int, screen: Screen) -> None:
    """Make one run of the certification, and repeat it if it was disturbed.  Raises LabError if it has no value."""
    experiment = contest.head if slot.side == "head" else contest.before
    what = f"experiment {experiment.number}"
    measured = undisturbed(
        lambda tried: _run(session, contest, slot, pairs, screen, tried), what, screen.say, "certify"
    )
    if measured.value is None:
        hint = "`autoresearch-mlx certify` continues with that run; the runs so far are kept"
        raise LabError(f"a run of {what} ended as {measured.failure}: {measured.reason}", hint)


def _run(
    session: Session, contest: Contest, slot: Slot, pairs: int, screen: Screen, tried: Sequence[Measurement]
) -> Measurement:
    """Make and log one run of the certification; ``tried`` has the earlier tries of this run, which were disturbed."""
    experiment = contest.head if slot.side == "head" else contest.before
    assert experiment.commit is not None
    side = "baseline" if experiment.number == 0 else "head" if slot.side == "head" else "earlier keep"
    title = f"certify, pair {slot.pair + 1} of {pairs}: {side}, #{experiment.number}"
    screen.started(experiment.number, title, None, None)
    order = Order(slot.seed, split=fresh_split(session), earlier=tuple(tried))
    name = f"certify-{slot.side}-"
    number, run = experiment.number, slot.pair + 1
    measured = measure(session, session.worker, experiment.commit, number, run, screen.progress, order, name)
    session.append(
        "paired",
        before=contest.before.number,
        head=contest.head.number,
        certificate=len(session.journal().certificates),
        side=slot.side,
        pair=slot.pair,
        measurement=measurement_to(measured),
    )
    return measured


def _found(session: Session, contest: Contest, pairs: int) -> tuple[Certificate, int]:
    journal = session.journal()
    events = list(_unfinished(journal, contest.before, contest.head))
    events = [e for e in events if e["pair"] < pairs and _counts(session, measurement_from(e["measurement"]))]
    before, head = _runs(events, "before"), _runs(events, "head")
    slope, sigma = noise_of(journal.history)
    found = certificate(before, head, journal.history.direction, sigma, slope=slope)
    return found, len(before) + len(head)


def _counts(session: Session, m: Measurement) -> bool:
    """Return whether a run counts: it has a value, was not disturbed, and has the current comparability key."""
    return m.value is not None and not m.tainted and m.key in (None, session.key.on(fresh_split(session)).mark)


def _runs(events: Sequence[Mapping[str, Any]], side: str) -> list[Run]:
    newest = {e["pair"]: measurement_from(e["measurement"]) for e in events if e["side"] == side}
    return [
        Run(m.value, m.seed, pair=pair, log_work=log_work(m), cases=cases_of(m))
        for pair, m in newest.items()
        if m.value is not None
    ]
