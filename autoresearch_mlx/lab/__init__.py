"""Read a lab from disk: its settings, its files, its budget, and what its values depend on."""
