"""Functions that are worth a kernel in a small GPT: a reference, a first candidate, and a Metal candidate for each."""
