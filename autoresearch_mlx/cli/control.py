"""``pause``, ``resume``, ``stop``, ``skip``, ``policy``: steer a run that goes on in another terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, tag_option
from autoresearch_mlx.errors import ConfigError, LabError
from autoresearch_mlx.lab import find_session


@click.command("pause")
@tag_option
def pause_command(tag: str | None) -> None:
    """Have the run wait once its experiment is over, until `resume`.

    --hours goes on counting meanwhile.
    """
    from autoresearch_mlx.control import pause

    folder = _session(tag)
    new = pause(folder, "cli")
    after = _after(folder)
    _answer(folder, new, f"pauses {after}; `autoresearch-mlx resume` goes on", "is paused already, or will be soon")


@click.command("resume")
@tag_option
def resume_command(tag: str | None) -> None:
    """Go on after `pause`; takes back a `stop` that the run has not come to yet."""
    from autoresearch_mlx.control import resume

    folder = _session(tag)
    _answer(folder, resume(folder, "cli"), "goes on", "goes on anyway: it was neither paused nor stopped")


@click.command("stop")
@tag_option
def stop_command(tag: str | None) -> None:
    """End the run once its experiment is over; `run` takes it up again.

    Ctrl-C in the run's own terminal ends it at once.
    """
    from autoresearch_mlx.control import stop

    folder = _session(tag)
    new = stop(folder, "cli")
    _answer(folder, new, f"stops {_after(folder)}", "stops already, once its experiment is over")


@click.command("skip")
@tag_option
def skip_command(tag: str | None) -> None:
    """End the running experiment now and go on with the next; it is logged as interrupted."""
    from autoresearch_mlx.control import skip, the_run
    from autoresearch_mlx.report.summary import status_of

    folder = _session(tag)
    running = status_of(folder).running
    if running is None or running.number is None:
        the_run(folder)
        said = f"session {folder.name} runs no experiment just now"
        raise LabError(said, "`autoresearch-mlx status` says what it does")
    skip(folder, running.number, "cli")
    asked = running.phase == "propose"
    when = "ends once its author has answered" if asked else "ends now"
    say(f"session {folder.name}: experiment {running.number} {when}")


@click.command("policy")
@click.argument("words", metavar="[set NAME=VALUE...]", nargs=-1)
@tag_option
@json_option
def policy_command(words: tuple[str, ...], tag: str | None, as_json: bool) -> None:
    """When the run that goes on ends; `set` changes it: experiments=N, hours=H, until=HH:MM, or none.

    \b
    Example:
      autoresearch-mlx policy
      autoresearch-mlx policy set until=08:30 experiments=none
    """
    import json

    from autoresearch_mlx.control import set_limits, the_run

    if words and (words[0] != "set" or len(words) == 1):
        raise click.UsageError("for example: autoresearch-mlx policy set until=08:30")
    folder = _session(tag)
    if words:
        set_limits(folder, dict(_limit(word) for word in words[1:]), "cli")
    limits = the_run(folder).limits
    click.echo(json.dumps(limits) if as_json else f"session {folder.name} ends {_in_words(limits)}")


def _limit(word: str) -> tuple[str, Any]:
    """``hours=8`` as a name and its value.  Raises ConfigError."""
    readers: dict[str, Callable[[str], Any]] = {"experiments": _count, "hours": _hours, "until": _until}
    name, _, text = word.partition("=")
    if name not in readers:
        raise ConfigError(f"{word!r} is no limit", "experiments=N, hours=H, until=HH:MM; none lifts one")
    if text == "none":
        return name, None
    try:
        return name, readers[name](text)
    except ValueError:
        said = {"experiments": "a count: experiments=20", "hours": "hours: hours=7.5", "until": "a time: until=08:30"}
        raise ConfigError(f"{name}={text} cannot be", f"{name} takes {said[name]}, or none") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _hours(text: str) -> float:
    hours = float(text)
    if not 0 < hours < float("inf"):
        raise ValueError(text)
    return hours


def _until(text: str) -> float:
    """The next time that the clock shows this, in seconds since 1970."""
    from datetime import datetime, timedelta

    wanted = datetime.strptime(text, "%H:%M").time()
    now = datetime.now()
    at = datetime.combine(now.date(), wanted)
    return (at if at > now else at + timedelta(days=1)).timestamp()


def _in_words(limits: Any) -> str:
    import time

    words = []
    if limits.get("experiments") is not None:
        words.append(f"after {limits['experiments']} experiments")
    if limits.get("hours") is not None:
        words.append(f"{limits['hours']:g} hours after its start")
    if limits.get("until") is not None:
        words.append(f"at {time.strftime('%H:%M', time.localtime(limits['until']))}")
    return ", or ".join(words) + ", whichever comes first" * (len(words) > 1) if words else "when told to"


def _session(tag: str | None) -> Path:
    """The session meant: the last one worked on, which is the one that runs unless two do."""
    return find_session(lab_here(), tag)


def _after(folder: Path) -> str:
    """Behind which experiment a wish comes true."""
    from autoresearch_mlx.ledger import FILE, read

    journal = read(folder / FILE)
    return "now" if journal.open is None else f"after experiment {journal.open.number}"


def _answer(folder: Path, new: bool, told: str, known: str) -> None:
    say(f"session {folder.name} {told if new else known}")
