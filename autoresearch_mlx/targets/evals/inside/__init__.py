"""Code that runs in child processes: the confined agent, and the scorer with the user's own code."""
