"""Propose how to measure the size of the files that a Node package's build makes."""

from __future__ import annotations

from collections.abc import Iterator

from autoresearch_mlx.setup.about.plan import FOLDER, Check, Metric, Plan, notes, script
from autoresearch_mlx.setup.about.tests_of import PYTHON, Tests
from autoresearch_mlx.setup.about.tree import Tree

_LINE = "npm run --silent build"
_MORE = "\nglobalThis.oneMoreOfCheck = '3f9a1c7be05d284667aa01';\n"
_NOT_RUN = "The tests run the sources; nothing tests whether the built files work in a browser."


def builds(tree: Tree) -> bool:
    """Return whether the repository has a build with npm."""
    return "build" in tree.scripts


def bundle_plans(tree: Tree, editable: tuple[str, ...], tests: Tests | None) -> Iterator[Plan]:
    """Yield the plan that measures the bytes of the built files; yield nothing if the repository has no tests."""
    if tests is None:
        return
    known = {"build": _LINE, "sources": list(editable), "folders": [], "kinds": []}
    measure = f"{PYTHON} {FOLDER}/built_bytes.py"
    yield Plan(
        "bundle",
        (Metric("gzip_bytes", unit="bytes"),),
        editable,
        measure,
        (Check("tests", tests.line),),
        {**script("built_bytes.py"), **notes("built.json", **known)},
        prepare=(f"{measure} --write",),
        exact=True,
        worse={path: tree.text(path) + _MORE for path in editable},
        open=(_NOT_RUN,),
    )
