"""A request is repeated when its machine left and came back; the machine's spool has the result."""

from __future__ import annotations

import pytest

pytest.importorskip("distributed", reason="the extra `fleet` is not installed")

from autoresearch_mlx.fleet.engine.client import must_ask_again

BEFORE, AFTER = "tls://10.0.0.2:4001", "tls://10.0.0.2:4002"


@pytest.mark.parametrize(
    ("status", "address", "again"),
    [
        ("pending", BEFORE, False),
        ("finished", BEFORE, False),
        ("pending", AFTER, True),
        ("finished", AFTER, True),
        ("error", BEFORE, True),
        ("lost", BEFORE, True),
        ("cancelled", BEFORE, True),
    ],
)
def test_a_request_that_cannot_be_answered_is_repeated(status: str, address: str, again: bool) -> None:
    assert must_ask_again(status, BEFORE, address) == again
