"""Make a new lab from the files that the package carries."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.lab import PROGRAM, SCRIPT, SETTINGS
from autoresearch_mlx.loop.session import preset_text
from autoresearch_mlx.store.workspace import Workspace, commit_all, init_repository, resolve, top_of

LAB_TOML = """\
# Settings of this lab.  Every line is optional; `autoresearch-mlx doctor` shows what is in force, and why.

# [budget]
# seconds = 300            # training time of one experiment; default: by the machine; or "match-tokens:500M"

# [data]
# source = "climbmix"      # or "tinystories", "stdlib", "folder" (then: path = "~/texts")

# [judge]
# margin = 0.003           # the least gain to keep; default: by the measured noise

# [agent]
# name = "hybrid"                    # or "knobs", "ollama:MODEL", "playbook", "command", ...; default: auto
# model = "ollama:qwen3-coder:30b"   # for hybrid and chat

# [machine]
# wait_for_mains = true    # start no experiment on battery
# wait_for_cooling = true  # start none while the machine is too hot for its full speed

# To improve another number than val_bpb, name a program that prints `METRIC name=value`:
# [target]
# kind = "command"         # or a target of your own, as "module:Class": CONTRIBUTING.md
# editable = ["solver.py"]
# run = "python bench.py"
# guard = "python -m pytest -q"
# metric = "seconds"
# direction = "min"

# [run]
# lanes = 3                # experiments side by side, for such a program; not where the number is a time
"""


def make_lab(directory: Path, say: Callable[[str], None]) -> Iterator[str]:
    """Write the files that are missing; yield one line for each thing done.

    Raises LabError when the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        written = [name for name, text in _files().items() if _write(directory / name, text)]
    except OSError as error:
        raise LabError(f"{directory} cannot be written: {error.strerror}", "choose another directory") from None
    for name in written:
        yield f"wrote {directory / name}"
    yield from _put_under_git(directory, written)
    place = "" if directory.resolve() == Path.cwd() else f"cd {shlex.quote(str(directory))} && "
    head = resolve(directory, "HEAD")
    committed = head is not None and bool(Workspace(directory, directory, "init", [SCRIPT]).read(head))
    commit = "" if committed else f"git add {SCRIPT} {PROGRAM} {SETTINGS} && git commit -m 'A lab' && "
    say(f"next: {place}{commit}autoresearch-mlx run")


def _files() -> dict[str, str]:
    profile = choose_profile(read_machine())
    return {
        SCRIPT: preset_text(asset(SCRIPT).read_text(encoding="utf-8"), profile.knobs),
        PROGRAM: asset(PROGRAM).read_text(encoding="utf-8"),
        SETTINGS: LAB_TOML,
    }


def _write(path: Path, text: str) -> bool:
    if path.exists():
        return False
    path.write_text(text, encoding="utf-8")
    return True


def _put_under_git(directory: Path, written: list[str]) -> Iterator[str]:
    top = top_of(directory)
    if top is None:
        init_repository(directory)
        commit_all(directory, [SCRIPT, PROGRAM, SETTINGS], "A new lab")
        yield f"made a git repository in {directory} and committed the files"
    elif written:
        yield f"{directory} is in the repository {top}: commit the new files there before the first run"
