"""Draw ``progress.png``, a picture of all experiments in 1200 x 675 pixels, large enough to be read in a post.

Grey dots are discarded experiments, and green dots are kept experiments.  The line steps from one incumbent to the
next.  Red ticks at the lower edge are failures.  karpathy/autoresearch made this kind of picture known.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from autoresearch_mlx import terms
from autoresearch_mlx.experiment import Direction
from autoresearch_mlx.report.page.content import Page, Row
from autoresearch_mlx.report.page.span import worth_showing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; its y axis may point up or down."""

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
    """The size of a label's text, and the point that it labels, in pixels."""

    x: float
    y: float
    width: float
    height: float


def place(labels: Sequence[Label], frame: Box, taken: Sequence[Box] = (), most: int = 14) -> dict[int, Box]:
    """Find room for labels, the most important first, and return their boxes by position in ``labels``.

    No box overlaps another box, the line from a point to another label, or a box of ``taken``.  All boxes are inside
    ``frame``.
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
    """Return the box of the line from a point to its label."""
    x = min(max(label.x, box.left), box.right)
    y = box.low if box.low > label.y else box.high
    return Box(min(x, label.x) - 1, min(y, label.y) + 1, max(x, label.x) + 1, max(y, label.y) - 1)


def _around(label: Label) -> list[Box]:
    """List the places to try for a label, the nearest first: above right, above left, below left, below right, then
    further away."""
    boxes = []
    for gap in (8.0, 26.0, 46.0, 70.0, 100.0, 136.0):
        for up in (True, False):
            for right in (up, not up):
                left = label.x + 4 if right else label.x - 4 - label.width
                low = label.y + gap if up else label.y - gap - label.height
                boxes.append(Box(left, low, left + label.width, low + label.height))
    return boxes


_INCHES, _DPI, _PAD = (12.0, 6.75), 100, 0.15
_GREY, _GREEN, _DARK, _RED, _INK = "#a8adb5", "#1f9d55", "#0f6b37", "#c63d2f", "#2b2f36"
_TITLE = 34
"""Maximum number of columns of a label."""
_CANDIDATES = 60
"""Number of kept experiments that may get a label."""


@dataclass(frozen=True, slots=True)
class _Dot:
    number: int
    value: float
    row: Row


def render_progress(page: Page) -> bytes:
    """Draw the picture as a PNG.  If no experiment has a value, the picture says that nothing was measured."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({"font.size": 11, "font.family": ["DejaVu Sans"], "text.parse_math": False}):
        figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="white")
        figure.set_layout_engine("constrained", w_pad=_PAD, h_pad=_PAD)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _draw(figure, axes, page)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
        return out.getvalue()


def _draw(figure: Figure, axes: Axes, page: Page) -> None:
    _frame(axes, page)
    rows = [_Dot(row.number, row.shown, row) for row in page.experiments if row.shown is not None]
    if not rows:
        axes.text(0.5, 0.5, "nothing measured yet", transform=axes.transAxes, ha="center", color=_INK, size=16)
        return
    ahead = [dot for dot in rows if dot.row.ahead]
    low, high = worth_showing([(dot.value, dot.row.status == "keep") for dot in rows], [dot.value for dot in ahead])
    axes.set_ylim(low, high)
    last = max(row.number for row in page.experiments)
    axes.set_xlim(-0.02 * last - 0.3, last * 1.02 + 0.3)
    kept = [dot for dot in rows if dot.row.status == "keep"]
    _dots(axes, [dot for dot in rows if dot.row.status != "keep"], low, high)
    _steps(axes, kept, last)
    _failures(axes, [row for row in page.experiments if row.value is None and row.status != "discard"])
    _legend(axes, page)
    _labels(figure, axes, kept, [dot for dot in rows if dot.row.status != "keep"])
    _explain(axes, [dot for dot in ahead if low <= dot.value <= high], page.head.direction)


