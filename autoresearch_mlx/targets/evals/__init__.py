"""The target ``evals``: improve an agent, scored by cases that it cannot read."""
