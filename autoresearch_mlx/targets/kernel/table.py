"""Write a profile as a table for a terminal, and as a picture of bars."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from autoresearch_mlx.targets.kernel.operations import Shape
from autoresearch_mlx.targets.kernel.profile import FunctionRow, Profile, Row
from autoresearch_mlx.terms import cut, plural, table, wrap

_SAME_WITHIN = 0.25
"""If the replays and the measured step differ by more than this share of the step, the table explains the
difference."""


def lines(profile: Profile, top: int, width: int) -> Iterator[str]:
    """Yield the profile's lines; ``top`` is the number of rows of operations."""
    what = "training step" if profile.mode == "step" else "forward pass"
    kind = "processor time" if profile.clock == "processor" else "time"
    yield f"{profile.script}, one {what} on {profile.chip}, MLX {profile.mlx}; times are {kind}"
    if profile.sizes:
        yield from wrap(profile.sizes, width)
    yield ""
    yield from _operations(profile.rows[:top], width)
    rest = profile.rows[top:]
    if rest:
        share = sum(row.share or 0.0 for row in rest)
        yield f"{plural(len(rest), 'more row')} with {share:.1f} % together (--top {len(profile.rows)} shows all)"
    yield ""
    yield from sums(profile)
    if profile.functions:
        yield ""
        yield "functions of the script (a function may contain others; `kernel extract f1` makes a lab for f1)"
        yield from _functions(profile.functions, width)
    for note in profile.notes:
        yield f"note: {note}"


def sums(profile: Profile) -> Iterator[str]:
    """Yield lines that compare the sum of the replays with the measured step, and explain the difference."""
    step, total = profile.step_seconds, profile.replayed_seconds
    share = 100 * total / step if step else 0.0
    yield f"replays together {_ms(total)} ms, measured {profile.mode} {_ms(step)} ms ({share:.0f} %)"
    missing = [row for row in profile.rows if row.seconds is None]
    if missing:
        names = ", ".join(sorted({row.op for row in missing}))
        yield f"not replayed, so without a time: {plural(sum(row.calls for row in missing), 'call')} of {names}"
    if abs(profile.remainder) <= _SAME_WITHIN * step:
        return
    if profile.remainder > 0:
        built = f"building the graph takes {_ms(profile.building_seconds)} ms"
        said = f"{built}; the rest is starting the operations, fresh memory, and what was not replayed"
    else:
        said = "within the step, operations are fused or find their inputs in a cache; replayed alone, they are not"
    yield f"remainder {_ms(profile.remainder)} ms: {said}"


def _operations(rows: tuple[Row, ...], width: int) -> Iterator[str]:
    head = ["", "op", "shapes", "dtype", "calls", "ms", "share", "sum", "best gain"]
    cells = [
        [
            str(row.number),
            row.op,
            cut(_shapes(row.shapes), max(20, width - 70)),
            row.dtype,
            str(row.calls),
            _ms(row.seconds),
            _percent(row.share),
            _percent(row.cumulative),
            _percent(row.gain),
        ]
        for row in rows
    ]
    yield from table([head, *cells], left=(1, 2, 3))


def _functions(rows: tuple[FunctionRow, ...], width: int) -> Iterator[str]:
    head = ["", "function", "shapes", "dtype", "gradient", "calls", "ms", "of step", "best gain"]
    cells = [
        [
            row.name,
            row.function,
            cut(_shapes(row.shapes), max(20, width - 74)),
            row.dtype,
            "with" if row.differentiated else "without",
            str(row.calls),
            _ms(row.seconds),
            _percent(row.share),
            _percent(row.gain),
        ]
        for row in rows
    ]
    yield from table([head, *cells], left=(0, 1, 2, 3, 4))


def _shapes(shapes: tuple[Shape, ...]) -> str:
    return ", ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.3f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1f} %"


def picture(profile: Profile, top: int = 20) -> str:
    """Return a bar chart as SVG: a bar shows the share of a row, and its darker part shows what can still be gained."""
    rows = [row for row in profile.rows[:top] if row.share is not None]
    bar, left, wide = 22, 330, 420
    height = 60 + bar * len(rows)
    most = max((row.share or 0.0 for row in rows), default=1.0) or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 80}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="22" font-size="14">{escape(_title(profile))}</text>',
        '<text x="10" y="40" fill="#555">bar: percent of all replays; dark: what can still be gained</text>',
    ]
    for at, row in enumerate(rows):
        y = 50 + at * bar
        share, gain = row.share or 0.0, row.gain or 0.0
        name = escape(cut(f"{row.number}  {row.op} {_shapes(row.shapes)}", 46))
        parts += [
            f'<text x="10" y="{y + 14}">{name}</text>',
            f'<rect x="{left}" y="{y + 3}" width="{wide * share / most:.1f}" height="{bar - 6}" fill="#a9c7e8"/>',
            f'<rect x="{left}" y="{y + 3}" width="{wide * gain / most:.1f}" height="{bar - 6}" fill="#2f6db3"/>',
            f'<text x="{left + wide * share / most + 6:.1f}" y="{y + 14}">{share:.1f} %</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _title(profile: Profile) -> str:
    what = "training step" if profile.mode == "step" else "forward pass"
    return f"{profile.script}: one {what}, {_ms(profile.step_seconds)} ms, MLX {profile.mlx}"
