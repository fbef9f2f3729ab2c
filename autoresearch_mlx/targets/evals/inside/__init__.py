"""Modules that run inside child processes: the confined agent, and the scorer with the person's own code."""
