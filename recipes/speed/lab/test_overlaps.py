"""The tests of overlaps.py."""

import unittest

from overlaps import overlaps


class Overlaps(unittest.TestCase):
    def test_neighbours_that_only_touch_do_not_overlap(self):
        self.assertEqual(overlaps([[0, 5], [5, 9]]), 0)

    def test_each_pair_counts_once(self):
        self.assertEqual(overlaps([[0, 9], [1, 2], [3, 4], [8, 12]]), 3)
        self.assertEqual(overlaps([[1, 4]] * 4), 6)

    def test_no_intervals(self):
        self.assertEqual(overlaps([]), 0)

    def test_the_intervals_stay_as_they_are(self):
        given = [[3, 4], [0, 9]]
        overlaps(given)
        self.assertEqual(given, [[3, 4], [0, 9]])


if __name__ == "__main__":
    unittest.main()
