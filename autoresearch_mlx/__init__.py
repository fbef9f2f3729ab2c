"""Autonomous research loops on Apple Silicon: edit, train, measure, keep or revert, all night.

``docs/terms.md`` defines the words of this package, such as lab, session, incumbent and regime.
"""

__version__ = "0.1.0"
