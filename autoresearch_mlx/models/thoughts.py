"""What a model thought, apart from what it said.

Servers put reasoning into a field of its own, or leave it in the text between tags; a template that opens the tag
itself leaves only the closing one, and a reply that was cut off only the opening one.
"""

from __future__ import annotations

import re

MOST_CHARACTERS = 20_000
_TAGGED = re.compile(r"<think(?:ing)?>(.*?)(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_CLOSED = re.compile(r"(.*?)</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_FENCE = "```"


def split_thoughts(text: str, apart: str = "") -> tuple[str, str]:
    """(what was said, what was thought).  ``apart``: thoughts from a field of their own, which come first.

    Thoughts that come first may hold fences; once something was said, a tag behind a fence is code.  Thoughts
    are capped at ``MOST_CHARACTERS``; the end says how much was left out.
    """
    inline: list[str] = []
    first = _TAGGED.match(text.lstrip()) or _CLOSED.match(text)
    if first is not None:
        inline.append(first[1])
        text = first.string[first.end() :]
    talk, fence, code = text.partition(_FENCE)
    inline += _TAGGED.findall(talk)
    text = _TAGGED.sub("", talk) + fence + code
    thoughts = [part.strip() for part in (apart, *inline)]
    return text.strip() if inline else text, _capped("\n\n".join(filter(None, thoughts)))


def _capped(text: str) -> str:
    left_out = len(text) - MOST_CHARACTERS
    return text if left_out <= 0 else f"{text[:MOST_CHARACTERS]}\n[{left_out} characters left out]"
