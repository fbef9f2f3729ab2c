"""Improve an agent, which is scored by cases that it cannot read: the target ``evals``."""
