"""Confine edited code inside a sandbox, and watch from outside how much memory and disk it uses.

Read ``permissions`` first: it defines what a child may read, write and do.  ``child_permissions`` chooses the
permissions of each child of a measurement.  ``detect`` finds the sandbox of this system and wraps a command in it.
``enter`` runs in the child: it confines its own process with ``linux_sandbox`` (``landlock`` and ``seccomp``) or
``seatbelt`` (macOS), then runs the wrapped command in the same process.  ``selftest`` shows that the sandbox works.
``limits`` watches memory, disk and processes from outside, with numbers that ``usage`` reads.
"""
