"""Choose the sizes with which a script is profiled and timed: the sizes of the lab's session, if there is a session."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.hardware.profile import Profile
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import SCRIPT, Lab
from autoresearch_mlx.lab.source import changed_knobs, describe, read_knobs
from autoresearch_mlx.loop.session import preset_text
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.targets.kernel.profiled import sizes_of

_PRETRAIN = "pretrain"


@dataclass(frozen=True, slots=True)
class Sized:
    """A script's text with the sizes to measure, and the sizes of its inputs."""

    text: str
    """The script's text with the preset of the session or of this machine."""
    inputs: Mapping[str, int]
    """Sizes of the inputs by name: ``vocab_size``, ``seq_len`` and ``rows`` (of a forward pass)."""
    words: str
    """The sizes and their source, as a line for the user."""


def sized(
    lab: Lab, path: Path, text: str, settings: Settings, fit: Profile, wanted: Mapping[str, int | None] | None = None
) -> Sized:
    """Return a script with the sizes of the lab's session, or with the sizes of a new session if there is no session.

    Only the lab's own train_mlx.py gets the preset, and only in knobs that still have their shipped value.  ``wanted``
    has the sizes of inputs that the user named.
    """
    inputs = sizes_of(settings, fit, wanted or {})
    preset, source = dict(fit.knobs), f"this machine's preset {fit.name}"
    session = _session_of(lab)
    if session is not None:
        preset, source = dict(session.get("preset") or {}), f"session {session.get('tag')}"
        recorded = session.get("conditions") or {}
        inputs |= {n: recorded[n] for n in ("vocab_size", "seq_len") if n in recorded and not (wanted or {}).get(n)}
    own = path.resolve() == (lab.root / SCRIPT).resolve() and settings.target.kind == _PRETRAIN
    filled = preset_text(text, preset) if own else text
    told = f"sizes: vocabulary {inputs['vocab_size']:,}, rows of {terms.plural(inputs['seq_len'], 'token')}"
    if changes := changed_knobs(text, filled):
        return Sized(filled, inputs, f"{told}; from {source}: {describe(changes)}")
    whose = f"of {source}" if own and preset.keys() & read_knobs(text).keys() else "of the file itself"
    return Sized(filled, inputs, f"{told}; knobs {whose}")


def _session_of(lab: Lab) -> Mapping[str, Any] | None:
    """Return the first event in the ledger of the current session, which has the session's preset and conditions.

    Returns None if there is no session, or if the session does not train a script.
    """
    tag = lab.current()
    session = read(lab.folder(tag) / FILE).session if tag is not None else {}
    return session if session.get("target") == _PRETRAIN else None


@contextmanager
def at_its_sizes(path: Path, text: str) -> Iterator[Path]:
    """Yield the path of a file that has this text and the script's name.

    If the script ``path`` has this text, ``path`` is yielded; otherwise the path of a temporary file.
    """
    if path.read_bytes().decode("utf-8", errors="replace") == text:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="autoresearch-kernel-") as made:
        copy = Path(made).resolve() / path.name
        copy.write_text(text, encoding="utf-8", newline="")
        yield copy
