"""Pack a session into one file, restore it, and free old files."""
