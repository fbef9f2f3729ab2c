"""Try everything that a night depends on, on this machine, in a few minutes: ``doctor --selftest``.

``checks.py`` lists the checks, and ``conduct.py`` runs each in a process of its own.  ``report.py`` writes the results,
and ``blot.py`` removes names, serial numbers and paths from them.
"""
