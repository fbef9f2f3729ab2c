"""Nothing that names a person, a machine or a folder is published."""

from __future__ import annotations

import pytest

from autoresearch_mlx.share.personal import Personal

ME = Personal(frozenset({"alice", "Alice Liddell", "alice@wonder.example"}), frozenset({"rabbit-hole", "mbp"}))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Alice Liddell's idea on rabbit-hole", "[user]'s idea on [host]"),
        ("see /Users/alice/lab/train_mlx.py, line 3", "see [path]/train_mlx.py, line 3"),
        ("/opt/py/bin/python -S bench.py", "[path]/python -S bench.py"),
        ("~/notes/today.txt and C:\\Users\\al\\x.py", "[path]/today.txt and [path]/x.py"),
        ("mail alice@wonder.example or bob@b.org", "mail [address] or [address]"),
        ("mbp.local at 192.168.1.7", "[host] at [address]"),
        ("malice stays, and/or 3/4 of MLX 0.32.4", "malice stays, and/or 3/4 of MLX 0.32.4"),
        ("ratio 1/2, H100/M3, a:b", "ratio 1/2, H100/M3, a:b"),
    ],
)
def test_a_text_is_cleaned(text: str, clean: str) -> None:
    assert ME.cleaned(text) == clean


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DATA = '/home/alice/corpus'", "a path in a home folder"),
        ("# by Alice\nX = 1", "a name of this person"),
        ("HOST = 'rabbit-hole'", "a name of this machine"),
        ("# bob@b.org", "an e-mail address"),
        ("X = a @ b  # a matrix product\n@decorator\nprint('/dev/null')", ""),
    ],
)
def test_a_file_is_named_and_not_changed(text: str, said: str) -> None:
    assert ME.named_in(text) == said


def test_a_user_name_that_is_a_word_of_everyday_code_is_not_looked_for_in_files() -> None:
    assert Personal(frozenset({"root", "max"}), frozenset()).named_in("root = max(1, 2)") == ""
