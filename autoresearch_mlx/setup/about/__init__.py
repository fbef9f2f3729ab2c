"""Make a lab from a sentence: read the repository, propose a lab, prove it with ``check``, and write it."""
