"""Write the files of a proved lab into the user's folder: either all files, or no file."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoresearch_mlx.agents.knobs.space import read_space
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.lab.lab import PROGRAM
from autoresearch_mlx.setup.about.about import refuse_existing
from autoresearch_mlx.setup.about.prove import Proof
from autoresearch_mlx.setup.template import all_or_nothing
from autoresearch_mlx.store.git import ignored


def write_lab(directory: Path, proof: Proof) -> Iterator[Path]:
    """Write the files of a proved lab and yield their paths.  An existing program.md stays as it is.

    Raises LabError when the folder is a lab already or cannot be written.  After an error, no file of the lab stays.
    """
    refuse_existing(directory)
    with all_or_nothing(directory) as made:
        try:
            for name, content in (proof.files or {}).items():
                path = directory / name
                if name == PROGRAM and path.exists():
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                made.append(path)
                path.write_bytes(content)
        except OSError as error:
            said = f"{directory} cannot be written: {error.strerror}"
            raise LabError(said, "correct the cause, and init again; no file of the lab was written") from None
    yield from made


def has_knobs(directory: Path, editable: Sequence[str]) -> bool:
    """Return whether the editable files have a knob, so that the optimiser can work without a model."""
    texts = {path: (directory / path).read_text(encoding="utf-8", errors="replace") for path in editable}
    return len(read_space(texts)) > 0


def next_step(directory: Path, made: list[Path]) -> str:
    """Return the shell line that the user should run next: it commits the lab and starts the night."""
    names = sorted({path.relative_to(directory).parts[0] for path in made})
    force = "-f " if ignored(directory, names) else ""
    place = "" if directory.resolve() == Path.cwd() else f"cd {shlex.quote(str(directory))} && "
    return f"{place}git add {force}{' '.join(names)} && git commit -m 'A lab' && autoresearch-mlx run"
