"""Define ``try``, ``wait`` and ``accept``, with which the user or a coding agent measures one experiment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from autoresearch_mlx.cli.options import (
    Function,
    NumberRange,
    TrainingBudget,
    callable_here,
    itself,
    lab_here,
    sandbox_option,
    say,
    tag_option,
)
from autoresearch_mlx.errors import LabError

if TYPE_CHECKING:
    from autoresearch_mlx.experiment import Experiment


def _json_option(text: str) -> Callable[[Function], Function]:
    return click.option("--json", "as_json", is_flag=True, help=text)


@click.command("try")
@click.option("-m", "--message", required=True, metavar="TEXT", help="What you changed and why, in one line.")
@tag_option
@click.option("--budget", type=TrainingBudget(), help="As for `run`; used only if this command starts the session.")
@click.option("--detach", is_flag=True, help="Return at once with the experiment's number; `wait` gives the verdict.")
@_json_option("Print the experiment as one JSON object; with --detach its number.")
@sandbox_option
@click.option("--report-to", type=int, hidden=True, help="File descriptor to which a detached process reports.")
def try_command(message: str, tag: str | None, detach: bool, as_json: bool, **given: Any) -> None:
    """Measure your own edit of the file as one experiment, and print the verdict.

    The command measures the file as it is now in your checkout, committed or not, and compares it with the incumbent.
    A keep moves the session's branch; your checkout stays as you left it.

    With --detach you can edit the file again at once, and the measurement continues even if the calling shell is
    killed.  (Coding agents kill their shells after a few minutes.)

    \b
    Example:
      autoresearch-mlx try -m "halve the batch: twice the steps in the same time"
      autoresearch-mlx try --detach -m "halve the batch" && autoresearch-mlx wait 1
    """
    if detach:
        _detach(message, tag, as_json, given)
        return
    from autoresearch_mlx.cli.opened import opened, tell_left_out
    from autoresearch_mlx.loop.checkout import edit_from_checkout, edited_now
    from autoresearch_mlx.loop.detached import Detached
    from autoresearch_mlx.loop.research import measure_edit

    lab, report_to = lab_here(), given["report_to"]
    options = {
        "budget.seconds": given["budget"],
        "agent.repairs": 0,
        "sandbox.require": given["require_sandbox"],
    }
    detached = Detached(message, report_to)
    with detached.reported(), opened(lab, tag, options, plain=report_to is not None) as here:
        session, screen, workspace = here.session, here.screen, here.session.workspace
        tell_left_out(session, lab, screen.say, workspace.may_edit)
        mine = edited_now(session, lab.root)
        done = measure_edit(
            session,
            lambda: edit_from_checkout(session, mine, message, screen.say),
            screen,
            lambda number: detached.promise(session.folder, number),
        )
        words = said(done, session.target.metric, workspace.branch, workspace.editable, as_json)
    click.echo(words)


def _detach(message: str, tag: str | None, as_json: bool, given: Mapping[str, Any]) -> None:
    """Start the same command in a process that outlives this process, and print the experiment's number.

    If `drive` runs in this lab, this function asks `drive` to start the new process.  The reason is that an agent's
    sandbox, in which this command may run, ends all processes inside it.
    """
    from autoresearch_mlx.loop.detached import Promise, start_detached
    from autoresearch_mlx.loop.drive import ask_driver

    options = {"--tag": tag, "--budget": given["budget"]}
    arguments = ["try", "-m", message, *(f"{name}={value}" for name, value in options.items() if value is not None)]
    arguments += ["--require-sandbox"] if given["require_sandbox"] else []
    promise = ask_driver(lab_here(), arguments, say) or start_detached(arguments)
    if not isinstance(promise, Promise):
        raise SystemExit(promise)
    wait = f"{itself()} wait {promise.number}"
    if as_json:
        click.echo(json.dumps({**asdict(promise), "wait": wait}))
    else:
        click.echo(f"experiment {promise.number} is being measured by process {promise.pid}; its verdict: {wait}")


@click.command("wait")
@click.argument("number", type=click.IntRange(min=0), required=False)
@tag_option
@click.option(
    "--seconds",
    type=NumberRange(min=0),
    metavar="S",
    help="Wait for at most S seconds; exit code 3 means that the experiment is still being measured.",
)
@_json_option("Print the experiment as one JSON object.")
def wait_command(number: int | None, tag: str | None, seconds: float | None, as_json: bool) -> None:
    """Wait for the verdict on experiment NUMBER and print it; without NUMBER, wait for the newest detached try.

    The experiment may be a detached try or part of a run, and may have ended already.  If you end this command, the
    measurement continues, and you can call `wait` again.  The exit code is 0 for any verdict, 1 for an error, and 130
    if the try was ended by hand.

    \b
    Example:
      autoresearch-mlx wait 5
      autoresearch-mlx wait 5 --seconds 90
    """
    from autoresearch_mlx.lab.lab import find_session
    from autoresearch_mlx.report.awaited import STILL_MEASURED, await_verdict
    from autoresearch_mlx.store.ledger import FILE, read
    from autoresearch_mlx.store.tries import newest_try

    folder = find_session(lab_here(), tag)
    if number is None and (number := newest_try(folder)) is None:
        raise LabError(f"session {folder.name} has no detached try", f"`{itself()} wait N` waits for experiment N")
    try:
        ended = await_verdict(folder, number, say, seconds)
    except KeyboardInterrupt:
        say(f"no longer waiting; experiment {number} is still being measured")
        raise
    if ended.experiment is not None:
        session = read(folder / FILE).session
        branch = session.get("branch") or f"autoresearch/{folder.name}"
        click.echo(said(ended.experiment, session["metric"], branch, session.get("editable") or (), as_json))
    elif ended.exit_code == STILL_MEASURED:
        say(f"experiment {number} is still being measured; call `{itself()} wait {number}` again")
    raise SystemExit(ended.exit_code)


@click.command("accept")
@click.argument("number", type=click.IntRange(min=1))
@tag_option
@_json_option("Print the new experiment as one JSON object.")
@sandbox_option
def accept_command(number: int, tag: str | None, as_json: bool, require_sandbox: bool | None) -> None:
    """Measure experiment NUMBER once more, and keep its change if the gain is confirmed.

    This command is for an experiment whose gain was too good to be believed.  First read what `show NUMBER` prints: the
    experiment's diff and the findings of its audit.  Then this command measures the change as a new experiment, against
    the present incumbent.  A change that is better is kept, however large its gain is.  The ledger notes that you
    accepted the experiment.

    \b
    Example:
      autoresearch-mlx show 7
      autoresearch-mlx accept 7
    """
    from autoresearch_mlx.cli.opened import opened
    from autoresearch_mlx.loop.accept import accept

    options = {"agent.repairs": 0, "sandbox.require": require_sandbox}
    with opened(lab_here(), tag, options, existing=True) as here:
        session, workspace = here.session, here.session.workspace
        done = accept(session, number, here.screen)
        words = said(done, session.target.metric, workspace.branch, workspace.editable, as_json)
    click.echo(words)


def said(done: Experiment, metric: str, branch: str, editable: Sequence[str], as_json: bool) -> str:
    """Return the verdict on the experiment ``done`` as text; with ``as_json``, the experiment as JSON."""
    from autoresearch_mlx.report.closing import verdict
    from autoresearch_mlx.store.records import experiment_to

    return json.dumps(experiment_to(done)) if as_json else callable_here(verdict(done, metric, branch, editable))
