"""Run tests with the arguments of ``python3 -m unittest``, and fail unless they ran to their end: a check of this lab.

A program may end its process with exit code 0 while the tests load it; ``python3 -m unittest`` then seems to pass.  So
the tests run in a child, which repeats a random word only after the last of them has passed.
"""

import os
import secrets
import subprocess
import sys
import unittest
from pathlib import Path


def report(arguments):
    """Run the tests in this process; if they pass, copy the word on standard input to the parent's pipe."""
    sys.path.insert(0, str(Path.cwd()))  # as ``python3 -m unittest`` does
    word, answer = sys.stdin.readline(), os.dup(1)
    os.dup2(2, 1)  # keeps the program's output out of the answer
    result = unittest.main(module=None, argv=["python3 -m unittest", *arguments, "-q"], exit=False).result
    if result.wasSuccessful() and result.testsRun > len(result.skipped):
        os.write(answer, word.encode())
    return 0 if result.wasSuccessful() else 1


def main(arguments):
    """Run the tests in a child of this process.  Ends with an error when the tests fail, or do not run to their end."""
    word = secrets.token_hex(16)
    command = [sys.executable, __file__, "--here", *arguments]
    done = subprocess.run(command, input=word + "\n", stdout=subprocess.PIPE, text=True)
    if done.returncode == 0 and done.stdout.strip() != word:
        raise SystemExit("the tests did not run to their end: the program ended their process")
    return done.returncode


if __name__ == "__main__":
    sys.exit(report(sys.argv[2:]) if sys.argv[1:2] == ["--here"] else main(sys.argv[1:]))
