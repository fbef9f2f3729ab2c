"""Make the context of a session's first proposal before the session begins, so that `prompt` can show the prompt."""

from __future__ import annotations

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.experiment import Context, History, Workload
from autoresearch_mlx.lab.config import Settings
from autoresearch_mlx.lab.lab import Lab
from autoresearch_mlx.loop.chosen import in_words
from autoresearch_mlx.loop.session import files_at, place_of, preset_text
from autoresearch_mlx.store.git import resolve
from autoresearch_mlx.store.workspace import Workspace
from autoresearch_mlx.targets.registry import kind_of, with_defaults


def first_context(lab: Lab, settings: Settings) -> tuple[Context, int | None]:
    """Return the context that the first proposal of a new session would have, and the machine's memory in bytes.

    No session is made and nothing is measured, so the context has no baseline.  Raises LabError for a lab without a
    commit or without its editable files, and ConfigError for wrong settings.
    """
    kind = kind_of(settings, lab.root)
    place = place_of(lab, with_defaults(settings, kind))
    start = resolve(lab.root, "HEAD")
    if start is None:
        raise LabError(f"the repository of {lab.root} has no commit yet", "run `git add -A && git commit` there")
    workspace = Workspace(lab.root, lab.state, "next", place.settings.target.editable)
    profile = kind.fit(place)
    preset = kind.preset(dict(profile.knobs))
    files = {p: preset_text(text, preset, place.profile.knobs) for p, text in files_at(workspace, start).items()}
    target, seconds = place.settings.target, kind.plan_before(place).training_seconds
    each = f"; {seconds:g} s of training per experiment" if seconds else ""
    hardware = in_words(place.machine, Workload()) + each
    history = History((), target.metric, target.direction)
    return Context(1, lab.program(), files, history, hardware, settings.seed), place.machine.memory_bytes
