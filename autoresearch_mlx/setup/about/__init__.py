"""Make a lab from a sentence: read the repository, propose, prove with ``check``, write."""
