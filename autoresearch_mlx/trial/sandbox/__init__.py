"""Confine edited code inside a sandbox, and watch from outside what it uses.

Read ``permissions`` first, which defines what one child may touch; ``child_permissions`` defines it for each child of a
measurement.  ``detect`` finds the sandbox of this system and wraps a command in it.  ``enter`` runs inside: it confines
its own process by ``linux_sandbox`` (``landlock`` and ``seccomp``) or ``seatbelt`` (macOS), then becomes that command.
``selftest`` shows that the sandbox holds.  ``limits`` watches memory, disk and processes from outside; ``usage`` reads
them.
"""
