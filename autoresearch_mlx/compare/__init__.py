"""Sets sessions of several machines side by side: what an H100's session found, and whether it holds here."""
