"""Define the fixtures that the tests share.  The loop may edit the files of this folder."""

import pytest
from store import Store


@pytest.fixture
def store():
    """Return a store with apples and pears."""
    filled = Store()
    filled.put("apple", 10, 2)
    filled.put("pear", 5, 3)
    return filled