def _explain(axes: Axes, ahead: Sequence[_Dot], direction: Direction) -> None:
    """Write, beside the best dot that is better than the incumbent, why that experiment was not kept."""
    if not ahead:
        return
    best = (min if direction == "min" else max)(ahead, key=lambda dot: dot.value)
    right = best.number > sum(axes.get_xlim()) / 2
    axes.annotate(
        f"#{best.number}: {best.row.ahead}",
        (best.number, best.value),
        xytext=(-7 if right else 7, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        size=8.5,
        color="#6b7078",
    )


def _frame(axes: Axes, page: Page) -> None:
    from matplotlib.ticker import MaxNLocator

    better = "lower" if page.head.direction == "min" else "higher"
    axes.set_title(_title(page), loc="left", color=_INK, size=15, pad=12)
    axes.set_xlabel("experiment", color=_INK)
    level = f", at the level of {page.fleet.machines[0].machine}" if page.fleet else ""
    axes.set_ylabel(f"{terms.cut(terms.one_line(page.head.metric), 40)}{level} ({better} is better)", color=_INK)
    axes.grid(True, color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#c4c8ce")
    axes.tick_params(colors="#4a4f57")
    axes.ticklabel_format(useOffset=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _title(page: Page) -> str:
    standing = page.standing
    words = f"{terms.plural(page.head.experiments, 'experiment')}, {page.head.kept} kept"
    if standing.gain is None or standing.baseline is None or standing.incumbent is None:
        return words
    way = f"{terms.value(standing.baseline.value)} → {terms.value(standing.incumbent.value)}"
    percent = f" ({standing.percent:+.2f} %)" if standing.percent is not None else ""
    return f"{words}: {way}{percent}"


def _dots(axes: Axes, tried: Sequence[_Dot], low: float, high: float) -> None:
    """Draw the experiments that were not kept.

    A value outside the picture becomes a small triangle at the edge.
    """
    size = 34 if len(tried) <= 200 else 16
    seen = [dot for dot in tried if low <= dot.value <= high]
    at, values = [dot.number for dot in seen], [dot.value for dot in seen]
    axes.scatter(at, values, s=size, color=_GREY, alpha=0.75, lw=0, label="discarded")
    above, below = [d.number for d in tried if d.value > high], [d.number for d in tried if d.value < low]
    for edge, marker, outside in ((high, "^", above), (low, "v", below)):
        axes.scatter(outside, [edge] * len(outside), s=size * 0.7, color=_GREY, marker=marker, lw=0, clip_on=False)
    if above or below:
        axes.set_xlabel("experiment (triangles: beyond the picture)", color=_INK)


def _steps(axes: Axes, kept: Sequence[_Dot], last: int) -> None:
    if kept:
        at, values = [dot.number for dot in kept], [dot.value for dot in kept]
        axes.step([*at, last], [*values, values[-1]], where="post", color=_GREEN, linewidth=1.8, alpha=0.9, zorder=3)
        size = 62 if len(kept) <= 60 else 36
        axes.scatter(at, values, s=size, color=_GREEN, ec="white", lw=0.9, zorder=4, label="kept")


def _failures(axes: Axes, failed: Sequence[Row]) -> None:
    if failed:
        axes.scatter(
            [row.number for row in failed],
            [0.012] * len(failed),
            transform=axes.get_xaxis_transform(),
            marker="|",
            s=70,
            color=_RED,
            lw=1.3,
            label="failed",
        )


def _legend(axes: Axes, page: Page) -> None:
    axes.legend(
        loc="upper right" if page.head.direction == "min" else "lower right",
        frameon=True,
        framealpha=0.9,
        edgecolor="none",
        labelcolor=_INK,
        ncols=3,
        handletextpad=0.3,
        columnspacing=1.2,
    )


def _labels(figure: Figure, axes: Axes, kept: Sequence[_Dot], tried: Sequence[_Dot]) -> None:
    """Label the kept experiments with their titles while there is room: first the head, then the largest gains."""
    figure.draw_without_rendering()
    ranked = sorted(kept, key=lambda dot: (dot is not kept[-1], -(dot.row.gain or 0.0)))
    ranked = [dot for dot in ranked if dot.number > 0][:_CANDIDATES]
    texts = [terms.cut(_plain(dot.row.title), _TITLE) for dot in ranked]
    sizes = [_size(figure, axes, text) for text in texts]
    spots = [axes.transData.transform((dot.number, dot.value)) for dot in ranked]
    labels = [Label(x, y, width, height) for (x, y), (width, height) in zip(spots, sizes, strict=True)]
    for at, box in place(labels, _inner(axes), [*_taken(axes, kept, tried), _box(axes.get_legend())]).items():
        _write(axes, texts[at], labels[at], box)


def _write(axes: Axes, text: str, label: Label, box: Box) -> None:
    from matplotlib.patheffects import withStroke

    back = axes.transData.inverted()
    nearest_x = min(max(label.x, box.left), box.right)
    nearest_y = box.low if box.low > label.y else box.high
    line = back.transform([(label.x, label.y), (nearest_x, nearest_y)])
    if abs(nearest_y - label.y) > 12:
        axes.plot(line[:, 0], line[:, 1], color=_DARK, linewidth=0.7, alpha=0.45, zorder=2)
    x, y = back.transform((box.left, box.low))
    halo = [withStroke(linewidth=3, foreground="white")]
    axes.text(x, y, text, size=9.5, color=_DARK, ha="left", va="bottom", zorder=5, path_effects=halo)


def _plain(title: str) -> str:
    """Replace characters that the font lacks and would show as empty boxes."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family="DejaVu Sans")))
    return "".join(c if font.get_char_index(ord(c)) else "?" for c in title)


def _size(figure: Figure, axes: Axes, text: str) -> tuple[float, float]:
    drawn = axes.text(0, 0, text, size=9.5)
    box = drawn.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
    drawn.remove()
    return box.width + 4, box.height + 2


def _inner(axes: Axes) -> Box:
    frame = axes.get_window_extent()
    return Box(frame.x0 + 4, frame.y0 + 16, frame.x1 + 6, frame.y1)


def _box(artist: Any) -> Box:
    drawn = artist.get_window_extent()
    return Box(drawn.x0, drawn.y0, drawn.x1, drawn.y1)


def _discarded(axes: Axes, tried: Sequence[_Dot]) -> list[Box]:
    """Return the boxes of the dots that were not kept.

    If there are many dots, they are small and a label may cover them, so no box is returned.
    """
    if len(tried) > 200:
        return []
    points = [axes.transData.transform((dot.number, dot.value)) for dot in tried]
    return [Box(x - 4, y - 4, x + 4, y + 4) for x, y in points]


def _taken(axes: Axes, kept: Sequence[_Dot], tried: Sequence[_Dot]) -> list[Box]:
    """Return the boxes that labels must avoid: the boxes of the dots, and of the line between kept dots."""
    if not kept:
        return []
    points = [axes.transData.transform((dot.number, dot.value)) for dot in kept]
    dots = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    dots += _discarded(axes, tried)
    pairs = list(pairwise(points))
    flat = [Box(x0, y0 - 1, x1, y0 + 1) for (x0, y0), (x1, _) in pairs]
    steep = [Box(x1 - 1, min(y0, y1), x1 + 1, max(y0, y1)) for (_, y0), (x1, y1) in pairs]
    right = axes.get_window_extent().x1
    return [*dots, *flat, *steep, Box(points[-1][0], points[-1][1] - 1, right, points[-1][1] + 1)]
