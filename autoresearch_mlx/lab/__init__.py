"""Read a lab from disk: its settings, its files, its budget, and the facts on which its values depend."""
