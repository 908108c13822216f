"""The site of the documentation as people see it: narrow and wide, light and dark, from this machine alone."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Page

from tests.browser.conftest import SCREENSHOTS

KINDS = {
    "start": "index.html",
    "tutorial": "tutorial/index.html",
    "how-to": "how-to/failover.html",
    "reference": "reference/deployments.html",
    "explanation": "explanation/when-standby-fails-over.html",
    "runbook": "runbook.html",
}
LONG = ("reference/configuration.html", "reference/errors.html", "reference/json.html")
"""A page of each kind; and the longest, of which only the width is looked at."""
NARROW, WIDE = (400, 900), (1400, 1000)
RULES: dict[tuple[tuple[int, int], str], dict[str, Any]] = {
    (WIDE, "light"): {},
    (WIDE, "dark"): {"runOnly": ["color-contrast"]},
    (NARROW, "light"): {"runOnly": ["scrollable-region-focusable"]},
    (NARROW, "dark"): {"runOnly": ["color-contrast"]},
}
"""All rules once, and then what can be otherwise in another width or look."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what was asked for is seen in the browser."""


@pytest.fixture(scope="module")
def site(built_site: Path) -> Iterator[str]:
    """The URL of the site, which a server of this machine gives as it is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(built_site / "html"))) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [NARROW, WIDE], ids=lambda size: f"{size[0]}px")
async def test_pages_fit_their_width_load_nothing_from_elsewhere_and_are_usable_by_all(
    site: str, page: Page, viewport: tuple[int, int], scheme: str
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    SCREENSHOTS.mkdir(exist_ok=True)
    # A look changes no width, and these take long to load.
    for path in LONG if scheme == "light" else ():
        await page.goto(f"{site}/{path}")
        assert await page.evaluate("document.documentElement.scrollWidth") <= viewport[0], path
    for kind, path in KINDS.items():
        await page.goto(f"{site}/{path}")
        assert await page.evaluate("document.documentElement.scrollWidth") <= viewport[0], path
        # Not the whole of a long page: its top shows how it looks.
        await page.screenshot(path=SCREENSHOTS / f"site-{kind}-{viewport[0]}-{scheme}.png")
        found = await Axe().run(page, options={"resultTypes": ["violations"], **RULES[viewport, scheme]})
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
    assert [url for url in asked if not url.startswith((site, "data:", "blob:"))] == []


@pytest.mark.parametrize("paper", ["A4", "Letter"])
async def test_the_page_for_the_night_is_one_printed_page(site: str, page: Page, paper: str) -> None:
    await page.goto(f"{site}/runbook.html")
    assert len(re.findall(rb"/Type\s*/Page\b", await page.pdf(format=paper))) == 1


async def test_the_search_finds_a_page(site: str, page: Page) -> None:
    await page.goto(f"{site}/index.html")
    await page.get_by_role("button", name="Search").first.click()
    await page.keyboard.type("cool_down")
    await page.get_by_text("standby.yaml").first.wait_for()
