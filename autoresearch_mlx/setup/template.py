"""Make a new lab from the files in this package."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from autoresearch_mlx.errors import LabError, WorkspaceError
from autoresearch_mlx.hardware.machine import read_machine
from autoresearch_mlx.hardware.profile import choose_profile
from autoresearch_mlx.lab.assets import asset
from autoresearch_mlx.lab.config import TargetSettings, load_settings
from autoresearch_mlx.lab.lab import PROGRAM, SCRIPT, SETTINGS
from autoresearch_mlx.loop.session import preset_text
from autoresearch_mlx.setup.recipes import Recipe
from autoresearch_mlx.store.git import commit_all, git, ignored, init_repository, resolve, top_of
from autoresearch_mlx.store.workspace import Workspace
from autoresearch_mlx.targets.tools import Tools

LAB_TOML = """\
# Settings of this lab.  Every line is optional; `autoresearch-mlx doctor` shows each value in force and its source.

# [budget]
# seconds = 300            # training time of one experiment; default: as the machine allows; or "match-tokens:500M"

# [data]
# source = "climbmix"      # or "tinystories", "stdlib", "folder" (then: path = "~/texts")

# [judge]
# margin = 0.003           # the least gain to keep; default: follows the measured noise

# [agent]
# name = "hybrid"                    # or "knobs", "ollama:MODEL", "playbook", "claude", ...; default: auto
# model = "ollama:qwen3-coder:30b"   # for hybrid and chat

# [machine]
# wait_for_mains = true    # start no experiment on battery
# wait_for_cooling = true  # start no experiment while the machine is too hot for its full speed

# To improve another number than val_bpb, name a program that prints `METRIC name=value`:
# [target]
# kind = "command"         # or a target of your own, as "module:Class": CONTRIBUTING.md
# editable = ["solver.py"]
# run = "python bench.py"
# guard = "python -m pytest -q"
# metric = "seconds"
# direction = "min"

# [run]
# lanes = 3                # experiments of such a program to run side by side; not if the number is a time
"""


def make_lab(directory: Path, say: Callable[[str], None], recipe: Recipe | None = None) -> Iterator[str]:
    """Write the files that the lab in ``directory`` lacks, put them under git, and yield a line for each action.

    ``recipe`` is the recipe from which the lab is made; None means a lab that trains.  Raises LabError when the
    directory cannot be written or already has a different file of the same name, and WorkspaceError when git refuses.
    After an error no new file of the lab stays.
    """
    _refuse_bare(directory)
    files = _of_training(directory) if recipe is None else _unopposed(directory, recipe)
    with all_or_nothing(directory) as made:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                if _write(directory / name, content):
                    made.append(directory / name)
        except OSError as error:
            raise LabError(f"{directory} cannot be written: {error.strerror}", "choose another directory") from None
        written = [f"wrote {path}" for path in made]
        done = _put_under_git(directory, made, list(files))
    yield from (*written, *done)
    place = "" if directory.resolve() == Path.cwd() else f"cd {shlex.quote(str(directory))} && "
    head = resolve(directory, "HEAD")
    committed = head is not None and bool(Workspace(directory, directory, "init", [next(iter(files))]).read(head))
    force = "-f " if ignored(directory, list(files)) else ""  # the user's ignore files may name one of the lab's files
    commit = "" if committed else f"git add {force}{' '.join(files)} && git commit -m 'A lab' && "
    say(f"next: {place}{commit}{_first_command(directory, recipe)}")


def _first_command(directory: Path, recipe: Recipe | None) -> str:
    if recipe is None:
        return "autoresearch-mlx run"
    wanted = recipe.tools
    missing = Tools(directory / wanted.folder, wanted).missing()
    return f"{wanted.install} && autoresearch-mlx check" if missing and wanted.install else "autoresearch-mlx check"


def _unopposed(directory: Path, recipe: Recipe) -> Mapping[str, bytes]:
    """Return the files of a recipe.

    Raises LabError if the directory already has a file with the name of a recipe's file and with different contents.
    """
    files = recipe.files()
    for name, content in files.items():
        path = directory / name
        if path.exists() and not (path.is_file() and path.read_bytes() == content):
            said = f"{path} is there already, and differs from the file of that name in the recipe {recipe.name}"
            raise LabError(said, f"choose a new folder: autoresearch-mlx init --recipe {recipe.name} DIRECTORY")
    return files


@contextmanager
def all_or_nothing(directory: Path) -> Iterator[list[Path]]:
    """Yield a list to which the caller adds each path that it makes; if the block fails, remove these paths."""
    missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    made: list[Path] = []
    try:
        yield made
    except BaseException:
        for path in made:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        inner = {folder for path in made for folder in path.parents if directory in folder.parents}
        for folder in (*sorted(inner, key=lambda each: -len(each.parts)), *missing):
            with suppress(OSError):
                folder.rmdir()
        raise


def _refuse_bare(directory: Path) -> None:
    """Raise LabError if the directory is in a bare repository; a lab there would be among git's own files."""
    near = next(each for each in (directory, *directory.resolve().parents) if each.is_dir())
    if top_of(near) is not None:
        return
    with suppress(WorkspaceError):  # outside of any repository git answers with an error
        if git(near, "rev-parse", "--is-bare-repository").strip() == "true":
            raise LabError(
                f"{near} is a bare repository, without a checkout", "clone it, and make the lab in the clone"
            )


def _of_training(directory: Path) -> Mapping[str, bytes]:
    """Return the files of a lab that trains.  Raises LabError if the directory is a lab with a different target."""
    if (directory / SETTINGS).is_file():
        kind = load_settings(directory).settings.target.kind
        if kind != TargetSettings().kind:
            said = f"{directory / SETTINGS} is there already: this lab has the target {kind}, and needs no {SCRIPT}"
            raise LabError(said, "`autoresearch-mlx check` tests this lab; for a lab that trains, name a new folder")
    return _files()


def _files() -> Mapping[str, bytes]:
    profile = choose_profile(read_machine())
    return {
        SCRIPT: preset_text(asset(SCRIPT).read_text(encoding="utf-8"), profile.knobs).encode(),
        PROGRAM: asset(PROGRAM).read_bytes(),
        SETTINGS: LAB_TOML.encode(),
    }


def _write(path: Path, content: bytes) -> bool:
    if path.is_dir():
        raise LabError(f"{path} is a folder, and a lab needs a file there", "move the folder away, then init again")
    if path.is_symlink() and not path.exists():
        raise LabError(f"{path} is a link to a file that is missing", "remove the link, then init again")
    if path.exists():
        return False
    path.write_bytes(content)
    return True


def _put_under_git(directory: Path, made: list[Path], names: Sequence[str]) -> list[str]:
    """Make a repository in the directory, commit the files there, and return a line that tells the user.

    If the directory is in a repository already, nothing is committed, and the line asks the user to commit new files.
    """
    top = top_of(directory)
    if top is None:
        if (directory / ".git").is_file():
            said = f"{directory / '.git'} does not lead to a repository that git can read"
            raise LabError(said, "remove the file, or put the repository back; then init again")
        if not (directory / ".git").exists():
            made.append(directory / ".git")
        init_repository(directory)
        commit_all(directory, names, "A new lab")
        return [f"made a git repository in {directory} and committed the files"]
    return [f"{directory} is in the repository {top}: commit the new files there before the first run"] if made else []
