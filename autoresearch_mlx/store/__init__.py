"""What a session keeps on disk: ledger, journals, locks, notes and the git worktree."""
