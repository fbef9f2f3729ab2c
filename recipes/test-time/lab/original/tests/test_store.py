"""Tests of the store."""

import pytest


def test_worth(store):
    assert store.worth() == 35


def test_put_adds(store):
    store.put("apple", 1, 4)
    assert store.things["apple"] == (11, 4)
    assert store.worth() == 59


def test_put_a_new_thing(store):
    store.put("fig", 2, 5)
    assert store.worth() == 45


def test_nobody_puts_less_than_nothing(store):
    with pytest.raises(ValueError):
        store.put("fig", -1, 5)


def test_take(store):
    assert store.take("pear", 2) == 6
    assert store.things["pear"] == (3, 3)


def test_nobody_takes_what_is_not_there(store):
    with pytest.raises(LookupError):
        store.take("pear", 6)
    assert store.worth() == 35


def test_scarce(store):
    store.take("pear", 5)
    assert store.scarce() == ["pear"]
    assert store.scarce(11) == ["apple", "pear"]
