"""Open a session for a command that measures: lock it, set up the sandbox and the screen, and handle signals."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from autoresearch_mlx.cli.options import say
from autoresearch_mlx.lab.lab import find_session

if TYPE_CHECKING:
    from autoresearch_mlx.lab.config import Settings
    from autoresearch_mlx.lab.lab import Lab
    from autoresearch_mlx.loop.session import Session
    from autoresearch_mlx.report.screens import Screen


@dataclass(frozen=True, slots=True)
class Opened:
    session: Session
    settings: Settings
    screen: Screen


@contextmanager
def opened(
    lab: Lab,
    tag: str | None,
    options: Mapping[str, Any] | None = None,
    plain: bool = False,
    existing: bool = False,
    elsewhere: bool = False,
) -> Iterator[Opened]:
    """Open a session for this process alone, until the end of the block; start a new session if there is none.

    Runs are confined by a sandbox if the system has one.  Until the end of the block the machine is kept awake, and the
    GPU is locked for this command.

    - ``options`` override lab.toml.
    - ``plain``: print plain lines even if standard error is a terminal.
    - ``existing``: start no new session; raise LabError if the session does not exist.
    - ``elsewhere``: other machines measure, so do not reserve this machine, and use no sandbox here.

    Raises ConfigError, LabError, LedgerError, LockedError and WorkspaceError.  The target may raise further errors when
    it chooses the conditions of a new session.
    """
    from autoresearch_mlx.lab.config import load_settings
    from autoresearch_mlx.loop.session import open_session
    from autoresearch_mlx.report.screens import open_screen

    if existing:
        find_session(lab, tag)
    resolved = load_settings(lab.root, options)
    settings = resolved.settings
    with (
        interruptible(),
        open_session(lab, resolved, tag, say, elsewhere) as found,
        nullcontext() if elsewhere else _its_machine(lab, found, settings),
    ):
        session = found if elsewhere else _confined(found, settings)
        with closing(open_screen(sys.stderr, session.folder, session.target.metric, plain)) as screen:
            yield Opened(session, settings, screen)


def _confined(session: Session, settings: Settings) -> Session:
    """Return the session with a tested sandbox; if no sandbox works here, warn and return the session without one.

    Raises ConfigError when there is no sandbox and the settings require one.
    """
    from autoresearch_mlx.targets.confine import confine

    others = (path for path in session.folder.parent.iterdir() if path.is_dir() and path != session.folder)
    target = confine(session.target, settings.sandbox, [session.ledger.path, *others], say)
    return session.measuring(target=target)


def _its_machine(lab: Lab, session: Session, settings: Settings) -> AbstractContextManager[None]:
    from autoresearch_mlx.hardware.surroundings import machine_for
    from autoresearch_mlx.targets.corpus.prepare import default_cache

    gpu = session.worker.surroundings.gpu
    return machine_for(lab.root, session.tag, settings.machine, gpu, default_cache(), say)


@contextmanager
def interruptible() -> Iterator[None]:
    """Make SIGTERM (`kill`) and SIGHUP (a closed terminal) end the block as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def tell_left_out(
    session: Session, lab: Lab, say: Callable[[str], None], measured: Callable[[str], bool] = lambda path: False
) -> None:
    """Print a note about each part of the checkout that is not in the session, such as uncommitted edits.

    A note that was already printed today is left out.  ``measured`` returns True for a file whose edits this command
    measures; no note names these files.
    """
    from autoresearch_mlx.store.left_out import unsaid

    if (found := session.left_out(lab.root)) is not None:
        for words in unsaid(session.folder, found.sentences(session.tag, measured), date.today().isoformat()):
            say(f"note: {words}")
