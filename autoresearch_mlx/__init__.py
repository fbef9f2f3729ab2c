"""Autonomous research loops on Apple Silicon: edit, train, measure, keep or revert, all night."""

__version__ = "0.1.0"
