"""Define ``pause``, ``resume``, ``stop``, ``skip`` and ``policy``, which control a run in another terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from autoresearch_mlx.cli.options import (
    at_least_one,
    count,
    json_option,
    lab_here,
    next_time,
    positive,
    say,
    tag_option,
)
from autoresearch_mlx.errors import ConfigError, LabError
from autoresearch_mlx.lab.lab import find_session


@click.command("pause")
@tag_option
def pause_command(tag: str | None) -> None:
    """Pause the run after its current experiment, until `resume`.

    Pauses count towards the time limit of --hours.
    """
    from autoresearch_mlx.loop.control import pause

    folder = _session(tag)
    new = pause(folder, "cli")
    after = _after(folder)
    told = f"pauses {after}; `autoresearch-mlx resume` continues the run"
    _answer(folder, new, told, "is already paused, or about to pause")


@click.command("resume")
@tag_option
def resume_command(tag: str | None) -> None:
    """Continue a run that was paused, or cancel a `stop` that has not taken effect yet."""
    from autoresearch_mlx.loop.control import resume

    folder = _session(tag)
    _answer(folder, resume(folder, "cli"), "continues", "was neither paused nor stopped; it is still running")


@click.command("stop")
@tag_option
def stop_command(tag: str | None) -> None:
    """End the run after its current experiment; `run` continues it later.

    Ctrl-C in the run's own terminal ends the run at once.
    """
    from autoresearch_mlx.loop.control import stop

    folder = _session(tag)
    new = stop(folder, "cli")
    _answer(folder, new, f"stops {_after(folder)}", "has already been asked to stop after its current experiment")


@click.command("skip")
@click.argument("number", type=click.IntRange(min=0), required=False)
@tag_option
def skip_command(tag: str | None, number: int | None) -> None:
    """End the current experiment now, log it as interrupted, and continue with the next experiment.

    With several lanes, give the NUMBER of the experiment; `status` shows which experiments are running.
    """
    from autoresearch_mlx.loop.control import skip, the_run
    from autoresearch_mlx.report.status import status_of

    folder = _session(tag)
    status = status_of(folder)
    here = {each.number: each for each in status.lanes or (status.running,) if each and each.number is not None}
    if number is None and len(here) > 1:
        said = f"experiments {', '.join(map(str, here))} are running in session {folder.name}"
        raise LabError(said, f"name the experiment to end: `autoresearch-mlx skip {min(here)}`")
    if number is not None and here and number not in here:
        said = f"experiment {number} is not running in session {folder.name}"
        raise LabError(said, f"running now: {', '.join(map(str, here))}")
    running = here.get(number) if number is not None else next(iter(here.values()), None)
    if running is None or running.number is None:
        the_run(folder)
        said = f"session {folder.name} is not running an experiment at the moment"
        raise LabError(said, "`autoresearch-mlx status` says what the session is doing")
    skip(folder, running.number, "cli")
    asked = running.phase == "propose"
    when = "ends when its agent has answered" if asked else "ends now"
    say(f"session {folder.name}: experiment {running.number} {when}")


@click.command("policy")
@click.argument("words", metavar="[set NAME=VALUE...]", nargs=-1)
@tag_option
@json_option
def policy_command(words: tuple[str, ...], tag: str | None, as_json: bool) -> None:
    """Show when the current run ends; `set` changes the limits of the run.

    The limits are experiments=N, hours=H, until=HH:MM, stall=N (experiments in a row without a keep), tokens=N and
    cost=X. With tokens and cost you limit what the session may spend on models. The value none removes a limit.

    \b
    Example:
      autoresearch-mlx policy
      autoresearch-mlx policy set until=08:30 experiments=none
    """
    import json

    from autoresearch_mlx.loop.control import set_limits, the_run
    from autoresearch_mlx.report.terminal import limits_in_words

    if words and (words[0] != "set" or len(words) == 1):
        raise click.UsageError("`set` and at least one limit are needed: autoresearch-mlx policy set until=08:30")
    folder = _session(tag)
    if words:
        wanted = dict(_limit(word) for word in words[1:])
        _check_priced(wanted)
        set_limits(folder, wanted, "cli")
    limits = the_run(folder).limits
    click.echo(json.dumps(limits) if as_json else f"session {folder.name} ends {limits_in_words(limits)}")


def _limit(word: str) -> tuple[str, Any]:
    """Return the name and the value of a limit such as ``hours=8``; the value of ``hours=none`` is None.

    Raises ConfigError for an unknown name or a wrong value.
    """
    kinds = _kinds()
    name, _, text = word.partition("=")
    if name not in kinds:
        known = ", ".join(f"{name}={shape}" for name, (_, shape, _) in kinds.items())
        raise ConfigError(f"{word!r} is not a limit", f"the limits are {known}; the value none removes a limit")
    if text == "none":
        return name, None
    read, _, example = kinds[name]
    try:
        return name, read(text)
    except ValueError:
        raise ConfigError(f"{name}={text} is not valid", f"{name} takes {example}, or none") from None


def _check_priced(limits: Mapping[str, Any]) -> None:
    """Raise ConfigError if ``limits`` has a limit on money and lab.toml has no prices."""
    if limits.get("cost") is None:
        return
    from autoresearch_mlx.lab.config import load_settings

    agent = load_settings(lab_here().root).settings.agent
    if agent.price_in is None or agent.price_out is None:
        said = "cost needs price_in and price_out, the prices of a million tokens"
        raise ConfigError(said, "set [agent] price_in and price_out in lab.toml before the run, or use tokens=N")


def _kinds() -> dict[str, tuple[Callable[[str], Any], str, str]]:
    """Return, for each limit by name: the function that parses its value, the value's notation, and an example."""
    return {
        "experiments": (count, "N", "a count: experiments=20"),
        "hours": (positive, "H", "hours: hours=7.5"),
        "until": (next_time, "HH:MM", "a time: until=08:30"),
        "stall": (at_least_one, "N", "a count of experiments without a keep: stall=15"),
        "tokens": (count, "N", "a count of tokens: tokens=2000000"),
        "cost": (positive, "X", "money: cost=2.5"),
    }


def _session(tag: str | None) -> Path:
    """Return the folder of the session named ``tag``, or of the session that was used last if ``tag`` is None."""
    return find_session(lab_here(), tag)


def _after(folder: Path) -> str:
    """Return when a request takes effect, as part of a sentence: ``now`` or ``after experiment 3``."""
    from autoresearch_mlx.store.ledger import FILE, read

    journal = read(folder / FILE)
    if not journal.running:
        return "now"
    *others, last = sorted(each.number for each in journal.running)
    return f"after experiments {', '.join(map(str, others))} and {last}" if others else f"after experiment {last}"


def _answer(folder: Path, new: bool, told: str, known: str) -> None:
    say(f"session {folder.name} {told if new else known}")
