"""The checks that need code.  They run in the scorer's process; the agent cannot read this file."""

import re

from tools import CATALOGUE


def right_total(answer, case):
    """Return whether the answer has one number, the total price of the items that the question names."""
    wanted = sum(int(n) * CATALOGUE[item]["price"] for n, item in re.findall(r"(\d+) of ([A-D]\d\d)", case["input"]))
    numbers = re.findall(r"\d+(?:\.\d+)?", str(answer))
    return len(numbers) == 1 and abs(float(numbers[0]) - wanted) < 0.005
