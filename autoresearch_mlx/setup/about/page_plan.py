"""Propose how to measure a web page that needs no build: by the size of its files, compressed with gzip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from autoresearch_mlx.setup.about.plan import FOLDER, Check, Metric, Plan, notes, script
from autoresearch_mlx.setup.about.tests_of import PYTHON
from autoresearch_mlx.setup.about.tree import Tree

_PACKED = [".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".ico", ".woff", ".woff2", ".mp4", ".webm"]
_KINDS = [".html", ".htm", ".css", ".js", ".mjs", ".svg", ".json", *_PACKED]
_BUILT = ("dist/", "build/", "coverage/", "_site/", "out/")
_SCRIPTS_STAY = "Scripts are not editable, because only a browser could tell whether they still work."


def page_sources(tree: Tree) -> tuple[str, ...]:
    """Return the HTML files and style sheets in the folder of the page and in its subfolders."""
    pages = [path for path in tree.of(".html", ".htm") if not path.startswith(_BUILT)]
    if not pages:
        return ()
    folder = folder_of(tree)
    inside = [path for path in (*pages, *tree.of(".css")) if folder == "." or path.startswith(f"{folder}/")]
    return tuple(path for path in inside if not path.startswith(_BUILT))


def folder_of(tree: Tree) -> str:
    """Return the folder of the page: the folder of the topmost index.html, else of the topmost HTML file."""
    pages = [path for path in tree.of(".html", ".htm") if not path.startswith(_BUILT)]
    best = min(pages, key=lambda path: (PurePosixPath(path).stem != "index", path.count("/"), path))
    return str(PurePosixPath(best).parent)


def page_plans(tree: Tree, editable: tuple[str, ...]) -> Iterator[Plan]:
    """Yield the plan that measures the size of the page."""
    folder = folder_of(tree)
    inside = [path if folder == "." else path.removeprefix(f"{folder}/") for path in page_sources(tree)]
    pages, sheets = ([each for each in inside if each.endswith(".css") == is_sheet] for is_sheet in (False, True))
    known = {"folder": folder, "kinds": _KINDS, "pages": pages, "sheets": sheets}
    files = {**script("page_weight.py"), **script("page_content.py"), **notes("page.json", **known)}
    content = f"{PYTHON} {FOLDER}/page_content.py"
    path = next(each for each in editable if not each.endswith(".css")) if pages else editable[0]
    more = "<!-- 3f9a1c7be05d2846 -->" if not path.endswith(".css") else "/* 3f9a1c7be05d2846 */"
    yield Plan(
        "page",
        (Metric("gzip_bytes", unit="bytes"),),
        editable,
        f"{PYTHON} {FOLDER}/page_weight.py",
        (Check("content", content),),
        files,
        prepare=(f"{content} --write",),
        exact=True,
        worse={path: tree.text(path) + more + "\n"},
        open=(_SCRIPTS_STAY,),
    )
