"""Define ``share``, which exchanges results with labs of other people through a git remote."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, tag_option, width
from autoresearch_mlx.errors import LabError, UnconfinedError
from autoresearch_mlx.lab.lab import Lab, find_session
from autoresearch_mlx.share.exchange import REFS, pull, push
from autoresearch_mlx.share.hints import add_to_backlog
from autoresearch_mlx.share.listing import as_json as row_json
from autoresearch_mlx.share.listing import beside, outgoing_json, render, render_outgoing
from autoresearch_mlx.share.outgoing import Source, source_of
from autoresearch_mlx.share.place import Place, Pulled, place_of
from autoresearch_mlx.share.remote import Remote, find_remote, mark_of
from autoresearch_mlx.share.sharing import CALL_SECONDS, Sharing, machine_name
from autoresearch_mlx.store.ledger import FILE, Journal, read
from autoresearch_mlx.terms import plural

if TYPE_CHECKING:
    from autoresearch_mlx.loop.session import Session

_ACTIONS = ("push", "pull", "log", "adopt")


@click.command("share")
@click.argument("remote", metavar="[REMOTE]", required=False)
@click.argument("action", type=click.Choice(_ACTIONS), metavar="[push|pull|log|adopt]", required=False)
@click.argument("number", type=click.IntRange(min=1), metavar="[N]", required=False)
@click.option("--dry-run", is_flag=True, help="Show all that a push would publish, and publish nothing.")
@tag_option
@json_option
def share_command(
    remote: str | None, action: str | None, number: int | None, dry_run: bool, tag: str | None, as_json: bool
) -> None:
    """Exchange results with labs of other people through a git remote.  REMOTE is a name, an address or a path.

    \b
    push     publish the experiments of the session that REMOTE does not have yet
    pull     fetch what other labs published
    log      list what was pulled, beside this session's own experiments
    adopt N  measure the edit of result N here, and keep it if it wins here

    Results of other labs are shown, quoted in prompts and added to the backlog of ideas.  No verdict depends on such a
    result.  No user name, host name or path is published.

    \b
    Example:
      autoresearch-mlx share --dry-run
      autoresearch-mlx share nas push
      autoresearch-mlx share git@example.org:us/results.git pull
      autoresearch-mlx share nas log
      autoresearch-mlx share nas adopt 3
    """
    if dry_run:
        if action not in (None, "push"):
            raise click.UsageError(f"--dry-run works only with push, not with {action}")
        _dry_run(remote, tag, as_json)
        return
    if remote is None or action is None:
        raise click.UsageError("name a remote and what to do: share REMOTE push, pull, log or adopt N; or --dry-run")
    if (action == "adopt") != (number is not None):
        wrong = "adopt needs the number of a result: share REMOTE adopt N"
        raise click.UsageError(wrong if number is None else f"{action} takes no number")
    if action == "push":
        _push(remote, tag, as_json)
    elif action == "pull":
        _pull(remote, tag, as_json)
    elif action == "log":
        _log(remote, tag, as_json)
    elif number is not None:
        _adopt(remote, number, tag, as_json)


def _dry_run(name: str | None, tag: str | None, as_json: bool) -> None:
    lab, place = _here()
    sent = place.pushed(mark_of(find_remote(name, lab.root, place.pool))) if name is not None else frozenset()
    waiting = [(each, f"{REFS}/{each.result.name}") for each in _source(lab, place, tag).outgoing(sent)]
    if as_json:
        click.echo(json.dumps([outgoing_json(each, ref) for each, ref in waiting]))
        return
    for each, ref in waiting:
        click.echo(f"{render_outgoing(each, ref)}\n")
    where = f" on {name}" if name else ""
    say(f"{plural(len(waiting), 'result')} would be published{where}; nothing was sent")


def _push(name: str, tag: str | None, as_json: bool) -> None:
    lab, place = _here()
    remote = _remote(name, lab, place)
    sent = push(_source(lab, place, tag), remote)
    if as_json:
        click.echo(json.dumps({"published": sent.published, "refused": sent.refused, "denied": sent.denied}))
        return
    click.echo(f"{plural(len(sent.published), 'new result')} on {remote.said}")
    if sent.refused:
        refused = plural(len(sent.refused), "result")
        say(f"{refused} not published: the remote already has different contents under the same names")
    if sent.denied:
        why = "the remote refused them, because of a hook or because you may not write these refs"
        say(f"{plural(len(sent.denied), 'result')} not published: {why}; the next push tries again")


def _pull(name: str, tag: str | None, as_json: bool) -> None:
    lab, place = _here()
    received = pull(place, _remote(name, lab, place))
    ideas = _add_ideas(_source(lab, place, tag), received.new) if received.new and lab.tags() else 0
    if as_json:
        numbers = [each.number for each in received.new]
        click.echo(json.dumps({"new": numbers, "refused": received.refused, "left": received.left, "ideas": ideas}))
        return
    more = f", {plural(ideas, 'idea')} added to the backlog" if ideas else ""
    click.echo(f"{plural(len(received.new), 'new result')} of other labs{more}")
    for words, count in received.refused.items():
        say(f"refused {plural(count, 'object')}{', each' * (count > 1)} because {words}")
    if received.left:
        more = plural(received.left, "more result")
        say(f"{more} did not fit into this pull; pull again to fetch them, up to 2,000 results of one lab")


def _log(name: str, tag: str | None, as_json: bool) -> None:
    lab, place = _here()
    journal = read(find_session(lab, tag) / FILE) if tag or lab.tags() else None
    rows = beside(_pulled_from(_remote(name, lab, place), place), journal, lab.root)
    click.echo(json.dumps([row_json(row) for row in rows]) if as_json else render(rows, width()))


def _adopt(name: str, number: int, tag: str | None, as_json: bool) -> None:
    from autoresearch_mlx.cli.opened import opened
    from autoresearch_mlx.cli.tries import said
    from autoresearch_mlx.loop.adopt import adopt

    lab, place = _here()
    found = next((each for each in _pulled_from(_remote(name, lab, place), place) if each.number == number), None)
    if found is None:
        known = f"`autoresearch-mlx share {name} log` lists what was pulled"
        raise LabError(f"no result with the number {number} was pulled from {name}", known)
    # What strangers wrote never runs outside of a sandbox; values of knobs are not code.
    options = {"agent.repairs": 0, "sandbox.require": None if found.result.knobs else True}
    with _explained(number, name), opened(lab, tag, options, existing=True) as here:
        done = adopt(here.session, place.pool, found, here.screen)
        words = said(done, here.session.target.metric, here.session.workspace.branch, (), as_json)
    click.echo(words)


@contextmanager
def _explained(number: int, name: str) -> Iterator[None]:
    """If there is no sandbox, raise a LabError that says why a stranger's code is refused and what the user can do."""
    try:
        yield
    except UnconfinedError as error:
        said = f"result {number} is a stranger's code, which is measured only in a sandbox: {error.why}"
        hint = f"read its patch (`autoresearch-mlx share {name} log --json`), make the edit yourself and `try` it"
        raise LabError(said, hint) from None


