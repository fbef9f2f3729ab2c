"""Show a session: as text, as a live line, as a page to keep, and as a page that follows a run."""
