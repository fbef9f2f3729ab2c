"""An editable file before the edit, prepared once for all proposals of a reply."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate

from autoresearch_mlx.agents.edits.gate import parse
from autoresearch_mlx.agents.edits.survey import Survey, survey
from autoresearch_mlx.lab.source import Knob, read_knobs


class Original:
    """``text`` has line feeds only; :meth:`restored` gives a new text the line ends of the old one."""

    def __init__(self, path: str, raw: str) -> None:
        self.path, self.raw = path, raw
        # Only where every line ends so: a mixed file keeps each of its line ends.
        self._crlf = "\r" in raw and raw.count("\r\n") == raw.count("\n") == raw.count("\r")
        self.text = raw.replace("\r\n", "\n") if self._crlf else raw

    def restored(self, text: str) -> str:
        return text.replace("\n", "\r\n") if self._crlf else text

    @property
    def is_python(self) -> bool:
        return self.path.endswith((".py", ".pyi"))

    @cached_property
    def lines(self) -> list[str]:
        lines = self.text.split("\n")
        return lines[:-1] if lines[-1] == "" else lines

    @cached_property
    def folded(self) -> list[str]:
        return [folded(line) for line in self.lines]

    @cached_property
    def starts(self) -> list[int]:
        """Where each line begins in ``text``, and where one more would."""
        return list(accumulate((len(line) + 1 for line in self.lines), initial=0))

    @cached_property
    def knobs(self) -> Mapping[str, Knob]:
        return read_knobs(self.text) if self.is_python else {}

    @cached_property
    def tree(self) -> ast.Module | None:
        """None: not Python, or not parsable as it is."""
        found = parse(self.text) if self.is_python else ""
        return found if isinstance(found, ast.Module) else None

    @cached_property
    def survey(self) -> Survey:
        return survey(self.tree) if self.tree is not None else Survey()


def folded(line: str) -> str:
    """A line with single blanks between its words and none around them."""
    return " ".join(line.split())
