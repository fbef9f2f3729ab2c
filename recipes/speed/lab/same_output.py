"""Compare the edited function with the first version on new inputs of many sizes: a check of this lab."""

import random

import inputs
from caller import both, compare

generator = random.Random()
cases = [*inputs.SPECIAL, *(inputs.make(generator, size) for size in (1, 2, 3, 5, 8, 13, 21, 34, 89, 144, 377, 700))]
first, edited = both()
for arguments in cases:
    expected, _ = first.call(arguments)
    found, _ = edited.call(arguments)
    compare(arguments, expected, found)
first.close()
edited.close()
