"""Return the text that is judged, if it states all facts.  Only copy.md is editable."""

import re
from pathlib import Path

LONGEST = 150  # words


def run(question, tools):
    """Return copy.md as a reader sees it.  Raises ValueError when a fact is gone or the text is too long."""
    text = re.sub(r"<!--.*?-->", "", Path("copy.md").read_text(encoding="utf-8"), flags=re.DOTALL).strip()
    found = squeezed(text)
    for fact in Path("facts.txt").read_text(encoding="utf-8").splitlines():
        if fact.strip() and squeezed(fact) not in found:
            raise ValueError(f"the fact {fact.strip()!r} is gone")
    if (words := len(text.split())) > LONGEST:
        raise ValueError(f"the text has {words} words; at most {LONGEST} are allowed")
    return text


def squeezed(text):
    """Return a text in lower case with single spaces, without marks of emphasis."""
    return " ".join(re.sub(r"[*_`]", "", text).casefold().split())
