"""The room in which edited code runs: what it may read and write, and what the parent watches from outside.

``permissions`` says what one child may touch, ``rooms`` what each child of a measurement gets; ``choose`` finds what
this system can enforce it with and wraps a command; ``enter`` confines itself and becomes that command;
``probe`` shows that the room holds; ``limits`` watches memory, disk and processes, and finds what left its group.
"""
