"""Prices of a small shop.  The tests in tests/ should reach all of it, and notice when it is wrong."""


def discount(total, member):
    """Return the price after the discount: 5 % for 100 or more, 10 % for 500 or more, and 2 % more for members."""
    percent = 0
    if total >= 500:
        percent = 10
    elif total >= 100:
        percent = 5
    if member:
        percent += 2
    return total * (100 - percent) / 100


def shipping(weight, country):
    """Return the cost of a parcel: 5 up to 2 kg and 1 for each further kg; twice as much abroad."""
    if weight <= 0:
        raise ValueError(f"a parcel of {weight} kg")
    cost = 5
    if weight > 2:
        cost += weight - 2
    if country != "home":
        cost *= 2
    return cost
