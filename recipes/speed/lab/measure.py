"""Print the time of one call of the edited function, in seconds.

The first version and the edited one take turns (A B, B A, ...) on the same inputs, which are new for each call.  The
median of the ratios of all pairs says how much faster the edited one is, whatever else the machine does; times the best
time of the first version, it is a time in seconds.
"""

import random
from statistics import median

import inputs
from caller import both, compare

PAIRS = 16

generator = random.Random()  # not the session's seed: an edit must not know the inputs
first, edited = both()
for version in (first, edited):  # the first call of a process is slower
    version.call(inputs.make(random.Random(0)))
ratios, times = [], []
for pair in range(PAIRS):
    arguments = inputs.make(generator)
    order = (first, edited) if pair % 2 == 0 else (edited, first)
    results = {version: version.call(arguments) for version in order}
    (expected, before), (found, after) = results[first], results[edited]
    compare(arguments, expected, found)
    ratios.append(after / before)
    times.append(before)
first.close()
edited.close()
print(f"METRIC seconds={median(ratios) * min(times):.6g}")
print(f"METRIC share_of_first={median(ratios):.4g}")
