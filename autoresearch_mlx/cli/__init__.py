"""The command line."""

from __future__ import annotations


def main() -> None:
    """Placeholder entry, replaced by the command group."""
