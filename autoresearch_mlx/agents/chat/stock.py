"""Edits that came with another one in the same reply, kept until their turn comes.

They are kept as the model wrote them and read again against the files of that day: after a keep a search
text may no longer be there, and then the edit is let go.  A restart forgets them; that costs a call.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoresearch_mlx.agents.edits.reply import Edit, read_reply


class Stock:
    """First in, first out."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, int]] = []

    def put(self, reply: str, others: int) -> None:
        """The ``others`` edits that follow the first of a reply."""
        self._waiting += [(reply, index) for index in range(1, others + 1)]

    def pick(self, files: Mapping[str, str]) -> Edit | None:
        """The next edit that still fits these files; what fits no more is dropped."""
        while self._waiting:
            reply, index = self._waiting.pop(0)
            edits = read_reply(reply, files)
            if index < len(edits) and edits[index].files and not edits[index].problem:
                return edits[index]
        return None
