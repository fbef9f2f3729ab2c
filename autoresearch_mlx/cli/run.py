"""Define ``run``, which measures experiment after experiment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from autoresearch_mlx import terms
from autoresearch_mlx.cli.options import (
    Clock,
    Hours,
    NumberRange,
    TrainingBudget,
    lab_here,
    sandbox_option,
    say,
    tag_option,
    width,
)

if TYPE_CHECKING:
    from autoresearch_mlx.cli.opened import Opened
    from autoresearch_mlx.lab.config import Settings
    from autoresearch_mlx.lab.lab import Lab
    from autoresearch_mlx.loop.policy import Policy
    from autoresearch_mlx.loop.session import Session


@click.command("run")
@click.option(
    "--agent",
    metavar="NAME",
    help="What proposes the edits: auto (default), knobs, claude, ollama:MODEL, ...; see docs/agents.md.",
)
@click.option("--experiments", type=click.IntRange(min=0), metavar="N", help="Stop after N experiments.")
@click.option("--hours", type=Hours(), metavar="H", help="End within H hours.")
@click.option("--until", type=Clock(), metavar="HH:MM", help="End by this time of day.")
@click.option(
    "--stall", type=click.IntRange(min=1), metavar="N", help="Stop after N experiments in a row without a keep."
)
@click.option(
    "--max-tokens", type=click.IntRange(min=1), metavar="N", help="Tokens that the session may spend on models."
)
@click.option(
    "--max-cost",
    type=NumberRange(min=0, min_open=True),
    metavar="X",
    help="Money that the session may spend on models.",
)
@click.option(
    "--lanes",
    type=click.IntRange(min=1, max=64),
    metavar="N",
    help="Measure N experiments side by side on this machine; default 1; see docs/lanes.md.",
)
@click.option("--fleet", is_flag=True, help="Measure with the machines of this lab's fleet; see docs/fleet.md.")
@click.option(
    "--share", metavar="REMOTE", help="Exchange results with other labs through a git remote; see docs/share.md."
)
@click.option(
    "--certify",
    type=int,
    metavar="PAIRS",
    help="Certify at the end with this many pairs of runs; the time for them is reserved.",
)
@click.option(
    "--report/--no-report", default=None, help="Write the page at the end; default: only with --hours or --until."
)
@click.option("--notify", metavar="HOW", help="Notify you at the end: `desktop`, or a shell command.")
@tag_option
@click.option(
    "--budget", type=TrainingBudget(), help="Training per experiment: seconds, auto, match-tokens:N or match-flops:N."
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed for weights and data order; default 42.")
@click.option(
    "--hardware",
    metavar="PROFILE",
    help="Train with the sizes of another kind of machine: cpu, mac-base, ...; cuda: upstream's sizes.",
)
@click.option(
    "--no-calibrate", is_flag=True, help="Do not measure this machine first, and ignore earlier measurements."
)
@sandbox_option
def run_command(tag: str | None, **given: Any) -> None:
    """Run experiments until told to stop: propose an edit, train, measure, keep or revert.

    The first call measures a baseline.  Every attempt becomes a commit under its own ref, and a keep moves the
    session's branch; your checkout is not touched.  Ctrl-C stops the run cleanly; the next call continues the session.

    Without --agent the optimiser proposes the edits.  If Ollama is running and has a model that suits this machine,
    that model proposes edits too.

    If you set several limits, the limit that is reached first ends the run.  An experiment that would not end in time
    is not started.  `policy set` changes the limits during the run.  The exit code is 1 if the run ended by itself
    before it measured an experiment.

    \b
    Example:
      autoresearch-mlx run --experiments 6
      autoresearch-mlx run --agent ollama:qwen3-coder:30b
      autoresearch-mlx run --agent playbook
      autoresearch-mlx run --until 07:00 --certify 4 --notify desktop
      autoresearch-mlx run --budget match-tokens:500M --tag tokens
    """
    from autoresearch_mlx.cli.ending import alarm, close, nothing_done
    from autoresearch_mlx.cli.opened import opened, tell_left_out
    from autoresearch_mlx.cli.share import sharing
    from autoresearch_mlx.lab.config import load_settings
    from autoresearch_mlx.loop.hire import hired
    from autoresearch_mlx.loop.research import research
    from autoresearch_mlx.loop.upkeep import exchange
    from autoresearch_mlx.report.closing import closing_line
    from autoresearch_mlx.setup.calibrate import before_first_run
    from autoresearch_mlx.setup.plan_facts import opening_lines

    lab, options = lab_here(), _settings(given)
    if not given["fleet"]:
        before_first_run(lab, load_settings(lab.root, options), tag, say)
    with opened(lab, tag, options, elsewhere=given["fleet"]) as here, _fleet(here, lab, given["fleet"]) as session:
        settings, screen = here.settings, here.screen
        session = sharing(session, lab, given["share"], screen.say)
        policy = _policy(settings, given)
        with alarm(session, settings, screen):
            with hired(session, settings, screen.say) as researcher:
                begun = session.journal().next_number
                screen.say(session.opening())
                tell_left_out(session, lab, screen.say)
                for line in opening_lines(session, settings, researcher, policy):
                    screen.say(line)
                try:
                    reason = research(session, researcher, policy, screen, settings.hooks)
                except KeyboardInterrupt:
                    screen.say(
                        closing_line(session.journal().history, "by hand; `autoresearch-mlx run` continues the session")
                    )
                    raise
            exchange(session, at_the_end=True)
            said = close(session, lab, settings, policy, reason, screen)
            idle = nothing_done(session.journal().history, begun, policy, reason)
    click.echo("\n".join(terms.wrap(said, width())) if sys.stdout.isatty() else said)
    if idle:
        raise SystemExit(1)


def _fleet(here: Opened, lab: Lab, wanted: bool) -> AbstractContextManager[Session]:
    """Return the session: with the fleet's machines if ``wanted`` is true, else unchanged."""
    if not wanted:
        return nullcontext(here.session)
    from autoresearch_mlx.fleet.night import with_fleet

    return with_fleet(here.session, lab, here.settings, here.screen.say)


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``run`` under their names in lab.toml."""
    names = {
        "agent": "agent.name",
        "budget": "budget.seconds",
        "seed": "seed",
        "hardware": "hardware.profile",
        "require_sandbox": "sandbox.require",
        "max_tokens": "agent.max_tokens_total",
        "max_cost": "agent.max_cost",
        "certify": "end.certify_pairs",
        "notify": "end.notify",
        "lanes": "run.lanes",
    }
    report = {None: None, True: "always", False: "never"}[given["report"]]
    plain = {name: given[option] for option, name in names.items()}
    return {"end.report": report, "hardware.calibrate": "never" if given["no_calibrate"] else None, **plain}


def _policy(settings: Settings, given: Mapping[str, Any]) -> Policy:
    from autoresearch_mlx.loop.policy import Policy

    limits: dict[str, Any] = {name: given[name] for name in ("experiments", "hours", "until", "stall")}
    limits |= {"tokens": settings.agent.max_tokens_total, "cost": settings.agent.max_cost}
    return Policy(**limits, certify=settings.end.certify_pairs)
