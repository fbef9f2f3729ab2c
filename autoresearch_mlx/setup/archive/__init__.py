"""Pack a session into one file, restore a session from such a file, and remove old files."""
