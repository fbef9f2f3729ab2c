"""Let the user's own coding agent (`claude -p`, `codex exec`, `opencode run`, `aider`, any program) propose edits.

coding_agent       start here: one proposal from one or more calls
shell              one call: prompt on standard input, a time limit, stored output; git cannot change branches
worktree_changes   what the call changed in the directory: the edit, ignored files, problems; title and reason
patience           a call without an edit: lost, or to be made again later
outages            texts of usage limits and outages, and when a service says that it answers again
standby            the optimiser in the agent's place while it is away
"""

from autoresearch_mlx.agents.command.coding_agent import CodingAgent
from autoresearch_mlx.agents.command.standby import Standby

__all__ = ["CodingAgent", "Standby"]
