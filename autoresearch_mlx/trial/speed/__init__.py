"""Measure how fast the machine is for a run while it goes on: the parent's own reading, not the edited file's word.

``processor`` reads the processor time that the run got and the time for which it waited, ``probe`` times a small
product and a copy, ``company`` names the programs that took the rest.  ``clock`` puts them together: it counts a run's
reference seconds, in which budgets are given, and says what disturbed it.
"""
