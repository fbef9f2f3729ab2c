"""Open a page in a real Chromium, and record all its requests and complaints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Sight:
    """A page as a person sees it."""

    page: Any
    errors: list[str] = field(default_factory=list)
    """Complaints of scripts and of the page's security policy."""
    requests: list[str] = field(default_factory=list)
    """All requests, except that for the file itself."""

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
