"""A session for a person's eyes: summary values, plain text, and the display of a running loop."""
