"""What `gc` freed and what `archive` wrote, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from autoresearch_mlx import terms
from autoresearch_mlx.setup.archive.pack import Packed
from autoresearch_mlx.store.removed import KINDS, Item

_WORDS = {
    "weights": "weights",
    "runs": "folders of runs, logs included",
    "talks": "talks with models",
    "refs": "refs of experiments that were not kept",
    "worktree": "the worktree; the next run makes it anew",
    "leftovers": "left by killed processes",
}


def size(count: int) -> str:
    """Bytes in the unit that shows them best: ``812 B``, ``1.2 MB``."""
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count} B"


def gc_json(found: Mapping[str, Sequence[Item]], dry_run: bool) -> dict[str, Any]:
    sessions = [
        {"session": tag, "bytes": _bytes(items), "items": [asdict(item) for item in items]}
        for tag, items in found.items()
    ]
    return {"dry_run": dry_run, "bytes": sum(_bytes(items) for items in found.values()), "sessions": sessions}


def gc_lines(found: Mapping[str, Sequence[Item]], dry_run: bool) -> str:
    """A line for each session, and one for each kind below it."""
    verb = "would free" if dry_run else "freed"
    lines: list[str] = []
    for tag, items in found.items():
        if not items:
            lines.append(f"session {tag}: nothing to free")
            continue
        lines.append(f"session {tag}: {verb} {terms.plural(len(items), 'item')}, {size(_bytes(items))}")
        kinds = {kind: [item for item in items if item.kind == kind] for kind in KINDS}
        rows = [(str(len(some)), _size_of(some), _WORDS[kind]) for kind, some in kinds.items() if some]
        lines += [f"  {line}" for line in terms.table(rows, left=(2,))]
    return "\n".join(lines) or "nothing to free"


def _bytes(items: Sequence[Item]) -> int:
    return sum(item.bytes or 0 for item in items)


def _size_of(items: Sequence[Item]) -> str:
    """Unknown where no item's is known."""
    return size(_bytes(items)) if any(item.bytes is not None for item in items) else terms.UNKNOWN


def packed_json(packed: Packed) -> dict[str, Any]:
    return {**asdict(packed), "file": str(packed.file)}


def packed_lines(tag: str, packed: Packed) -> str:
    head = f"{packed.file}: session {tag}, {terms.plural(packed.experiments, 'experiment')}"
    lines = [f"{head}, {terms.plural(packed.refs, 'ref')}, {size(packed.bytes)}"]
    lines += [f"left out: {left.name} ({size(left.bytes)}): {left.why}" for left in packed.left_out]
    return "\n".join(lines)
