"""Record the rules, which are the settings on which verdicts depend, in the ledger: at the start and at each change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from autoresearch_mlx.store.journal import now
from autoresearch_mlx.store.ledger import Journal, Ledger

if TYPE_CHECKING:
    from autoresearch_mlx.lab.config import Settings

MARK = "judged under changed settings"
"""Words that are part of a verdict's reason if the settings differ from those at the session's start."""


def rules_of(settings: Settings) -> dict[str, Any]:
    """Return the settings on which a verdict depends, by their dotted names."""
    sections = {"judge": settings.judge, "literals": settings.literals}
    found = {f"{at}.{name}": value for at, held in sections.items() for name, value in held.model_dump().items()}
    limits = {f"metric.{each.name}.limit": each.limit for each in settings.metric if each.limit is not None}
    return {**found, **limits, "sandbox.enabled": settings.sandbox.enabled, "machine.clock": settings.machine.clock}


def enter_rules(ledger: Ledger, here: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """If the rules have changed since the ledger last recorded them, record them again and tell the user.

    A ledger that an earlier version of this tool began has no rules.  Such a ledger stays as it is, because nobody
    knows the rules of its earlier verdicts.
    """
    journal = ledger.read()
    if journal.rules is None:
        return
    changed = _changed(journal.rules, here)
    if not changed:
        return
    ledger.append("rules", first=journal.free_number, time=now(), changed=changed, rules=dict(here))
    words = ", ".join(f"{name} = {value} (it was {before})" for name, (before, value) in changed.items())
    say(f"the rules of this session have changed: {words}; verdicts from experiment {journal.free_number} on say so")


def mark_of(journal: Journal) -> str:
    """Return the words that are added to each new verdict.

    The words describe how the rules differ from the rules at the session's start; they are empty if nothing differs.
    """
    start = journal.session.get("rules")
    if start is None or journal.rules is None:
        return ""
    changed = _changed(start, journal.rules)
    words = ", ".join(f"{name} = {value}, {before} at the start" for name, (before, value) in changed.items())
    return f"{MARK} ({words})" if words else ""


def changes_in_words(journal: Journal) -> tuple[str, ...]:
    """Return a sentence about each change of the rules, oldest first."""
    return tuple(
        f"From experiment {event['first']} on ({event['time']}) the settings on which verdicts depend were changed: "
        + ", ".join(f"{name} from {before} to {value}" for name, (before, value) in event["changed"].items())
        + "."
        for event in journal.rule_changes
    )


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return (before, after) for each rule whose value differs.

    A rule that is missing in ``before`` or in ``after`` is left out, because a later version may have more rules.
    """
    return {name: (before[name], value) for name, value in after.items() if name in before and before[name] != value}
