"""Whether a model read the whole prompt, by the server's count of its tokens."""

from __future__ import annotations

import pytest

from autoresearch_mlx.models.wire import TokenMeter, cut_short


@pytest.mark.parametrize(
    ("expected", "count", "context", "measured", "cut"),
    [
        (8000, 8100, 12288, False, False),
        (8000, 4100, 12288, False, False),
        (8000, 3900, 12288, False, True),
        (8000, 6900, 12288, True, False),
        (8000, 6700, 12288, True, True),
        (8000, 4096, 4096, False, True),
        (4000, 4095, 4096, True, True),
        (4000, 4094, 4096, True, False),
        (8000, None, 4096, True, False),
        (8000, 0, 4096, True, False),
        (8000, 3900, None, False, True),
        (900, 10, None, False, False),
    ],
)
def test_a_count_shows_a_cut(
    expected: float, count: int | None, context: int | None, measured: bool, cut: bool
) -> None:
    assert cut_short(expected, count, context, measured) is cut


def test_a_meter_learns_from_whole_calls_and_then_judges_tightly() -> None:
    meter = TokenMeter()
    assert meter.missing(8000, 4500, 8192) == ""  # the prompt may have been cut, so nothing is learned
    assert meter.share is None
    assert meter.missing(2500, 2250, 8192) == ""
    assert meter.share == 0.9
    assert meter.missing(8000, 6200, 12288) == ""
    assert meter.missing(8000, 6000, 12288) == (
        "the model read 6000 tokens of a prompt of about 7200, in a context of 12288"
    )


def test_a_meter_keeps_the_least_share_seen_and_never_expects_more_than_the_estimate() -> None:
    meter = TokenMeter()
    shares = [meter.missing(2000, count, 8192) or meter.share for count in (2500, 1800, 2000)]
    assert shares == [1.0, 0.9, 0.9]
