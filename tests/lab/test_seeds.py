"""Edits whose only effect is another draw of random numbers are recognised."""

from __future__ import annotations

import pytest
import tiny_training as tiny

from autoresearch_mlx.lab.seeds import only_seeds_changed, only_seeds_differ

KEY = "mx.random.key(root ^ crc32(name.encode()))"
TRAIN = "    rows, passes = batch_shape(trial.seq_len)\n    optimiser"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SEED = 42\n", "SEED = 137\n"),
        ("SEED: int = 42\n", "SEED: int = 2**7\n"),
        ("x = 1\n", "SEED = 7\nx = 1\n"),
        ("mx.random.seed(42)\n", "mx.random.seed(137)\n"),
        ("x = 1\n", "mx.random.seed(137)\nx = 1\n"),
        ("np.random.seed(1)\n", "np.random.seed(trial.seed + 1)\n"),
        ("k = mx.random.key(1)\n", "k = mx.random.key(2)\n"),
        ("k = mx.random.key(seed)\n", "k = mx.random.key(seed + 3)\n"),
        ("r = np.random.default_rng(1)\n", "r = np.random.default_rng(99)\n"),
        ("f(seed=1)\n", "f(seed=2)\n"),
        ("def build(data_seed):\n    seed = 4\n", "def build(data_seed):\n    seed = 5\n"),
    ],
)
def test_a_changed_seed_is_recognised(before: str, after: str) -> None:
    assert only_seeds_differ(before, after)
    assert only_seeds_differ(after, before)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SEED = 42\n", "SEED = 42  # a comment\n"),
        ("SEED = 42\nLR = 1\n", "SEED = 137\nLR = 2\n"),
        ("LR = 1\n", "LR = 2\n"),
        ("f(1)\n", "f(2)\n"),
        ("k = cache.key(1)\n", "k = cache.key(2)\n"),
        ("SEEDLING = 1\n", "SEEDLING = 2\n"),
        ("SEED = 42\n", "SEED = \n"),
        ("x = mx.random.normal((4, 8))\n", "x = mx.random.normal((8, 8))\n"),
        ("x = mx.random.uniform(-1, 1)\n", "x = mx.random.uniform(-2, 2)\n"),
    ],
)
def test_any_other_change_is_not(before: str, after: str) -> None:
    assert not only_seeds_differ(before, after)


def test_in_the_shipped_script() -> None:
    text = tiny.script()
    assert KEY in text and TRAIN in text
    assert only_seeds_differ(text, text.replace(KEY, "mx.random.key(root ^ 5 ^ crc32(name.encode()))"))
    assert only_seeds_differ(text, text.replace(TRAIN, f"    mx.random.seed(7)\n{TRAIN}"))
    assert not only_seeds_differ(text, tiny.script(DEPTH=2))


def test_over_the_files_of_an_edit_each_may_only_reseed() -> None:
    before = {"a.py": "SEED = 1\n", "b.py": "LR = 1\n", "c.txt": "1"}
    assert only_seeds_changed(before, {"a.py": "SEED = 2\n"})
    assert only_seeds_changed(before, {"a.py": "SEED = 2\n", "b.py": "LR = 1\n"})
    assert not only_seeds_changed(before, {"a.py": "SEED = 2\n", "b.py": "LR = 2\n"})
    assert not only_seeds_changed(before, {"a.py": "SEED = 2\n", "c.txt": "2"})
    assert not only_seeds_changed(before, {"a.py": "SEED = 2\n", "new.py": "SEED = 2\n"})
    assert not only_seeds_changed(before, {"a.py": "SEED = 1\n"})
