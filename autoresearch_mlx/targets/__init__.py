"""Define the targets ``pretrain``, ``command``, ``evals`` and ``kernel``: each says what a lab improves, and measures
its value."""
