"""Try on this machine, in some minutes, all that a night depends on: ``doctor --selftest``.

``checks.py`` lists the checks, ``conduct.py`` runs each in a process of its own, ``report.py`` writes what they found,
and ``blot.py`` takes names, serial numbers and paths out of it.
"""
