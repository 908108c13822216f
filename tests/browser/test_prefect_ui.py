"""What people see of Standby in the Prefect UI."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Page, expect
from prefect import settings

from tests.browser.conftest import Screenshot


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def prefect_ui(prefect_server: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Serve Prefect's pages for the tests' server, which leaves them out as each server of its test harness does."""
    from prefect.server.api.server import create_ui_app  # noqa: PLC0415 - only what needs it waits for it

    folder = tmp_path_factory.mktemp("ui")
    updates = {settings.PREFECT_UI_STATIC_DIRECTORY: str(folder), settings.PREFECT_UI_API_URL: prefect_server.api_url}
    with settings.temporary_settings(updates):
        app = create_ui_app(ephemeral=False)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            serving = asyncio.create_task(server.serve([listening]))
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            server.should_exit = True
            await serving


async def test_ui(prefect_ui: str, page: Page, screenshot: Screenshot) -> None:
    await page.goto(f"{prefect_ui}/deployments")
    await expect(page.get_by_text("Deployments").first).to_be_visible()
    await page.wait_for_load_state("networkidle")
    await screenshot("deployments")
