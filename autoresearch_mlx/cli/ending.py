"""Finish a run after its last experiment: certify, write the page, and notify a user who is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autoresearch_mlx.errors import AutoresearchError
from autoresearch_mlx.experiment import History
from autoresearch_mlx.hardware import notification
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.certify import certify
from autoresearch_mlx.loop.control import STOPPED
from autoresearch_mlx.loop.policy import Policy
from autoresearch_mlx.loop.screen import Screen
from autoresearch_mlx.loop.session import Session
from autoresearch_mlx.report.closing import closing_line
from autoresearch_mlx.report.whole_step import whole_step


def close(session: Session, lab: Lab, settings: Settings, policy: Policy, reason: str, screen: Screen) -> str:
    """Certify, write the page and notify, as the settings ask; return the closing lines.

    ``reason`` says why the run ended.  If the certificate or the page cannot be made, a message says so, but no error
    is raised, because the results of the night are complete without certificate and page.
    """
    lines = []
    if policy.certify and reason != STOPPED and (words := _certified(session, policy.certify, screen)):
        lines.append(words)
    journal = session.journal()
    lines.insert(0, closing_line(journal.history, reason, whole_step(journal)))
    if _wants_page(settings, policy) and (page := _page(session, lab, settings, screen)):
        lines.append(f"report: {page}")
    said = "\n".join(lines)
    _tell(session, settings, said, screen)
    return said


def nothing_done(history: History, begun: int, policy: Policy, reason: str) -> bool:
    """Return True if a run ended by itself before it measured an experiment.

    ``begun`` is the number of the run's first experiment.  A run that the user stopped, or that did as many experiments
    as asked, counts as successful.
    """
    done = [e for e in history.experiments if e.number >= max(begun, 1)]
    if reason == STOPPED or any(e.measurements for e in done):
        return False
    return policy.experiments is None or len(done) < policy.experiments


@contextmanager
def alarm(session: Session, settings: Settings, screen: Screen) -> Iterator[None]:
    """Notify the user of an error in the block, and raise the error again.

    If this machine cannot send notifications as the settings ask, warn at the start of the block.
    """
    if settings.end.notify and (why := notification.missing(settings.end.notify)) is not None:
        screen.say(f"warning: no notification will reach you: {why}")
    try:
        yield
    except AutoresearchError as error:
        _tell(session, settings, f"stopped by an error: {error}", screen)
        raise


def _certified(session: Session, pairs: int, screen: Screen) -> str | None:
    head = session.journal().history.incumbent
    if head is None or head.number == 0:
        return "nothing was kept, so there is nothing to certify"
    try:
        return f"certified: {certify(session, pairs, None, screen)['words']}"
    except AutoresearchError as error:
        screen.say(f"not certified: {error}")
        return None


def _wants_page(settings: Settings, policy: Policy) -> bool:
    by_the_clock = policy.hours is not None or policy.until is not None
    return settings.end.report == "always" or (settings.end.report == "auto" and by_the_clock)


def _page(session: Session, lab: Lab, settings: Settings, screen: Screen) -> str | None:
    from autoresearch_mlx.report.page.gather import page_of
    from autoresearch_mlx.report.page.html import FOLDER, write_report

    prices = settings.agent.price_in, settings.agent.price_out
    try:
        page = page_of(session.folder, lab.root, prices)
        return str(write_report(page, session.folder / FOLDER)[0])
    except AutoresearchError as error:
        screen.say(f"no report: {error}")
        return None


def _tell(session: Session, settings: Settings, text: str, screen: Screen) -> None:
    if not settings.end.notify:
        return
    about = {"AUTORESEARCH_SESSION": session.tag, "AUTORESEARCH_FOLDER": str(session.folder)}
    if (trouble := notification.send(settings.end.notify, f"autoresearch-mlx {session.tag}", text, about)) is not None:
        what = "" if notification.missing(settings.end.notify) else f"{settings.end.notify!r} "
        screen.say(f"could not notify you: {what}{trouble}")
