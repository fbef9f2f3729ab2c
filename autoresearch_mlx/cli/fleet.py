"""Define ``fleet``, with which several machines measure together."""

from __future__ import annotations

from pathlib import Path

import click

from autoresearch_mlx.cli.options import json_option, lab_here, say


@click.group("fleet")
def fleet_command() -> None:
    """Measure with several machines: one machine coordinates, and the other machines join.

    \b
    Example:
      autoresearch-mlx fleet start                    on one machine, in the lab
      autoresearch-mlx fleet join pairing.json        on each machine that measures
      autoresearch-mlx run --fleet --until 07:00      on the first machine
      autoresearch-mlx fleet status
    """


@fleet_command.command("start")
@click.option(
    "--host", metavar="ADDRESS", help="Address at which the other machines reach this machine; default: detected."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port of the coordinator; default: 8786; 0: any free port.",
)
@click.option(
    "--new-keys", is_flag=True, help="Make new certificates, which locks out all machines that joined before."
)
def start_command(host: str | None, port: int | None, new_keys: bool) -> None:
    """Coordinate the fleet of this lab, until Ctrl-C.

    The command prints the path of the pairing file, which each other machine needs.  Whoever has that file can run
    programs on the machines of the fleet, so copy the file only to your own machines.
    """
    from autoresearch_mlx.cli.opened import interruptible
    from autoresearch_mlx.fleet.admission import wanted_here
    from autoresearch_mlx.fleet.coordinator import start

    lab = lab_here()
    with interruptible():
        start(lab, wanted_here(lab), host, port, new_keys, say)


@fleet_command.command("join")
@click.argument("pairing", type=click.Path(path_type=Path))
@click.option(
    "--name", metavar="NAME", help="Name of this machine in the fleet; default: its chip and four characters."
)
@click.option("--host", metavar="ADDRESS", help="Address at which the coordinator reaches this machine.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port at which the coordinator reaches this machine.",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder for this machine's jobs and results; default: in the cache.",
)
def join_command(pairing: Path, name: str | None, host: str | None, port: int, home: Path | None) -> None:
    """Take part in a fleet: measure what the coordinator asks for, until Ctrl-C.

    PAIRING is the file whose path `fleet start` prints.  The command keeps the machine awake.  It joins again by itself
    after sleep, after a failure of the network, and after a new start of the coordinator.
    """
    from autoresearch_mlx.cli.opened import interruptible
    from autoresearch_mlx.fleet.member import join

    with interruptible():
        join(pairing, name, host, port, home, say)


@fleet_command.command("status")
@json_option
def status_command(as_json: bool) -> None:
    """Show what each machine of this lab's fleet does, its number of runs, its time for a run, and its noise."""
    import json

    from autoresearch_mlx.fleet.state import fleet_lines, fleet_state, to_json

    state = fleet_state(lab_here())
    if as_json:
        click.echo(json.dumps(to_json(state), indent=2))
        return
    for line in fleet_lines(state):
        click.echo(line)


@fleet_command.command("leave")
@click.argument("name", required=False)
def leave_command(name: str | None) -> None:
    """Let a machine leave the fleet.

    On a machine that joined, give no NAME: this machine leaves.  In the coordinator's lab, NAME is the machine that
    leaves.  A run in progress on that machine continues, and its result stays on that machine.
    """
    from autoresearch_mlx.fleet.leaving import leave

    for words in leave(Path.cwd(), name):
        click.echo(words)
