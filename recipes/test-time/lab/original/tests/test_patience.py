"""Tests of trying again."""

import pytest
from store import patiently


def failing(times):
    """Return an action that fails a number of times and then returns 7."""
    left = [OSError("no answer")] * times

    def action():
        if left:
            raise left.pop()
        return 7

    return action


def test_an_action_that_works_is_not_repeated():
    assert patiently(failing(0)) == 7


def test_an_action_is_tried_again():
    assert patiently(failing(2)) == 7


def test_the_last_error_is_told():
    with pytest.raises(OSError):
        patiently(failing(3))
