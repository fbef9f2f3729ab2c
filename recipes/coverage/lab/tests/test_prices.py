"""Tests of prices.py.  The loop may edit the files of this folder and add new ones."""

import prices


def test_discount():
    assert prices.discount(50, False) == 50
    assert prices.discount(100, False) == 95
    assert prices.discount(500, True) == 440
