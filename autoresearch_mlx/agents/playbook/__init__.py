"""Test whether what won on an H100 wins here: a table's winners one by one, then stacked; no model is needed.

playbook_agent   start here: the next change, decided from the history alone
winners          the strategies that won in a session: kept changes of knobs, each with its gain
carry            a change made there, turned into the same relative change of a value here
"""

from autoresearch_mlx.agents.playbook.playbook_agent import Playbook

__all__ = ["Playbook"]
