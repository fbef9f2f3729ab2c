"""The target ``command``: run any program that prints a number."""
