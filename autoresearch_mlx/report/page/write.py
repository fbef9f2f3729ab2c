"""Writes the report's files: all of them, or none."""

from __future__ import annotations

import contextlib
from pathlib import Path

from autoresearch_mlx.errors import LabError
from autoresearch_mlx.report.page.html import render_html
from autoresearch_mlx.report.page.picture import render_progress
from autoresearch_mlx.report.page.text import render_text
from autoresearch_mlx.report.page.values import Page

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
