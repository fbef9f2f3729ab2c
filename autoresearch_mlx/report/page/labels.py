"""Where labels go so that none covers another: greedy, the most important first, fewer where it is crowded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; y may point either way."""

    left: float
    low: float
    right: float
    high: float

    def meets(self, other: Box) -> bool:
        return self.left < other.right and other.left < self.right and self.low < other.high and other.low < self.high

    def inside(self, other: Box) -> bool:
        return (
            other.left <= self.left and self.right <= other.right and other.low <= self.low and self.high <= other.high
        )


@dataclass(frozen=True, slots=True)
class Label:
    """A text of a size that belongs to a point; all in pixels."""

    x: float
    y: float
    width: float
    height: float


def place(labels: Sequence[Label], frame: Box, taken: Sequence[Box] = (), most: int = 14) -> dict[int, Box]:
    """Boxes of the labels that found room, by their position in ``labels``, most important first.

    None of them meets another one, the line that leads to another one, or a box of ``taken``; all lie inside ``frame``.
    """
    placed: dict[int, Box] = {}
    leads: list[Box] = []
    for at, label in enumerate(labels):
        if len(placed) == most:
            break
        for box in _around(label):
            lead = lead_of(label, box)
            others = (*placed.values(), *leads)
            crossing = any(lead.meets(other) for other in placed.values())
            if box.inside(frame) and not crossing and not any(box.meets(other) for other in (*taken, *others)):
                placed[at] = box
                leads.append(lead)
                break
    return placed


def lead_of(label: Label, box: Box) -> Box:
    """What the line from the point to the nearest place of its label takes up."""
    x = min(max(label.x, box.left), box.right)
    y = box.low if box.low > label.y else box.high
    return Box(min(x, label.x) - 1, min(y, label.y) + 1, max(x, label.x) + 1, max(y, label.y) - 1)


def _around(label: Label) -> list[Box]:
    """Places for a label, the nearest first: above right, above left, below left, below right, further off."""
    boxes = []
    for gap in (8.0, 26.0, 46.0, 70.0, 100.0, 136.0):
        for up in (True, False):
            for right in (up, not up):
                left = label.x + 4 if right else label.x - 4 - label.width
                low = label.y + gap if up else label.y - gap - label.height
                boxes.append(Box(left, low, left + label.width, low + label.height))
    return boxes
