"""``run`` and ``try``: the commands that measure."""

from __future__ import annotations

from typing import Any

import click

from autoresearch_mlx.cli.options import Function, Seconds, lab_here, say, tag_option


def sandbox_option(function: Function) -> Function:
    words = "Refuse to measure where edited code cannot be confined."
    return click.option("--require-sandbox", is_flag=True, default=None, help=words)(function)


@click.command("run")
@click.option(
    "--agent", metavar="NAME", help="Who proposes: auto (default), knobs, ollama:MODEL, ...; see docs/agents.md."
)
@click.option("--experiments", type=click.IntRange(min=0), metavar="N", help="Stop after N experiments.")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), metavar="H", help="Start none after H hours.")
@tag_option
@click.option("--budget", type=Seconds(), help="Training time of one experiment; auto: by the machine.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of weights and data order; default 42.")
@click.option(
    "--hardware", metavar="PROFILE", help="Sizes of another machine: cpu, mac-base, ..., cuda for upstream's."
)
@click.option("--no-calibrate", is_flag=True, help="Neither measure this machine first nor go by what was measured.")
@sandbox_option
def run_command(agent: str | None, experiments: int | None, hours: float | None, tag: str | None, **rest: Any) -> None:
    """Research until told to stop: propose an edit, train, measure, keep or revert.

    The first call measures a baseline.  Every attempt becomes a commit on a branch and under a ref of
    its own; your checkout is not touched.  Ctrl-C stops cleanly, the next call goes on.

    \b
    Without --agent: a model of a running Ollama together with the optimiser where one suits this machine,
    else the optimiser alone, `knobs`.

    \b
    Example:
      autoresearch-mlx run --experiments 6
      autoresearch-mlx run --agent ollama:qwen3-coder:30b
      autoresearch-mlx run --agent playbook
    """
    from autoresearch_mlx.calibrating import before_first_run
    from autoresearch_mlx.cli.opened import opened
    from autoresearch_mlx.config import load_settings
    from autoresearch_mlx.loop import research
    from autoresearch_mlx.planning import opening_lines
    from autoresearch_mlx.policy import Policy
    from autoresearch_mlx.report.talk import closing_line
    from autoresearch_mlx.researcher import hired

    options: dict[str, Any] = {"agent.name": agent, "budget.seconds": rest["budget"], "seed": rest["seed"]}
    options["hardware.profile"] = rest["hardware"]
    options["hardware.calibrate"] = "never" if rest["no_calibrate"] else None
    options["sandbox.require"] = rest["require_sandbox"]
    before_first_run(lab := lab_here(), load_settings(lab.root, options), tag, say)
    with opened(lab, tag, options) as here:
        session, screen = here.session, here.screen
        with hired(session, here.settings, screen.say) as researcher:
            screen.say(session.opening())
            policy = Policy(experiments, hours)
            for line in opening_lines(session, here.settings, researcher, policy):
                screen.say(line)
            try:
                reason = research(session, researcher, policy, screen)
            except KeyboardInterrupt:
                screen.say(closing_line(session.journal().history, "by hand; `autoresearch-mlx run` goes on"))
                raise
        said = closing_line(session.journal().history, reason)
    click.echo(said)


@click.command("try")
@click.option("-m", "--message", required=True, metavar="TEXT", help="What you changed and why, in one line.")
@tag_option
@click.option("--budget", type=Seconds(), help="Training time; only when this starts the session.")
@click.option("--json", "as_json", is_flag=True, help="The experiment as one JSON object.")
@sandbox_option
def try_command(message: str, tag: str | None, budget: Any, as_json: bool, require_sandbox: bool | None) -> None:
    """Measure your own edit of the file as one experiment, and print the verdict.

    The file is taken from your checkout as it lies there, saved or committed, and compared with the
    incumbent.  A keep moves the session's branch; your checkout stays as you left it.

    \b
    Example:
      autoresearch-mlx try -m "halve the batch: twice the steps in the same time"
    """
    import json

    from autoresearch_mlx.checkout import edit_from_checkout
    from autoresearch_mlx.cli.opened import opened
    from autoresearch_mlx.ledger import experiment_to
    from autoresearch_mlx.loop import measure_edit
    from autoresearch_mlx.report.talk import verdict

    lab = lab_here()
    options = {"budget.seconds": budget, "agent.repairs": 0, "sandbox.require": require_sandbox}
    with opened(lab, tag, options) as here:
        session, screen = here.session, here.screen
        done = measure_edit(session, lambda: edit_from_checkout(session, lab.root, message, screen.say), screen)
        workspace, metric = session.workspace, session.target.metric
        said = (
            json.dumps(experiment_to(done)) if as_json else verdict(done, metric, workspace.branch, workspace.editable)
        )
    click.echo(said)
