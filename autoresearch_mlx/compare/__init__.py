"""Compare sessions of several machines: what an H100's session found, and whether it holds here."""
