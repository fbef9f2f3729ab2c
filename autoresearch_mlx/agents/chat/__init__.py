"""Use a language model as the researcher that proposes edits.

chat_agent    start here: makes one proposal with the parts below
calls         the calls to one endpoint: retried after a failure, limited by the caps, and stored
ladder        the form in which a model is asked: a menu, values of knobs, search/replace blocks, or whole files
opening       opens the conversation of one experiment in the first form that fits
sizes         the maximum lengths of a prompt and of a reply, and the expected time of an answer
task_source   the next task, and the backlog of ideas that it comes from
thread        the conversation of one experiment
memory_fit    whether the model and a training run fit into memory together
"""

from autoresearch_mlx.agents.chat.chat_agent import Chat

__all__ = ["Chat"]
