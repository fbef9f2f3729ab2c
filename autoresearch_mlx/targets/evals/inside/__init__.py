"""Run in child processes: the confined agent, and the scorer with the person's own code."""
