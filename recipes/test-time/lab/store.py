"""A small store of things, slow in two ways of real programs: it connects, and it waits before it tries again."""

import time

OPENING = 0.04  # seconds; stands for a connection to a database


class Store:
    """Things by name, with their number and price."""

    def __init__(self):
        time.sleep(OPENING)
        self.things = {}

    def put(self, name, number, price):
        """Add a number of things; a thing that is there gets the new price."""
        if number < 0:
            raise ValueError(f"{number} things")
        before = self.things.get(name, (0, 0))[0]
        self.things[name] = (before + number, price)

    def take(self, name, number):
        """Take things away, and return what they cost."""
        there, price = self.things.get(name, (0, 0))
        if number > there:
            raise LookupError(f"{there} of {name}, and {number} are wanted")
        self.things[name] = (there - number, price)
        return number * price

    def worth(self):
        """Return the price of everything."""
        return sum(number * price for number, price in self.things.values())

    def scarce(self, least=1):
        """Return the names of things of which fewer than ``least`` are there."""
        return sorted(name for name, (number, _) in self.things.items() if number < least)


def patiently(action, tries=3, wait=0.08):
    """Return what the action returns; after an OSError, wait and try again, each time twice as long."""
    for number in range(tries):
        try:
            return action()
        except OSError:
            if number == tries - 1:
                raise
            time.sleep(wait * 2**number)
