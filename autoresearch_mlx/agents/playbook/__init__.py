"""Test whether changes that won on an H100 and on Macs win here: each winner alone, then several together.

No model is needed.

playbook_agent   start here: chooses the next change from the history alone
winners          finds the changes of knobs that won in one session or in several sessions, each with its gain
carry            turns a change of a value on another machine into the same relative change of the value here
"""

from autoresearch_mlx.agents.playbook.playbook_agent import Playbook

__all__ = ["Playbook"]
