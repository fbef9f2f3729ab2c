"""Count overlapping intervals.  The loop may edit this file; test_overlaps.py and same_output.py say what must stay."""


def overlaps(intervals):
    """Return how many pairs of intervals [start, end) have a common point; an empty interval has none."""
    count = 0
    for i in range(len(intervals)):
        for j in range(i + 1, len(intervals)):
            start = max(intervals[i][0], intervals[j][0])
            end = min(intervals[i][1], intervals[j][1])
            if start < end:
                count += 1
    return count
