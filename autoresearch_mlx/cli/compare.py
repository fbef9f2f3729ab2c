"""Define ``compare``, which compares this machine's session with the H100's, another Mac's, or any log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say, tag_option, width
from autoresearch_mlx.errors import ConfigError, LabError

if TYPE_CHECKING:
    from autoresearch_mlx.compare.log import Log
    from autoresearch_mlx.compare.machines import Fleetwide
    from autoresearch_mlx.experiment import Direction

_FILE = click.Path(path_type=Path)


@click.command("compare")
@click.option("--with", "names", metavar="NAME", multiple=True, help="A log that comes with the tool; default: H100.")
@click.option("--import", "files", metavar="FILE", type=_FILE, multiple=True, help="A results.tsv or a ledger.jsonl.")
@click.option(
    "--hardware", metavar="NAME", multiple=True, help="Hardware of the imported log; repeat the option for each FILE."
)
@click.option("--metric", metavar="COLUMN", help="Name of the column with the values in the imported tables.")
@click.option(
    "--direction", type=click.Choice(["min", "max"]), help="Whether lower or higher is better in the imported tables."
)
@click.option("--alone", is_flag=True, help="Compare the imported logs instead of this lab's session.")
@click.option("--queue", is_flag=True, help="Add to the backlog the H100's winners that were not tried here.")
@click.option(
    "--curves",
    is_flag=True,
    help="Show curves of the gain over experiments, hours, tokens and FLOPs; compare no changes.",
)
@click.option("--machines", is_flag=True, help="Compare the machines of this session's fleet only.")
@click.option("--list", "listing", is_flag=True, help="List the logs that come with the tool.")
@tag_option
@json_option
def compare_command(
    names: tuple[str, ...],
    files: tuple[Path, ...],
    hardware: tuple[str, ...],
    metric: str | None,
    direction: Direction | None,
    alone: bool,
    queue: bool,
    curves: bool,
    machines: bool,
    listing: bool,
    tag: str | None,
    as_json: bool,
) -> None:
    """Compare this session with other logs, by axis and change by change: which effects are the same on both machines?

    Without a session, or with --alone, the imported logs take the place of the session.  If no log is imported either,
    the last log named by --with takes this place.  If several machines of a fleet measured the session, the command
    first compares these machines.

    \b
    Example:
      autoresearch-mlx compare
      autoresearch-mlx compare --with M2Pro-sebasmos
      autoresearch-mlx compare --import results.tsv --hardware "M3 Max"
      autoresearch-mlx compare --machines
    """
    if listing:
        _list(as_json)
        return
    if len(hardware) > len(files):
        raise click.UsageError("--hardware names the hardware of an imported log: give it once for each --import")
    if alone and (tag or queue):
        raise click.UsageError("--alone leaves this lab's session out: give --alone without --tag and --queue")
    if machines:
        if names or files or queue or curves or alone:
            raise click.UsageError(
                "--machines compares only the machines of this session's fleet; leave the other options out"
            )
        _machines(tag, as_json)
        return
    from autoresearch_mlx.compare import machines as side_by_side
    from autoresearch_mlx.compare.table import compare_logs, render, to_json

    if (metric or direction) and not files:
        raise click.UsageError("--metric and --direction describe imported tables: give --import FILE too")
    imports = _imports(files, hardware, metric, direction)
    folder = None if alone else _session(tag, needed=queue or tag is not None or not (names or files))
    here, there = _sides(folder, imports, names)
    if curves:
        _curves(folder, here, there, as_json)
        return
    found = [compare_logs(ours, theirs) for ours in here for theirs in there]
    fleet = None if folder is None else _fleet(folder)
    if as_json:
        documents = [to_json(each) for each in found]
        document = documents[0] if len(documents) == 1 else {"comparisons": documents}
        click.echo(json.dumps(document if fleet is None else {**document, "fleet": side_by_side.to_json(fleet)}))
    else:
        first = [] if fleet is None else [side_by_side.render(fleet, width())]
        click.echo("\n\n\n".join([*first, *(render(each, width()) for each in found)]))
    if queue and folder is not None:
        _queue(folder)


def _machines(tag: str | None, as_json: bool) -> None:
    """Print a comparison of the machines of the session's fleet.

    Raises LabError when fewer than two machines took part.
    """
    from autoresearch_mlx.compare import machines

    folder = _session(tag, needed=True)
    assert folder is not None
    fleet = _fleet(folder)
    if fleet is None:
        said = f"session {folder.name} has runs of one machine only"
        raise LabError(
            said, "`autoresearch-mlx compare --import FILE` compares the session with a log of another machine"
        )
    click.echo(json.dumps(machines.to_json(fleet)) if as_json else machines.render(fleet, width()))


def _fleet(folder: Path) -> Fleetwide | None:
    """Return the comparison of a session's machines, or None if fewer than two machines of a fleet took part."""
    from autoresearch_mlx.compare.machines import fleetwide
    from autoresearch_mlx.store.ledger import FILE, read

    return fleetwide(read(folder / FILE).history)


