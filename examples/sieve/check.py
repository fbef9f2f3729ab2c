"""Check the sieve's counts: the guard that every edit has to pass."""

from sieve import count_primes

KNOWN = {0: 0, 2: 0, 3: 1, 10: 4, 100: 25, 1_000: 168, 10_000: 1_229, 65_537: 6_542, 100_000: 9_592}

for limit, expected in KNOWN.items():
    found = count_primes(limit)
    if found != expected:
        raise SystemExit(f"count_primes({limit}) is {found}, not {expected}")
