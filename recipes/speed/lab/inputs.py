"""Make the inputs on which the function is timed and compared.  Change this file for a function of your own."""

FILE, FUNCTION = "overlaps.py", "overlaps"
ORIGINAL = "original"  # folder with the first version of the same file

SPECIAL = [[[]], [[[0, 0]]], [[[0, 5], [5, 9]]], [[[1, 4], [1, 4], [2, 2]]], [[[3, 1], [0, 9]]], [[[-5, 5], [-1, 1]]]]
"""Lists of arguments for edge cases, such as an empty list or an empty interval."""


def make(random, size=300):
    """Return a list of arguments for one call."""
    starts = [random.randrange(20 * size) for _ in range(size)]
    return [[[start, start + random.randrange(200)] for start in starts]]
