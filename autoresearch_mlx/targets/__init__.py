"""Define the targets, which say what is improved and measure it: ``pretrain``, ``command``, ``evals``, ``kernel``."""
