"""Whether a model read the whole prompt: the server's own count of its tokens against what was to be expected.

Local servers cut a prompt that is too long for the loaded context, and answer as if nothing had happened: the
oldest messages go, or the middle, or everything before the last half of the context.
"""

from __future__ import annotations

UNMEASURED = 0.5
"""Least share of our estimate that a count must reach before this model's tokens are known."""
MEASURED = 0.85
"""The same share of what whole calls have shown to be true of this model."""
SMALLEST = 1024
"""Tokens of a prompt that fits whatever was loaded: no server loads less than twice that by itself."""
_CLEARLY = 0.8


def cut_short(expected: float, count: int | None, context: int | None, measured: bool) -> bool:
    """Whether the count shows that part of the prompt was not read; an unknown count shows nothing.

    All arguments are in tokens.  A prompt that fills its context leaves no room to answer: it was cut to fit.
    """
    if not count:  # servers leave it out, or say 0, when the prompt was still in their cache
        return False
    if context is not None and count + 1 >= context:
        return True
    return expected > SMALLEST and count < expected * (MEASURED if measured else UNMEASURED)


class TokenMeter:
    """Learns what share of our estimate one model's prompts really have, from calls that were clearly whole.

    A share of the estimate, not characters per token: the estimate knows digits and other scripts already.
    """

    def __init__(self) -> None:
        self._least: float | None = None

    @property
    def share(self) -> float | None:
        """The least seen, at most 1: a text of few tokens must not look like a cut prompt.  ``None`` at first."""
        return self._least

    def missing(self, estimate: int, count: int | None, context: int | None) -> str:
        """What was not read, in words with both numbers; empty when nothing is known to be missing."""
        expected = estimate * (self._least or 1.0)
        if cut_short(expected, count, context, self._least is not None):
            room = f" in a context of {context}" if context is not None else ""
            return f"the model read {count} tokens{room} of a prompt of about {round(expected)}"
        if count and estimate > 0 and _clearly_whole(estimate, count, context):
            self._least = min(self._least or 1.0, count / estimate)
        return ""


def _clearly_whole(estimate: int, count: int, context: int | None) -> bool:
    """A cut leaves half of a context or nearly all of it; a count far below either, with room to spare, is whole."""
    roomy = context is not None and estimate < context and count < 0.4 * context
    return count >= _CLEARLY * estimate or roomy
