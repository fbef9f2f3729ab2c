"""Confine edited code: what it may read and write, and what the parent watches from outside.

Read ``permissions`` first, which says what one child may touch; ``child_permissions`` says what each child of a
measurement gets.  ``detect`` finds the sandbox of this system and wraps a command in it; ``enter`` confines its own
process and becomes that command, by ``linux_sandbox`` (``landlock`` and ``seccomp``) or ``seatbelt`` (macOS).
``selftest`` shows that the sandbox holds; ``limits`` watches memory, disk and processes from outside (``usage`` reads
them).
"""
