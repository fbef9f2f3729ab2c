"""Use a language model as a researcher.

calls    one endpoint, with patience, within the caps, every call written down
forms    how the code should come: blocks or whole, by size, and by what went wrong
room     whether model and training run fit into the memory together
thread   one experiment's conversation
agent    a proposal from all of this
"""

from autoresearch_mlx.agents.chat.chat_agent import Chat

__all__ = ["Chat"]
