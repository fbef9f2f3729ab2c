"""Start a real Chromium without a window, and without any network but this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from live_run import until
from playwright.sync_api import Browser, Error, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ON_A_MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def installed() -> str | None:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    return found or next((path for path in _ON_A_MAC if Path(path).exists()), None)


needs_chromium = pytest.mark.skipif(installed() is None, reason="needs Chromium or Chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; every name fails to resolve except ``evil.example``, which leads here, as in DNS rebinding."""
    names = "MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        path = installed()
        assert path is not None
        browser = playwright.chromium.launch(executable_path=path, args=[*_FLAGS, f"--host-resolver-rules={names}"])
        try:
            yield browser
        finally:
            browser.close()


def text_of(page: Page, selector: str) -> str:
    return str(page.evaluate("s => document.querySelector(s)?.textContent ?? ''", selector))


def waited(page: Page, holds: Callable[[], Any], what: str, seconds: float = 30.0) -> None:
    """Wait while the page works; it only does so while the test asks it for something."""

    def held() -> Any:
        try:
            return page.evaluate("() => 0") == 0 and holds()
        except Error as error:
            assert "navigation" in str(error), error  # the page is being loaded at the moment
            return False

    until(held, what, seconds)
