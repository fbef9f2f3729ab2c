"""Use a language model as the researcher that proposes edits.

chat_agent    start here: one proposal from everything below
calls         the calls to one endpoint: each is retried, limited by the caps, and stored
task_source   the next task, and the backlog of ideas that it comes from
thread        the conversation of one experiment, and whether it asks for blocks or whole files
memory_fit    whether the model and a training run fit into memory together
"""

from autoresearch_mlx.agents.chat.chat_agent import Chat

__all__ = ["Chat"]
