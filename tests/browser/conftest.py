"""Pages as people see them: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"
PATIENCE = 15_000.0  # Milliseconds that something may take to show on a page

Screenshot = Callable[[str], Awaitable[Path]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all of them one worker, one event loop and so one browser; and the server that is asked the least."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            item.add_marker(pytest.mark.xdist_group("second Prefect server"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for the whole session."""
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("There is no chromium. Run make browser, which installs it.")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path)
        yield browser
        await browser.close()


@pytest.fixture
def viewport() -> tuple[int, int]:
    """Width and height of the page in pixels; a test says what else it wants by `parametrize`."""
    return 1400, 1000


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, viewport: tuple[int, int]) -> AsyncIterator[BrowserContext]:
    """What shares nothing with other tests."""
    width, height = viewport
    context = await browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    """A page; whatever it logs as an error fails the test."""
    context.set_default_timeout(PATIENCE)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    await page.close()
    assert errors == []


@pytest.fixture
def screenshot(page: Page) -> Screenshot:
    """Keep the whole page as a picture in `.screenshots/`, for people to look at."""

    async def keep(name: str) -> Path:
        path = SCREENSHOTS / f"{name}.png"
        await page.screenshot(path=path, full_page=True)
        return path

    return keep
