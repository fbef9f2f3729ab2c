"""Write the report's three files, and render the first of them, ``report.html``, which loads nothing from a network.

Text of agents and logs has one of two forms in the page: it is escaped in the markup, or it is JSON that the scripts
turn into text nodes.  As a second safeguard, the page's Content-Security-Policy allows only the script and the style
whose hashes it names.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoresearch_mlx import terms
from autoresearch_mlx.compare import machines
from autoresearch_mlx.compare.log import METRIC
from autoresearch_mlx.errors import LabError
from autoresearch_mlx.report.page.attached import embedded
from autoresearch_mlx.report.page.content import Page, to_json
from autoresearch_mlx.report.page.markdown import render_text
from autoresearch_mlx.report.page.picture import render_progress
from autoresearch_mlx.report.page.sentences import (
    asked_words,
    belief,
    counts_in_words,
    interval,
    machine_words,
    noise_in_words,
    percent,
    span_words,
    title_of,
)
from autoresearch_mlx.report.page.span import worth_showing

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = "report"
HTML, PICTURE, TEXT = "report.html", "progress.png", "report.md"


def write_report(page: Page, out: Path) -> tuple[Path, ...]:
    """Write the three files into ``out``, each replaced in one step.  Raises LabError when a file cannot be written."""
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
    *(_SHARED / name for name in ("words.js", "elements.js", "plot.js", "strips.js")),
    *(_OWN / name for name in ("forest.js", "sheet.js", "page.js")),
)
"""The scripts, in an order in which each script needs only earlier scripts."""
_SPEED = ("speed", "stretch", "tokens_per_second", "peak_memory_mb")
_UNDECIDED = ("within noise", "same sign?", "opposite sign?")
_PHYSICAL = ("temperature", "thermal", "battery", "power", "watts")
"""Words that occur in the names of figures about heat and power."""
_MODULE_WORDS = re.compile(r"^(?:import .*\n|export )", re.MULTILINE)


def render_html(page: Page) -> str:
    """Render the page as one document, with style, scripts and figures inside it."""
    from markupsafe import Markup

    style = "".join(path.read_text(encoding="utf-8") for path in _STYLES)
    script = '"use strict";\n(() => {\n' + "\n".join(map(_inlined, _SCRIPTS)) + "\n})();\n"
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )
    # Only our own files, and JSON that cannot end its element, are marked as safe markup.
    ours = {"policy": policy, "style": style, "script": script, "data": _embedded(page)}
    markup = {name: Markup(text) for name, text in ours.items()}
    return _templates().get_template("page.html").render(**markup, **_held(page))


def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "value": terms.value,
        "gain": terms.gain,
        "clock": terms.clock,
        "count": terms.count,
        "plural": terms.plural,
        "one_line": terms.one_line,
        "interval": interval,
        "percent": percent,
        "arrows": _arrows,
        "diff_kind": _diff_kind,
    }
    return made


def _shown(held: object) -> object:
    """Remove control codes from a value that a template inserts, but not from markup of the templates' macros."""
    return terms.printable(held) if type(held) is str else held


def _arrows(text: str) -> str:
    """Use arrow characters, because a browser may break a line between ``-`` and ``>``."""
    return text.replace(" -> ", " → ")


def _diff_kind(line: str) -> str:
    """Return the CSS class of a diff's line: ``add``, ``del``, ``at`` for a header, or an empty string."""
    about = line.startswith(("+++", "---", "@@", "diff", "index"))
    return "at" if about else {"+": "add", "-": "del"}.get(line[:1], "")


def _held(page: Page) -> dict[str, Any]:
    """Return the values for the templates: the page, and phrases made from it."""
    h = page.head
    facts = (
        counts_in_words(page),
        ", ".join(h.agents[:4]),
        machine_words(h.machine),
    )
    both = [row for row in page.transfer.axes if row.both and row.here.percent is not None]
    moving = dict.fromkeys(name for run in page.runs for name in run.machine)
    # A single point shows no trend.
    named = [name for name in _SPEED if sum(getattr(run, name) is not None for run in page.runs) > 1]
    return {
        "page": page,
        "machines_words": () if page.fleet is None else machines.remarks(page.fleet),
        "title": title_of(page),
        "facts": [fact for fact in facts if fact],
        "when": span_words(h.started, h.finished),
        "compared": (h.metric, h.direction) == (METRIC, "min"),
        "reference": page.transfer.reference or "H100",
        "belief": belief(page),
        "noise": noise_in_words(page),
        "asked": asked_words(page),
        "largest_steps": sorted(page.changed.steps, key=lambda step: -(step.gain or 0.0)),
        # Clear results come first, because an effect within noise tells a reader nothing.
        "decided_axes": sorted(both, key=lambda row: row.verdict in _UNDECIDED),
        "moving": [*named, *moving],
        "physical": any(word in name for name in moving for word in _PHYSICAL),
        "conditions": {n: f for n, f in {**h.machine, **h.conditions}.items() if isinstance(f, str | int | float)},
    }


def _inlined(path: Path) -> str:
    """Return a JavaScript module's text without imports and exports.

    A page that is opened from the disk cannot load modules.
    """
    return _MODULE_WORDS.sub("", path.read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded(page: Page) -> str:
    """Return the values that the scripts draw, as JSON that cannot end its own element."""
    whole = to_json(page)
    drawn: dict[str, Any] = {name: whole[name] for name in ("axes", "noise", "runs")}
    drawn["fleet"] = whole.get("fleet")
    drawn["experiments"] = [_known(row) for row in whole["experiments"]]
    drawn |= {"metric": page.head.metric, "direction": page.head.direction, "near": _near(page)}
    return embedded(drawn)


def _known(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out values that are unknown, empty or false, as most values in a thousand rows are."""
    return {name: held for name, held in row.items() if held is not None and held != "" and held is not False}


def _near(page: Page) -> tuple[float, float] | None:
    values = [(row.shown, row.status == "keep") for row in page.experiments if row.shown is not None]
    ahead = [row.shown for row in page.experiments if row.ahead and row.shown is not None]
    return worth_showing(values, ahead) if values else None
