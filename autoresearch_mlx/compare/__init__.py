"""What an H100 session found, laid beside what this machine's session found."""
