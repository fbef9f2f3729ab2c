"""Print how much faster the edited function is than the first version, and the time of one call in seconds.

The first version and the edited one take turns, A B and then B A, on the same inputs, which are new for each call.  The
median of their ratios says how much faster the edited one is, whatever else the machine does.  The number is the
logarithm of this median, because the noise of a ratio grows with the ratio.
"""

import random
from math import exp, log
from statistics import median

import inputs
from caller import both, compare

PAIRS = 20

generator = random.Random()  # not the session's seed: an edit must not know the inputs
first, edited = both()
for version in (first, edited):  # the first call of a process is slower
    version.call(inputs.make(random.Random(0)))
logs, times = [], []
for pair in range(PAIRS):
    arguments = inputs.make(generator)
    order = (first, edited) if pair % 2 == 0 else (edited, first)
    results = {version: version.call(arguments) for version in order}
    (expected, before), (found, after) = results[first], results[edited]
    compare(arguments, expected, found)
    logs.append(log(before / after))
    times.append(before)
first.close()
edited.close()
# The second call of a pair may be quicker, so two pairs in opposite order count together.
gain = median((one + other) / 2 for one, other in zip(logs[::2], logs[1::2], strict=True))
print(f"METRIC log_speedup={gain:.5f}")
print(f"METRIC seconds={exp(-gain) * min(times):.6g}")
print(f"METRIC first_seconds={min(times):.6g}")
