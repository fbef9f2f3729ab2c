"""Put the kept kernels of kernel labs into a training script, and take them out again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.setup.kernel_steps import Kept
from autoresearch_mlx.store.ledger import FILE, read
from autoresearch_mlx.targets.kernel.installing import installed_in, switch_of, with_kernel, without_kernel
from autoresearch_mlx.targets.kernel.sliced import function_text
from autoresearch_mlx.targets.kernel.steps import script_text
from autoresearch_mlx.targets.kernel.task import REFERENCE


def install(kept: Sequence[Kept], script: Path, on: bool) -> list[str]:
    """Put kernels into a script; return lines for the user about each kernel.  Raises LabError."""
    was = script_text(script)
    text, lines = was, list[str]()
    for each in kept:
        text = with_kernel(text, each.task, each.candidate.source, script.name, on)
        lines += _known(each, was, script)
    write_script(script, was, text)
    return lines


def _known(kept: Kept, text: str, script: Path) -> Iterator[str]:
    function = kept.task.function
    yield f"{script.name}: the kernel of {kept.words} is installed; {switch_of(function)} is its switch"
    found = [e for e in read(kept.session / FILE).in_step if e.get("number") == kept.experiment.number]
    if expired := kept.expired():
        yield expired
    yield (
        str(found[-1]["words"])
        if found
        else "the kernel's gain for the step is not measured yet; `kernel verify` measures it"
    )
    was = function_text(script_text(kept.lab.root / REFERENCE), function)
    if kept.task.script and function_text(text.replace("\r\n", "\n"), function) != was.replace("\r\n", "\n"):
        yield (
            f"{function}() has changed since the kernel lab was made; at its first call the kernel is compared with the"
            " present function, and if the results differ, the kernel is not used"
        )


def remove(functions: Sequence[str], script: Path) -> list[str]:
    """Take the kernels of these functions out of a script, or all kernels if ``functions`` is empty.

    Returns the functions whose kernels were taken out.  Raises LabError if the script has no installed kernel.
    """
    was = script_text(script)
    wanted = list(functions) or [each.function for each in installed_in(was)]
    if not wanted:
        raise LabError(
            f"{script.name} has no installed kernel", "`autoresearch-mlx kernel install` installs a kept kernel"
        )
    text = was
    for function in wanted:
        text = without_kernel(text, function, script.name)
    write_script(script, was, text)
    return wanted


def write_script(script: Path, was: str, text: str) -> None:
    """Replace a script's text ``was`` by ``text``, completely or not at all; the file keeps its permissions.

    Raises LabError when the file no longer has the text ``was``, when it is write-protected, or when it cannot be
    written.
    """
    script = script.resolve()
    if not script.stat().st_mode & 0o200:
        hint = f"nothing was changed; `chmod u+w {script.name}` makes the script writable"
        raise LabError(f"{script} is write-protected", hint)
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=script.parent, prefix=f".{script.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(text.encode())
        shutil.copymode(script, temporary)
        if script_text(script) != was:
            said = f"another program has just changed {script.name}"
            raise LabError(said, "nothing was written; try again")
        temporary.replace(script)
    except OSError as error:
        raise LabError(f"{script} cannot be written: {error.strerror}", "nothing was changed") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
