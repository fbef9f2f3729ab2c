"""The tests of a repository run in a copy of it, with the packages that they need."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_repositories import repository

from autoresearch_mlx.setup.about.copy import copied
from autoresearch_mlx.setup.about.tests_of import try_tests
from autoresearch_mlx.setup.about.tree import read_tree

pytestmark = pytest.mark.uncounted


def test_the_tests_in_the_language_of_the_editable_files_are_tried_first(tmp_path: Path) -> None:
    python = "import unittest\n\n\nclass T(unittest.TestCase):\n    def test(self):\n        pass\n"
    files = {"Makefile": "test:\n\ttrue\n", "sort.c": "int a;\n", "test_tool.py": python}
    tree = read_tree(repository(tmp_path / "lab", files))
    with copied(tree) as copy:
        for_c, for_python = (try_tests(tree, copy, None, first, 60).tests for first in (("make",), ()))
    assert for_c is not None and for_c.line == "make -s test"
    assert for_python is not None and for_python.line.startswith("python3 -m unittest")


def test_packages_above_the_lab_are_found_in_the_copy(tmp_path: Path) -> None:
    top = repository(tmp_path / "top", {".gitignore": "node_modules\n", "packages/slug/a.js": "module.exports = 1;\n"})
    (top / "node_modules" / "left").mkdir(parents=True)
    with copied(read_tree(top / "packages" / "slug")) as copy:
        assert any((folder / "node_modules" / "left").is_dir() for folder in copy.root.parents)
