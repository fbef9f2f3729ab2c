"""The target ``evals``: improve an agent, and score it by cases that the agent cannot read."""
