"""Does what won on an H100 win here?  The winners of a table, one by one, then stacked; no model.

winners   a table's kept changes of knobs, one entry a strategy, the largest gain first
carry     a change made there as the same change relative to a value here
agent     which is next, read from the history alone
"""

from autoresearch_mlx.agents.playbook.playbook_agent import Playbook

__all__ = ["Playbook"]
