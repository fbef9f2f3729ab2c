"""Explain each ``# knob:`` comment that has no effect, with its file, its line and the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from autoresearch_mlx.agents.knobs.ranges import is_seed, range_in_comment
from autoresearch_mlx.lab.range_comments import unread_comments
from autoresearch_mlx.lab.source import Knob, read_knobs

FORMS = "log LOW HIGH, lin LOW HIGH, int LOW HIGH, pow2 LOW HIGH, choice A B C, or fixed"


def notes_on_ranges(files: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence for each range comment that has no effect; ``files`` is ``{path: text}``."""
    return tuple(
        f"{path}, line {line}: the comment `# knob:` has no effect: {reason}"
        for path in sorted(files)
        if path.endswith(".py")
        for line, reason in sorted(_notes(files[path]))
    )


def _notes(text: str) -> Iterator[tuple[int, str]]:
    for unread in unread_comments(text):
        yield unread.line, unread.reason
    for knob in read_knobs(text).values():
        if knob.commented and (reason := _unused(knob)):
            yield knob.commented, reason


def _unused(knob: Knob) -> str:
    """Return why the range comment of a knob is not used, or an empty string when the comment is used."""
    if knob.kind == "fixed" or (range_in_comment(knob) is not None and not is_seed(knob.name)):
        return ""
    if is_seed(knob.name):
        return f"{knob.name} is a seed, which no experiment may change"
    written = " ".join([str(knob.kind), *knob.words])
    return f"`{written}` gives no range for {knob.name} = {knob.value!r}; write {FORMS}, with LOW below HIGH"
