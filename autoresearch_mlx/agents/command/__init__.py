"""Use the user's own coding agent (`claude -p`, `codex exec`, `opencode run`, `aider`, any program) as a researcher.

shell     one call: the prompt on its standard input, time-limited, its output kept, git kept on a short lead
changes   what it left in the directory: the edit, what was ignored, what cannot be taken
words     title and reason from its output
agent     a proposal from all of this
"""

from autoresearch_mlx.agents.command.coding_agent import CodingAgent

__all__ = ["CodingAgent"]
