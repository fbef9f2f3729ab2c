"""Test whether what won on an H100 wins here: the winners of a table one by one, then stacked; no model is needed.

winners   a table's kept changes of knobs, one entry a strategy, the largest gain first
carry     a change made there as the same change relative to a value here
agent     which is next, read from the history alone
"""

from autoresearch_mlx.agents.playbook.playbook_agent import Playbook

__all__ = ["Playbook"]
