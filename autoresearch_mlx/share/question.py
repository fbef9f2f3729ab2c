"""Hash a session's question and an edit, so that labs notice when they ask the same question or try the same edit.

Two labs ask the same question when they improve the same metric under the same conditions.  The machine is not part
of the question, because an edit that wins on one machine is worth trying on another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from autoresearch_mlx.experiment import KnobChanges
from autoresearch_mlx.lab.source import changed_knobs, fingerprint, only_knobs_differ
from autoresearch_mlx.share.personal import without_folders
from autoresearch_mlx.store.git import git
from autoresearch_mlx.store.ledger import Journal

_OF_THE_MACHINE = frozenset(
    {"device", "machine", "chip", "gpu", "gpu_cores", "blas", "mlx", "mlx_wheel", "os", "python"}
)
"""The parts of a comparability key that describe the machine."""


def question_of(parts: Mapping[str, Any], target: str, root: Path) -> str:
    """Return the hash of a question, twelve hexadecimal digits, from the ``parts`` of a comparability key.

    If the target is a program, its command line identifies the question poorly, so the first commit of the lab's
    repository is included too.  With that commit, clones of one project have the same hash, and two projects that both
    have a ``bench.py`` have different hashes.
    """
    asked = {name: part for name, part in parts.items() if name not in _OF_THE_MACHINE}
    first = None if asked.get("data") is not None else _first_commit(root)
    return _digest({"target": target, "first": first, **asked})[:12]


def question_here(parts: Mapping[str, Any], journal: Journal, root: Path) -> str:
    """Return the hash of a session's question, from the parts of its runs' comparability key.

    Only the last name of an absolute path goes into the hash, because Python lies in a different folder in each lab.
    """
    plain = {name: without_folders(part) if isinstance(part, str) else part for name, part in parts.items()}
    return question_of(plain, str(journal.session["target"]), root)


@lru_cache(maxsize=8)  # the first commit of a repository does not change
def _first_commit(root: Path) -> str | None:
    commits = git(root, "rev-list", "--max-parents=0", "HEAD").split()
    return commits[-1] if commits else None


def tried_by_knobs(question: str, knobs: KnobChanges) -> str:
    """Return the hash, sixteen hexadecimal digits, of an edit that sets these knobs to new values."""
    return _digest({"question": question, "knobs": {name: list(change) for name, change in knobs.items()}})[:16]


def tried_by_code(question: str, fingerprint: str) -> str:
    """Return the hash of an edit of code, sixteen hexadecimal digits; ``fingerprint`` is the fingerprint of the
    edited files."""
    return _digest({"question": question, "files": fingerprint})[:16]


def tried(question: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the hash of an edit, sixteen hexadecimal digits; ``before`` has all files, and ``after`` the changed
    files."""
    if knobs := knobs_alone(before, after):
        return tried_by_knobs(question, knobs)
    return tried_by_code(question, fingerprint({**before, **after}))


def knobs_alone(before: Mapping[str, str], after: Mapping[str, str]) -> KnobChanges:
    """Return the knobs that an edit changes, or an empty table if the edit also changes other text."""
    if not all(path in before and only_knobs_differ(before[path], text) for path, text in after.items()):
        return {}
    return {name: c for path, text in after.items() for name, c in changed_knobs(before[path], text).items()}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()
