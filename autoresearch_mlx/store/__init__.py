"""Keep a session on disk: ledger, journals, locks, notes, conversations and the git worktree."""
