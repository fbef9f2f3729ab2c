"""Compare sessions of several machines: say what an H100's session found, and whether it is true here too."""
