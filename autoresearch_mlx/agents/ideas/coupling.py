"""Which axes belong together: what lost on one may win after the other has moved."""

from __future__ import annotations

from itertools import combinations

_TOGETHER = (
    # Noise of the gradient: more tokens a step bear a larger rate, and mean fewer steps.
    ("batch", "lr", "schedule", "adam", "muon"),
    # Size: the best rate and the initial scale depend on it, and depth pays for width within a time budget.
    ("depth", "width", "mlp", "lr", "init"),
    # One block of attention: heads share the width; what is seen and how positions are told go together.
    ("width", "attention", "rope"),
    # Decay acts in proportion to the rate, and all along the schedule.
    ("weight_decay", "lr", "schedule"),
    # What flows along the residual stream.
    ("depth", "residual", "value_embedding"),
    # The scale of the logits.
    ("softcap", "lr", "init"),
)
_PAIRS = frozenset(frozenset(pair) for group in _TOGETHER for pair in combinations(group, 2))


def coupled(one: str, other: str) -> bool:
    """Whether a new incumbent on one axis puts what is known of the other in doubt; symmetric."""
    if one == other:
        return True
    first, second = one.split(".")[0], other.split(".")[0]
    if first == second:
        return first != "knob"  # constants that nothing is known of
    return frozenset((first, second)) in _PAIRS
