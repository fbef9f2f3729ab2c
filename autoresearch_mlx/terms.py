"""Format numbers, durations and untrusted text for a terminal.  An unknown value is written as ``-``.

The report and the dashboard format the same numbers in a browser with ``report/assets/words.js``; a test compares the
two.
"""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence

UNKNOWN = "-"
HIDDEN_VALUE, HIDDEN_AMOUNT = 1e-4, 1e-5
"""Limits below which six decimals show too few significant digits: fewer than three of a metric (first limit), or fewer
than two of a difference (second limit)."""

LARGEST_COUNT = 1e10
"""Whole numbers of this size or more are rounded to six significant digits, because columns are too narrow for all of
their digits."""

LOGARITHM = "log_speedup"
"""Name of the metric whose values are natural logarithms of a speed-up.  For this metric, a gain in percent means
nothing."""

# Escape sequences for colours, cursor and window title, which a training script or a model may have written.
_CODES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\r\n]*(?:\x07|\x1b\\)?|\x1b[PX^_][^\x1b\r\n]*(?:\x1b\\)?"
    r"|\x1b[ -/]+[0-~]|\x1b.?"
)
"""Pattern of the escape sequences of ECMA-48 and ECMA-35; ``tput sgr0``, which ends a colour, prints one sequence of
each standard."""


def value(number: float | None) -> str:
    """Format a metric with six decimals.

    A number of 10 or more, or below 0.0001, has six significant digits instead; a whole number has no decimals.
    """
    return UNKNOWN if number is None else _decimals(number, HIDDEN_VALUE, 6)


def amount(number: float | None) -> str:
    """Format a difference of metrics or a standard deviation like a metric, but with three significant digits if it is
    below 0.00001."""
    return UNKNOWN if number is None else _decimals(number, HIDDEN_AMOUNT, 3)


def gain(number: float | None) -> str:
    """Format a difference of metrics, always with its sign; positive is better."""
    if number is None:
        return UNKNOWN
    return amount(number) if number < 0 else f"+{amount(number)}"


def estimate(number: float, deviation: float, digits: int = 2) -> str:
    """Format an estimated gain and its standard deviation, each with ``digits`` significant digits.

    Numbers below a million have no positive exponent.
    """
    sign = "" if number < 0 else "+"
    return f"{sign}{_rounded(number, digits)} ± {_rounded(deviation, digits)}"


def _rounded(number: float, digits: int) -> str:
    short = f"{number + 0.0:.{digits}g}"  # -0.0 must not show its sign
    return f"{float(short):.0f}" if 10 <= abs(float(short)) < 1e6 else short


def _decimals(number: float, hidden: float, digits: int) -> str:
    """Format a number with six decimals, or with ``digits`` significant digits if it is smaller than ``hidden``.

    A number of 10 or more has six significant digits, and a whole number has no decimals.
    """
    size = abs(number)
    if size < LARGEST_COUNT and size == math.floor(size):  # a count of lines, bytes or failed tests
        return f"{number + 0.0:.0f}"  # -0.0 must not show its sign
    if size < hidden:  # a kernel may take 3e-07 seconds
        return f"{number:.{digits}g}"
    return f"{number:.6f}" if size < 10 else f"{number:.6g}"


def count(number: float | None) -> str:
    """Format a whole number with thousands separators."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def tenths(number: float | None) -> str:
    """Format a number with one decimal and thousands separators."""
    return UNKNOWN if number is None else f"{number:,.1f}"


def speed(share: float | None) -> str:
    """Format a speed, which is given as a share of the usual speed: ``62 %``."""
    return UNKNOWN if share is None else f"{100 * share:.0f} %"


def clock(seconds: float | None) -> str:
    """Format seconds as ``h:mm:ss``, or as ``m:ss`` below one hour."""
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(math.floor(max(seconds, 0.0) + 0.5), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def took(seconds: float | None) -> str:
    """Format seconds as ``24.1 s`` below ten minutes, else like :func:`clock`."""
    if seconds is None:
        return UNKNOWN
    return f"{seconds:.1f} s" if seconds < 600 else clock(seconds)


def times_as_fast(gain: float) -> str:
    """Format a gain that is the natural logarithm of a speed-up: ``1.38 times as fast``."""
    return f"{math.exp(min(gain, 100.0)):.3g} times as fast"


def plural(number: int, noun: str) -> str:
    """Format a count with its noun: ``1 run``, ``1,200 runs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def without_codes(text: str) -> str:
    """Return the text without escape sequences: colours, movements of the cursor, window titles."""
    return _CODES.sub("", text) if "\x1b" in text or "\x9b" in text else text


def printable(text: str) -> str:
    """Return the text without the control codes that a terminal would obey; line ends and tabs stay.

    A carriage return, which progress bars use to overwrite a line, counts as a line end.
    """
    text = without_codes(text).replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    return character if character.isprintable() or character in "\n\t" else " "


def one_line(text: str) -> str:
    """Return the printable text with each run of white space replaced by one space."""
    return " ".join(printable(text).split())


def columns(text: str) -> int:
    """Count the terminal columns of a printable line: two for a wide character, none for a combining character."""
    return len(text) if text.isascii() else sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def cut(text: str, width: int) -> str:
    """Cut the text to at most ``width`` columns; an ellipsis stands for the rest."""
    if columns(text) <= width:
        return text
    while text and columns(text) >= width:
        text = text[:-1]
    return f"{text.rstrip()}…" if width > 0 else ""


def pad(text: str, width: int, left: bool = True) -> str:
    """Pad the text with spaces to ``width`` columns: on the right if ``left`` is true, otherwise on the left."""
    space = " " * (width - columns(text))
    return text + space if left else space + text


def wrap(text: str, width: int) -> list[str]:
    """Wrap the text at ``width`` columns between words, never inside a word; the text's own line ends stay."""
    lines = printable(text).expandtabs(4).rstrip().split("\n")
    return [part for line in lines for part in _wrapped(line, width)]


def _wrapped(line: str, width: int) -> list[str]:
    if columns(line) <= width:
        return [line.rstrip()]
    return textwrap.wrap(line, max(width, 1), break_long_words=False, break_on_hyphens=False)


def field(name: str, text: str, width: int, indent: int) -> list[str]:
    """Format a name and a text as lines: the name at the left, the text wrapped from column ``indent`` on."""
    lines = wrap(text.strip() or UNKNOWN, max(width - indent, 20))
    return [f"{'' if i else name:<{indent}}{line}" for i, line in enumerate(lines)]


def table(rows: Sequence[Sequence[str]], left: Sequence[int] = ()) -> list[str]:
    """Format rows of cells as lines, columns two spaces apart; ``left`` has the indices of the left-aligned columns."""
    widths = [max(columns(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(pad(cell, widths[i], i in left) for i, cell in enumerate(row)).rstrip() for row in rows]