def _curves(folder: Path | None, here: list[Log], there: list[Log], as_json: bool) -> None:
    """Print the curves of the gain for all logs.

    A session's ledger has tokens and times for its curve; other logs have only values and the budget.
    """
    from autoresearch_mlx.compare.curves import Course, course_of, of_history, render_courses, to_json
    from autoresearch_mlx.store.ledger import FILE, read

    courses = [course_of(log) for log in (*there, *here)]
    if folder is not None:
        courses[-1] = Course(here[0].name, of_history(read(folder / FILE).history))
    click.echo(json.dumps(to_json(courses)) if as_json else render_courses(courses))


def _list(as_json: bool) -> None:
    from autoresearch_mlx.compare.reference import references
    from autoresearch_mlx.compare.table import render_list

    found = references()
    if not as_json:
        click.echo(render_list(found, width()))
        return
    rows = [
        {
            "name": each.name,
            "runs": len(each.runs),
            "comparable": sum(run.comparable for run in each.runs),
            "hardware": each.hardware,
            "source": each.source,
        }
        for each in found
    ]
    click.echo(json.dumps(rows))


def _imports(
    files: Sequence[Path], hardware: Sequence[str], metric: str | None, direction: Direction | None
) -> list[Log]:
    from autoresearch_mlx.compare.imports import read_log

    given = [*hardware, *[""] * (len(files) - len(hardware))]
    return [read_log(file, name, metric, direction) for file, name in zip(files, given, strict=True)]


def _session(tag: str | None, needed: bool) -> Path | None:
    """Return the session's folder; None if there is no session and the command does not need one."""
    from autoresearch_mlx.lab.lab import find_session

    try:
        return find_session(lab_here(), tag)
    except LabError:
        if needed:
            raise
        return None


def _sides(folder: Path | None, imports: list[Log], names: Sequence[str]) -> tuple[list[Log], list[Log]]:
    """Return (here, there), the two groups of logs to compare with each other.

    ``here`` is the session if there is one, otherwise the imported logs, or without imported logs the last named log.
    ``there`` has all logs that are not ``here``; if there are none, ``there`` is the H100's log.
    """
    from autoresearch_mlx.compare.log import of_reference
    from autoresearch_mlx.compare.reference import find, h100

    named = [of_reference(find(name)) for name in names]
    if folder is not None:
        return [_own(folder)], [*named, *imports] or [of_reference(h100())]
    if imports:
        return imports, named or [of_reference(h100())]
    return named[-1:], named[:-1] or [of_reference(h100())]


def _own(folder: Path) -> Log:
    from autoresearch_mlx.compare.own import own_log
    from autoresearch_mlx.hardware.machine import read_machine
    from autoresearch_mlx.store.ledger import FILE, read

    machine = read_machine()
    log, trouble = own_log(read(folder / FILE), lab_here().root, machine.chip or machine.arch, f"session {folder.name}")
    if trouble:
        say(f"warning: {trouble}")
    return log


def _queue(folder: Path) -> None:
    from autoresearch_mlx.agents.ideas.backlog import add_ideas
    from autoresearch_mlx.agents.ideas.h100_ideas import h100_ideas
    from autoresearch_mlx.agents.ideas.idea import H100
    from autoresearch_mlx.compare.log import METRIC
    from autoresearch_mlx.compare.reference import h100
    from autoresearch_mlx.store.ledger import FILE, read

    history = read(folder / FILE).history
    if history.metric != METRIC or history.direction != "min":
        said = f"the H100's winners improve {METRIC}, but this session measures {history.metric}"
        raise ConfigError(said, "nothing was added to the backlog; give the command without --queue")
    wanted = h100_ideas(h100(), history)
    added = add_ideas(folder, wanted, H100)
    say(f"queued {len(added)} of {len(wanted)} winners of the H100 that were not tried here")
    for idea in added:
        say(f"idea {idea.id}: {idea.title}")
