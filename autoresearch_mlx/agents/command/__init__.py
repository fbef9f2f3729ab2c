"""Let the user's own coding agent (`claude -p`, `codex exec`, `opencode run`, `aider`, any program) propose edits.

coding_agent       start here: one proposal from one or more calls
shell              one call: prompt on standard input, a time limit, stored output; git cannot change branches
worktree_changes   what the call changed in the directory: the edit, ignored files, problems; title and reason
patience           whether a call without an edit is made again later, and when
outages            usage limits and outages in a program's output, and when the service answers again
standby            the optimiser, which proposes while the agent is away
"""

from autoresearch_mlx.agents.command.coding_agent import CodingAgent
from autoresearch_mlx.agents.command.standby import Standby

__all__ = ["CodingAgent", "Standby"]
