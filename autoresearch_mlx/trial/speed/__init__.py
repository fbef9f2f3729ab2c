"""Measure the machine's speed during a run, without relying on anything that edited code reports.

``processor`` reads the processor time that the run got, and the time for which it waited.  ``probe`` measures the time
of a small matrix product and of a copy of memory.  ``company`` names the other programs that used the processor.  From
all three, ``clock`` counts the run's reference seconds, which are the unit of budgets, and says what slowed the run.
"""
