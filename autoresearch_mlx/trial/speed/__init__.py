"""Measure the machine's speed during a run, without relying on anything that edited code reports.

``processor`` reads the processor time that the run got and the time for which it waited, ``probe`` times a small matrix
product and a copy of memory, and ``company`` names the programs that took the rest.  From all three, ``clock`` counts a
run's reference seconds, in which budgets are given, and says what disturbed the run.
"""
