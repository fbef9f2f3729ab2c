"""Let the user's own coding agent (`claude -p`, `codex exec`, `opencode run`, `aider`, any program) propose edits.

coding_agent       start here: one proposal from one or more calls
shell              one call: prompt on standard input, a time limit, stored output; git cannot change branches
worktree_changes   what a call changed: the edit, ignored files, problems; the title and the reason in the output
patience           whether a call without an edit is repeated later, and when
outages            usage limits and outages that a program's output reports, and when the service answers again
standby            the optimiser, which proposes while the agent is away
"""

from autoresearch_mlx.agents.command.coding_agent import CodingAgent
from autoresearch_mlx.agents.command.standby import Standby

__all__ = ["CodingAgent", "Standby"]
