"""Define ``dashboard``, which shows and controls the sessions of a lab in a browser on this machine."""

from __future__ import annotations

import os
import sys

import click

from autoresearch_mlx.cli.options import lab_here, say


@click.command("dashboard")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port; default: any free port.")
@click.option(
    "--host", default="127.0.0.1", metavar="ADDRESS", help="IP address; default: 127.0.0.1, for this machine only."
)
@click.option("--read-only", is_flag=True, help="Show the sessions, and allow no control.")
@click.option("--no-open", is_flag=True, help="Print the address and open no browser.")
def dashboard_command(port: int, host: str, read_only: bool, no_open: bool) -> None:
    """Watch and control the sessions of this lab in a browser.

    The printed address contains a token, which is new at each start; whoever has the address can control the run.  The
    dashboard and the run do not depend on each other: each can be started, stopped or killed alone.

    \b
    Example:
      autoresearch-mlx dashboard
      autoresearch-mlx dashboard --read-only --port 8700
    """
    import ipaddress

    from autoresearch_mlx.errors import ConfigError
    from autoresearch_mlx.report.dashboard.server import bound, new_token, serve

    lab = lab_here()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(f"{host!r} is not an IP address", "give an address such as 127.0.0.1 or ::1") from None
    token = new_token()
    with bound(str(address), port) as at:
        if not address.is_loopback:
            say("warning: others on the network can reach this dashboard, and the connection is not encrypted")
        click.echo(f"{at.url}#{token}")
        sys.stdout.flush()
        say("Ctrl-C ends the dashboard; the run continues without it")
        if not no_open and _has_window():
            import webbrowser

            webbrowser.open(f"{at.url}#{token}")
        serve(lab, at, token, read_only)


def _has_window() -> bool:
    """Return whether this machine has a display; without a display, a text browser would take over this terminal."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
