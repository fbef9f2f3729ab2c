"""Compare sessions of several machines: say what a session on an H100 found, and whether the same is true on this
machine."""