def sharing(session: Session, lab: Lab, name: str | None, say: Callable[[str], None]) -> Session:
    """Return the session with an exchange of results through the git remote ``name``, or unchanged if it is None."""
    if name is None:
        return session
    from autoresearch_mlx.hardware.machine import read_machine

    place = place_of(lab.state)
    remote = find_remote(name, lab.root, place.pool, asks=False, seconds=CALL_SECONDS)
    source = source_of(lab.root, session.folder, place)
    return replace(session, sharing=Sharing(source, remote, machine_name(source, read_machine()), say))


def _here() -> tuple[Lab, Place]:
    lab = lab_here()
    lab.make_state()
    return lab, place_of(lab.state)


def _source(lab: Lab, place: Place, tag: str | None) -> Source:
    return source_of(lab.root, find_session(lab, tag), place)


def _remote(name: str, lab: Lab, place: Place) -> Remote:
    return find_remote(name, lab.root, place.pool)


def _pulled_from(remote: Remote, place: Place) -> list[Pulled]:
    mark = mark_of(remote)
    return [each for each in place.pulled() if each.remote == mark]


def _add_ideas(source: Source, new: tuple[Pulled, ...]) -> int:
    journal = read(source.folder / FILE)
    return add_to_backlog(source.folder, new, journal, _incumbent(source, journal), source.root)


def _incumbent(source: Source, journal: Journal) -> Mapping[str, str]:
    best = journal.history.incumbent
    return source.workspace.read(best.commit if best is not None and best.commit else journal.session["start"])
