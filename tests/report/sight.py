"""A page in a real Chromium, with everything that it asks for and complains of written down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Sight:
    """A page as somebody sees it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    """What scripts and the page's policy complained about."""
    requests: list[str] = field(default_factory=list)
    """Everything that was asked for, the file itself left out."""

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)


@contextmanager
def seen(chromium: Any, file: Path, width: int = 1280, height: int = 900, scheme: str = "light") -> Iterator[Sight]:
    context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    sight = Sight(page)
    page.on("pageerror", lambda error: sight.errors.append(str(error)))
    page.on("console", lambda message: sight.errors.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: (sight.errors.append("a dialog"), dialog.dismiss()))
    page.on("request", lambda asked: sight.requests.append(asked.url) if asked.url != file.as_uri() else None)
    page.goto(file.as_uri())
    page.wait_for_selector("#sheet tr.row")
    yield sight
    context.close()
