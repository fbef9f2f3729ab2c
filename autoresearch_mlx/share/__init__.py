"""Exchange results with other people's labs through a git remote; see README.md."""
