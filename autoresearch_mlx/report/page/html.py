"""``report.html``: one file that asks nothing of any network.

Text of agents and logs reaches the page in two ways: escaped into the markup, or as JSON that the scripts turn into
text nodes.  Should something slip through all the same, the page's own policy runs no script and loads no resource but
those whose hashes it names.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from pathlib import Path
from typing import Any

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.report.page.attached import embedded
from autoresearch_mlx.report.page.content import Page, to_json
from autoresearch_mlx.report.page.escape import escape
from autoresearch_mlx.report.page.headline import title_of
from autoresearch_mlx.report.page.markdown import render_text
from autoresearch_mlx.report.page.picture import render_progress
from autoresearch_mlx.report.page.sections import body
from autoresearch_mlx.report.page.span import worth_showing

FOLDER = "report"
HTML, PICTURE, TEXT = "report.html", "progress.png", "report.md"


def write_report(page: Page, out: Path) -> tuple[Path, ...]:
    """The three files in ``out``, each replaced in one step.  Raises LabError when the disk refuses."""
    made = {
        HTML: render_html(page).encode(errors="replace"),
        PICTURE: render_progress(page),
        TEXT: render_text(page).encode(errors="replace"),
    }
    temporary = [out / f"{name}.tmp" for name in made]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, content in zip(temporary, made.values(), strict=True):
            path.write_bytes(content)
        for path, name in zip(temporary, made, strict=True):
            path.replace(out / name)
    except OSError as error:
        with contextlib.suppress(OSError):
            for path in temporary:
                path.unlink(missing_ok=True)
        raise LabError(f"{out} cannot be written: {error.strerror}", "name another folder with --out") from None
    return tuple(out / name for name in made)


_SHARED, _OWN = Path(__file__).parent.parent / "assets", Path(__file__).parent / "assets"
_STYLES = (_SHARED / "plot.css", _OWN / "page.css")
_SCRIPTS = (
    *(_SHARED / name for name in ("words.js", "elements.js", "plot.js")),
    *(_OWN / name for name in ("forest.js", "sheet.js", "page.js")),
)
"""In an order in which each needs only those before it."""
_MODULE_WORDS = re.compile(r"^(?:import .*\n|export )", re.MULTILINE)


def render_html(page: Page) -> str:
    style = "".join(path.read_text(encoding="utf-8") for path in _STYLES)
    script = '"use strict";\n(() => {\n' + "\n".join(map(_inlined, _SCRIPTS)) + "\n})();\n"
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="autoresearch-mlx">
<link rel="icon" href="data:,">
<title>{escape(title_of(page))}</title>
<style>{style}</style>
</head>
<body>
{body(page)}
<script type="application/json" id="data">{_embedded(page)}</script>
<script>{script}</script>
</body>
</html>
"""


def _inlined(path: Path) -> str:
    """A module as part of one script: a file that opens from a disk cannot import another one."""
    return _MODULE_WORDS.sub("", path.read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded(page: Page) -> str:
    """What the scripts draw, as JSON that cannot end its own element."""
    whole = to_json(page)
    drawn: dict[str, Any] = {name: whole[name] for name in ("axes", "noise", "runs")}
    drawn["experiments"] = [_known(row) for row in whole["experiments"]]
    drawn |= {"metric": page.head.metric, "direction": page.head.direction, "near": _near(page)}
    return embedded(drawn)


def _known(row: dict[str, Any]) -> dict[str, Any]:
    """Without what is unknown, empty or untrue: most of a thousand rows is such."""
    return {name: held for name, held in row.items() if held is not None and held != "" and held is not False}


def _near(page: Page) -> tuple[float, float] | None:
    values = [(row.value, row.status == "keep") for row in page.experiments if row.value is not None]
    return worth_showing(values) if values else None
