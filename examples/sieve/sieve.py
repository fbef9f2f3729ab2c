"""Count primes with a segmented sieve.  The loop may edit this file; check.py says what it must still do."""

SEGMENT = 2**10  # numbers sieved at once            # knob: pow2 256 1048576
WHEEL = False  # leave even numbers out            # knob: choice False True


def count_primes(limit: int) -> int:
    """Return how many primes are below ``limit``."""
    if limit <= 2:
        return 0
    small = _primes_up_to(int(limit**0.5) + 1)
    step = 2 if WHEEL else 1
    total = 1 if WHEEL else 0
    for low in range(3 if WHEEL else 2, limit, SEGMENT * step):
        total += _count_segment(low, min(low + SEGMENT * step, limit), small, step)
    return total


def _count_segment(low: int, high: int, small: list[int], step: int) -> int:
    flags = bytearray([1]) * len(range(low, high, step))
    for p in small:
        if p * p >= high:
            break
        if step == 2 and p == 2:
            continue
        first = max(p * p, (low + p - 1) // p * p)
        if step == 2 and first % 2 == 0:
            first += p
        index = (first - low) // step
        flags[index::p] = bytes(len(range(index, len(flags), p)))
    return sum(flags)


def _primes_up_to(limit: int) -> list[int]:
    flags = bytearray([1]) * (limit + 1)
    flags[:2] = b"\0\0"
    for i in range(2, int(limit**0.5) + 1):
        if flags[i]:
            flags[i * i :: i] = bytes(len(range(i * i, limit + 1, i)))
    return [i for i, flag in enumerate(flags) if flag]
