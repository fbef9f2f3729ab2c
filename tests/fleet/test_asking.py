"""A request is repeated when its machine left and came back; the machine's spool has the result."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("distributed", reason="the extra `fleet` is not installed")

from autoresearch_mlx.fleet.engine.client import must_ask_again, why_lost
from autoresearch_mlx.fleet.machines import Machine

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


@pytest.mark.parametrize(
    ("left", "unseen", "said"),
    [(True, 0.5, "attic has left"), (False, 61.0, "attic has not reported for 60 s"), (False, 59.0, None)],
)
def test_a_machine_that_has_left_is_not_waited_for(left: bool, unseen: float, said: str | None) -> None:
    other = Machine("desk", "tls://127.0.0.1:2", True, False, False, None, {})
    why = why_lost((other, replace(other, name="attic", here=False, left=left)), "attic", unseen, 60.0)
    assert (why is None) == (said is None) and (said or "") in (why or "")
    assert why_lost((other,), "attic", 0.5, 60.0) is None, "after a restart of the coordinator it is not known yet"
