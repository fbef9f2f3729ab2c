"""Print the test files for the changes since this branch left main; `make check` runs these test files.

    python scripts/changed_tests.py [BASE]

Committed changes, uncommitted changes and new files count.  A test file is found by the changed file's name:

    autoresearch_mlx/judge/sigma.py           tests/judge/test_sigma*.py
    autoresearch_mlx/agents/chat/calls.py     tests/agents/test_chat_calls*.py, tests/agents/test_calls*.py
    a test file                               itself
    a Markdown page                           tests/test_docs.py

A module without a test file of its name is reported on standard error, because only ``make test`` covers it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePosixPath

PACKAGE = "autoresearch_mlx"


def main(base: str) -> None:
    root = Path(git("rev-parse", "--show-toplevel").strip())
    found: set[str] = set()
    try:
        changed = changed_since(base)
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"cannot tell what changed since {base}: {error.stderr.strip()}\nname another commit: make check BASE=HEAD"
        )
    for name in changed:
        tests = tests_of(PurePosixPath(name), root)
        if not tests and name.startswith(f"{PACKAGE}/") and name.endswith(".py"):
            print(f"no test file is named after {name}: make test covers it", file=sys.stderr)
        found.update(tests)
    print("\n".join(sorted(found)))


def changed_since(base: str) -> list[str]:
    """Return the files that differ from the commit where this branch left ``base``, and the files that git does not
    track."""
    start = git("merge-base", "HEAD", base).strip()
    return [*git("diff", "--name-only", start).splitlines(), *git("ls-files", "-o", "--exclude-standard").splitlines()]


def tests_of(file: PurePosixPath, root: Path) -> list[str]:
    """Return the existing test files for one changed file; all paths are relative to ``root``."""
    if file.suffix == ".md":
        return ["tests/test_docs.py"]
    if file.parts[0] == "tests" and file.name.startswith("test_"):
        return [str(file)] if (root / file).exists() else []
    if file.parts[0] != PACKAGE or file.suffix != ".py" or file.stem == "__init__":
        return []
    rooms = file.parts[1:-1]
    folder = root / "tests" / Path(*rooms[:1])
    names = {file.stem, "_".join((*rooms[1:], file.stem))}
    paths = (path for name in names for path in folder.rglob(f"test_{name}*.py"))
    return [path.relative_to(root).as_posix() for path in paths]


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "main")
