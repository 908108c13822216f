"""What people see of Standby in the Prefect UI."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, BrowserContext, Page, expect
from prefect import flow, get_client, settings
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType

from standby.flows.bootstrap import pause_schedules
from standby.flows.orchestrator import Prefect
from standby.flows.outage import ask
from standby.flows.replicate import replicate
from tests.browser.conftest import Screenshot
from tests.flows.working import delete_deployments
from tests.patience import PATIENCE


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


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """One for all tests of this file: Prefect's scripts are read and compiled once, not for every page."""
    context = await browser.new_context(viewport={"width": 1400, "height": 1000}, reduced_motion="reduce")
    yield context
    await context.close()


@dataclass
class Prepared:
    """A server on which everything of a plan is saved, and the run of a replication that was refused in part."""

    partial: UUID | None = None


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def prepared(prefect_server: Any) -> AsyncIterator[Prepared]:
    """Remember what the first test prepared, and leave nothing of it that another file's tests would find."""
    await delete_deployments()
    yield Prepared()
    await delete_deployments()
    async with get_client() as client:
        for automation in await client.read_automations():
            await client.delete_automation(automation.id)


@pytest_asyncio.fixture(loop_scope="session")
async def partial(prepared: Prepared, make_scene: Any, make_analyzer: Any) -> UUID:
    """Give the run of a replication of analyzers of which all but one were edited at the target."""
    if prepared.partial is None:
        names = [f"invoice-{number:02}" for number in range(12)]
        async with make_scene([make_analyzer(name) for name in names], targets=("west",)) as scene:
            await Prefect().bootstrap(scene.configuration)
            await pause_schedules()
            await replicate(plan="p", return_state=True)
            for name in names:
                edit = {"resource": "west", "analyzer": name, "changes": {"description": "edited"}}
                await scene.control("/edit", edit)
            state: Any = await replicate(plan="p", return_state=True)
            prepared.partial = state.state_details.flow_run_id
    assert prepared.partial is not None
    return prepared.partial


@dataclass(frozen=True)
class Ui:
    """Prefect's pages."""

    root: str
    page: Page
    screenshot: Screenshot

    async def see(self, path: str, name: str, *texts: str | re.Pattern[str]) -> None:
        """Open a page, wait until a person sees all of these texts, and keep a picture."""
        await self.page.goto(f"{self.root}{path}")
        for text in texts:
            await expect(self.page.get_by_text(text).first).to_be_visible()
        await self.screenshot(name)

    async def details(self) -> None:
        """Read the whole state message of a run."""
        await self.page.get_by_text("Details", exact=True).click()
        await self.page.get_by_text("See More").click()

    async def form(self, name: str) -> None:
        """Open the form of a deployment."""
        async with get_client() as client:
            deployment = await client.read_deployment_by_name(name)
        path = f"/deployments/deployment/{deployment.id}/run"
        await self.see(path, f"form of {name.replace('/', ' ')}", "Recovery plan", "Additional Options")


@pytest.fixture
def ui(prefect_ui: str, partial: UUID, page: Page, screenshot: Screenshot) -> Ui:
    return Ui(prefect_ui, page, screenshot)


@pytest.mark.parametrize("name", ["replicate/manual", "restore/manual", "failover/manual", "automation/manual"])
async def test_a_form_asks_in_words_and_offers_what_can_be_chosen(ui: Ui, name: str) -> None:
    await ui.form(name)
    await expect(ui.page.get_by_text(re.compile(r"\w_\w|type None|str / None|Outage of"))).to_have_count(0)
    plan = ui.page.get_by_role("group").first
    await expect(plan.get_by_role("button")).to_be_visible()  # It opens a list of choices.
    await expect(plan.get_by_role("textbox")).to_have_count(0)


async def test_the_runs_say_their_plan_their_purpose_and_how_they_ended(ui: Ui) -> None:
    await ui.see("/runs", "runs", "replicate-p", "PartiallyFailed")


async def test_a_partial_run_says_why_and_what_to_do_there(ui: Ui, partial: UUID) -> None:
    await ui.see(f"/runs/flow-run/{partial}", "partial run", "PartiallyFailed")
    await ui.details()
    for words in ("invoice-00, invoice-01, invoice-02 and 9 more", "--force ANALYZER", "form of replicate/manual"):
        await expect(ui.page.get_by_text(words).first).to_be_visible()
    await ui.screenshot("partial run, details")


async def test_an_artifact_says_once_what_is_the_same_of_many(ui: Ui, partial: UUID) -> None:
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[partial]))
    async with get_client() as client:
        found = {each.key: each.id for each in await client.read_artifacts(artifact_filter=wanted)}
    path = f"/artifacts/artifact/{found['replication-report']}"
    await ui.see(path, "artifact", "invoice-00, invoice-01, invoice-02 and 9 more: It was edited at west")
    whole = ui.page.get_by_role("listitem").filter(has_text="overwrite it with --force ANALYZER.")
    await expect(whole).to_have_count(1)
    box = await whole.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 1400


async def test_automations_say_what_they_are_for(ui: Ui) -> None:
    await ui.see("/automations", "automations", "standby outage of p", "Two looks in a row found")


async def test_block_types_say_what_they_are_and_limits_whose_they_are(ui: Ui) -> None:
    await ui.see("/concurrency-limits", "limits", "content-understanding-west")
    path = "/blocks/catalog/content-understanding-resource/create"
    await ui.see(path, "form of a resource", "the concurrency limit of 1 in Prefect counts runs, not copies")


@flow(name="failover", flow_run_name="failover-p")
async def waiting() -> Any:
    answer = await ask("The proposal is that west serves instead. No edit would be lost.", timedelta(minutes=30))
    return answer and answer.approve


async def test_a_run_that_waits_for_an_approval_says_what_to_press_and_goes_on_when_it_is_pressed(ui: Ui) -> None:
    running: asyncio.Task[Any] = asyncio.create_task(waiting())
    paused = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
    async with asyncio.timeout(PATIENCE), get_client() as client:
        while not (found := await client.read_flow_runs(flow_run_filter=paused)):
            await asyncio.sleep(0.1)
    await ui.see(f"/runs/flow-run/{found[0].id}", "approval", "WaitingForApproval")
    await ui.details()
    await expect(
        ui.page.get_by_text(re.compile(r"Waits for an approval until .* UTC\. Press Resume")).first
    ).to_be_visible()
    await ui.screenshot("approval, details")
    await ui.page.get_by_role("button", name="Resume").first.click()
    await expect(ui.page.get_by_text("No edit would be lost").last).to_be_visible()
    await ui.screenshot("approval, form")
    switch = await ui.page.get_by_text("Everything is checked once more before anything is done.").bounding_box()
    assert switch is not None
    await ui.page.mouse.click(switch["x"] + 18, switch["y"] + switch["height"] + 16)
    await ui.page.get_by_role("button", name="Submit").click()
    assert await running is True
