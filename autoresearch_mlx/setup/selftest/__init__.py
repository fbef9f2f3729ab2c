"""Try everything that a night depends on, on this machine, in a few minutes: ``doctor --selftest``.

``checks.py`` lists the checks, and ``conduct.py`` runs each check in a process of its own.  ``report.py`` writes the
report, and ``blot.py`` removes names, serial numbers and paths from the report.
"""
