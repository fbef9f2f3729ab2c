"""Compare sessions of several machines: say which changes helped on an H100, and whether they help on this machine."""
