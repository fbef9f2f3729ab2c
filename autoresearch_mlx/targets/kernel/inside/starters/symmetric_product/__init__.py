"""The symmetric product of a Newton-Schulz step."""
