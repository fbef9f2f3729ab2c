"""Measure how much kernels speed up the whole training step, by timing two versions of a script in new processes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.targets.kernel.children import Surroundings, asked
from autoresearch_mlx.targets.kernel.pairs import ratio
from autoresearch_mlx.targets.kernel.request import Steps

_BLOCK_SECONDS = 0.25
_SECONDS = 900.0
"""Longest time of one process, in seconds."""
MOST_APART = 0.01
"""Two versions count as equal if their first losses differ by at most this share of the loss."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The two versions of a script to compare, and the sizes of the script's inputs."""

    name: str
    """The script's file name."""
    folder: Path
    """The script's folder, which both versions may read."""
    plain: str
    """Text of the script without the kernels."""
    changed: str
    """Text of the script with the kernels."""
    functions: tuple[str, ...]
    vocab_size: int
    seq_len: int


@dataclass(frozen=True, slots=True)
class Blocks:
    """The measurements of all processes."""

    logs: tuple[float, ...]
    """One number for each process: the median of ln(seconds of a plain step / seconds of a step with kernels) over
    its pairs."""
    plain_seconds: float
    seconds: float
    """Median seconds of one step with the kernels; ``plain_seconds`` is the median without the kernels."""
    pairs: int
    """Number of pairs of blocks in each process."""
    steps: int
    """Number of timed steps in a block."""
    apart: float | None
    """Largest difference between the losses of the first steps, as a share of the loss, or None if a loss is not
    finite."""
    partly: str = ""
    """A sentence about functions that the step also calls without their kernel, with the reason.  The string is empty
    if there are no such functions."""
    unused: str = ""
    """Why the step does not seem to use a kernel; such a step is not measured.  The string is empty if the step uses
    every kernel."""


def blocks_of(
    versions: Versions, around: Surroundings, processes: int, pairs: int, seed: int, said: Callable[[int], None]
) -> Blocks:
    """Time both versions; ``said`` is called before each process starts, with the number of the process.

    Raises LabError if the script cannot be run.
    """
    found: list[Mapping[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="autoresearch-kernel-") as made:
        folder = Path(made).resolve()
        paths = [folder / "plain" / versions.name, folder / "changed" / versions.name]
        for path, text in zip(paths, (versions.plain, versions.changed), strict=True):
            path.parent.mkdir()
            path.write_text(text, encoding="utf-8", newline="")
        for number in range(processes):
            said(number + 1)
            request = Steps(
                str(paths[0]),
                str(paths[1]),
                list(versions.functions),
                around.device,
                versions.vocab_size,
                versions.seq_len,
                pairs,
                _BLOCK_SECONDS,
                seed + number,
            )
            found.append(asked(around, "steps", request.to_json(), [folder, versions.folder], _SECONDS))
            if "unused" in found[-1]:
                return Blocks((), 0.0, 0.0, pairs, 0, None, unused=str(found[-1]["unused"]))
    return _summed(found, pairs)


def _summed(found: Sequence[Mapping[str, Any]], pairs: int) -> Blocks:
    ratios = [ratio(each["plain"], each["changed"]) for each in found]
    middle = sorted(ratios, key=lambda each: each.log)[len(ratios) // 2]
    apart = [each["apart"] for each in found]
    return Blocks(
        tuple(each.log for each in ratios),
        middle.theirs,
        middle.ours,
        pairs,
        min(each["steps"] for each in found),
        None if None in apart else max(apart),
        _partly(found[-1]["uses"]),
    )


def _partly(uses: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a sentence on the functions that a step also calls without their kernel.  The string is empty if there are
    none."""
    said = []
    for name, each in uses.items():
        if each["plain"]:
            share = 100 * each["kernel"] / (each["kernel"] + each["plain"])
            said.append(f"the kernel runs in {share:.0f} % of the calls of {name}; in the other calls, {each['why']}")
    return "; ".join(said)


def script_text(path: Path) -> str:
    """Return a script's text with unchanged line ends.  Raises LabError if the file cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LabError(f"{path} is not UTF-8 text", "save it as UTF-8") from None
