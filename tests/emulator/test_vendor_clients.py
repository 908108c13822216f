"""The vendor's own SDK and copy routine work against the emulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import httpx
import pytest
from azure.ai.contentunderstanding import ContentUnderstandingClient
from azure.ai.contentunderstanding.aio import ContentUnderstandingClient as AsyncContentUnderstandingClient
from azure.ai.contentunderstanding.models import (
    AnalysisInput,
    AudioVisualContent,
    ContentAnalyzer,
    ContentAnalyzerConfig,
    ContentCategoryDefinition,
    ContentFieldDefinition,
    ContentFieldSchema,
    DocumentContent,
)
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from cu_cli_core.errors import ConflictError, NotFoundError
from cu_cli_core.operations.analyzer_copy import copy_analyzer

from standby.emulator.serve import Emulator
from standby.emulator.world import Place

FIELDS = ContentFieldSchema(fields={"Total": ContentFieldDefinition(type="number", method="extract")})


def options(served: Place) -> dict[str, Any]:
    return {
        "endpoint": served.endpoint,
        "credential": AzureKeyCredential(served.key),
        "polling_interval": 0,
    }


@pytest.fixture
def east_sdk(emulator: Emulator) -> Iterator[ContentUnderstandingClient]:
    """The SDK's blocking client of east."""
    with ContentUnderstandingClient(**options(emulator.resources["east"])) as client:
        yield client


@pytest.fixture
def west_sdk(emulator: Emulator) -> Iterator[ContentUnderstandingClient]:
    """The SDK's blocking client of west."""
    with ContentUnderstandingClient(**options(emulator.resources["west"])) as client:
        yield client


@pytest.fixture
async def east_aio(emulator: Emulator) -> AsyncIterator[AsyncContentUnderstandingClient]:
    """The SDK's asynchronous client of east."""
    async with AsyncContentUnderstandingClient(**options(emulator.resources["east"])) as client:
        yield client


@pytest.fixture
async def west_aio(emulator: Emulator) -> AsyncIterator[AsyncContentUnderstandingClient]:
    """The SDK's asynchronous client of west."""
    async with AsyncContentUnderstandingClient(**options(emulator.resources["west"])) as client:
        yield client


async def test_the_blocking_sdk_lives_through_an_analyzers_life(east_sdk: ContentUnderstandingClient) -> None:
    def life() -> None:
        made = east_sdk.begin_create_analyzer(
            "made", ContentAnalyzer(base_analyzer_id="prebuilt-document", field_schema=FIELDS)
        ).result()
        assert (made.analyzer_id, made.status) == ("made", "ready")
        with pytest.raises(ResourceExistsError):
            east_sdk.begin_create_analyzer("made", ContentAnalyzer())
        replaced = east_sdk.begin_create_analyzer(
            "made", ContentAnalyzer(description="Again"), allow_replace=True
        ).result()
        assert replaced.description == "Again"
        east_sdk.update_analyzer("made", ContentAnalyzer(description="Updated", tags={"team": "a"}))
        assert east_sdk.get_analyzer("made").tags == {"team": "a"}
        copied = east_sdk.begin_copy_analyzer("copied", source_analyzer_id="made").result()
        assert (copied.analyzer_id, copied.description) == ("copied", "Updated")
        assert {"made", "copied"} <= {found.analyzer_id for found in east_sdk.list_analyzers()}
        east_sdk.delete_analyzer("made")
        with pytest.raises(ResourceNotFoundError):
            east_sdk.get_analyzer("made")

    await asyncio.to_thread(life)


async def test_the_blocking_sdk_reads_and_updates_defaults(west_sdk: ContentUnderstandingClient) -> None:
    def defaults() -> None:
        with pytest.raises(HttpResponseError, match="DefaultsNotSet"):
            west_sdk.get_defaults()
        west_sdk.update_defaults(model_deployments={"gpt-4.1": "chat"})
        assert west_sdk.get_defaults().model_deployments == {"gpt-4.1": "chat"}

    await asyncio.to_thread(defaults)


async def test_the_asynchronous_sdk_copies_from_one_resource_to_another(
    emulator: Emulator, east_aio: AsyncContentUnderstandingClient, west_aio: AsyncContentUnderstandingClient
) -> None:
    east, west = (emulator.resources[name] for name in ("east", "west"))
    granted = await east_aio.grant_copy_authorization(
        "invoice", target_azure_resource_id=west.resource_id, target_region=west.region
    )
    assert granted.target_azure_resource_id == west.resource_id
    poller = await west_aio.begin_copy_analyzer(
        "invoice",
        source_analyzer_id="invoice",
        source_azure_resource_id=east.resource_id,
        source_region=east.region,
    )
    assert (await poller.result()).description == "Invoices"


async def test_the_asynchronous_sdk_lists_over_pages_creates_replaces_and_deletes(
    east_aio: AsyncContentUnderstandingClient, control: httpx.AsyncClient
) -> None:
    await control.post("/settings", json={"page_size": 25})
    assert len([found async for found in east_aio.list_analyzers()]) == 90
    for description in ("One", "Two"):
        poller = await east_aio.begin_create_analyzer(
            "made", ContentAnalyzer(description=description, field_schema=FIELDS), allow_replace=True
        )
        assert (await poller.result()).description == description
    copying = await east_aio.begin_copy_analyzer("made", source_analyzer_id="invoice", allow_replace=True)
    assert (await copying.result()).description == "Invoices"
    await east_aio.delete_analyzer("made")
    with pytest.raises(ResourceNotFoundError):
        await east_aio.get_analyzer("made")
    await east_aio.update_defaults(model_deployments={"gpt-5.2": "new"})
    assert (await east_aio.get_defaults()).model_deployments["gpt-5.2"] == "new"


async def test_the_sdk_reports_a_failed_operation(
    east_aio: AsyncContentUnderstandingClient, control: httpx.AsyncClient
) -> None:
    fault = {"kind": "operation_fails", "code": "Broken", "message": "It broke."}
    await control.post("/faults", json={"call": "copy", "fault": fault})
    poller = await east_aio.begin_copy_analyzer("second", source_analyzer_id="invoice")
    with pytest.raises(HttpResponseError, match="It broke"):
        await poller.result()


MIXED = b"%PDF-1.4" + b"<< /Type /Page >>" * 4 + b"(An invoice) Tj (and a loan) Tj"
URL = "https://a.example/invoice.pdf"


async def test_the_samples_of_the_sdk_classify_a_document(east_sdk: ContentUnderstandingClient) -> None:
    def sample() -> None:
        categories = {name: ContentCategoryDefinition(description=name) for name in ("Loan", "Invoice", "Statement")}
        config = ContentAnalyzerConfig(return_details=True, enable_segment=True, content_categories=categories)
        resource = ContentAnalyzer(
            base_analyzer_id="prebuilt-document", config=config, models={"completion": "gpt-4.1"}
        )
        east_sdk.begin_create_analyzer("classifier", resource).result()
        result = east_sdk.begin_analyze_binary("classifier", binary_input=MIXED).result()
        content = cast(DocumentContent, result.contents[0])
        assert (content.start_page_number, content.end_page_number, content.mime_type) == (1, 4, "application/pdf")
        page = (content.pages or [])[0]
        assert (page.page_number, page.width, page.height) == (1, 8.5, 11)
        assert [(each.category, each.start_page_number) for each in content.segments or []] == [
            ("Loan", 1),
            ("Invoice", 3),
        ]

    await asyncio.to_thread(sample)


async def test_the_samples_of_the_sdk_read_an_invoice_and_delete_the_result(
    east_sdk: ContentUnderstandingClient, control: httpx.AsyncClient
) -> None:
    def sample() -> None:
        poller = east_sdk.begin_analyze("prebuilt-invoice", inputs=[AnalysisInput(url=URL)])
        content = cast(DocumentContent, poller.result().contents[0])
        fields = content.fields or {}
        assert fields["InvoiceDate"].confidence is not None
        assert {"Amount", "CurrencyCode"} == set(cast(Any, fields["TotalAmount"]).value)
        items = cast(Any, fields["LineItems"]).value
        assert all({"Description", "Quantity"} == set(each.value) for each in items)
        assert poller.usage is not None
        assert poller.usage.document_pages_standard == 1
        assert set(poller.usage.tokens or {}) == {"gpt-4.1-input", "gpt-4.1-output"}
        east_sdk.delete_result(operation_id=poller.operation_id)

    await asyncio.to_thread(sample)
    assert (await control.get("/stats")).json()["resources"]["east"]["results"] == 0


SEARCH = {"prebuilt-videoSearch": "https://a.example/flight.mp4", "prebuilt-audioSearch": "https://a.example/call.mp3"}


@pytest.fixture
async def _serves_search(control: httpx.AsyncClient) -> None:
    await control.post("/settings", json={"resource": "east", "defaults": {"gpt-4.1-mini": "chat-mini"}})


@pytest.mark.usefixtures("_serves_search")
async def test_the_samples_of_the_sdk_read_pages_and_times_of_a_range(east_sdk: ContentUnderstandingClient) -> None:
    def read(analyzer: str, url: str, part: str) -> Any:
        poller = east_sdk.begin_analyze(analyzer, inputs=[AnalysisInput(url=url, content_range=part)])
        (content,) = poller.result().contents
        return content

    def sample() -> None:
        paper = cast(DocumentContent, read("prebuilt-documentSearch", URL, "1-3,5,9-"))
        assert [page.page_number for page in paper.pages or []] == [1, 2, 3, 5, 9]
        assert (paper.start_page_number, paper.end_page_number) == (1, 9)
        binary = east_sdk.begin_analyze_binary(
            "prebuilt-documentSearch", binary_input=MIXED, content_range="3-"
        ).result()
        assert [page.page_number for page in cast(DocumentContent, binary.contents[0]).pages or []] == [3, 4]
        for analyzer, url in SEARCH.items():
            for part, begin, end in (("0-5000", 0, 5000), ("1200-3651", 1200, 3651), ("0-3000,30000-", 0, 60_000)):
                media = cast(AudioVisualContent, read(analyzer, url, part))
                assert (media.kind, media.start_time_ms, media.end_time_ms) == ("audioVisual", begin, end)
                assert (media.transcript_phrases or [])[0].start_time_ms == begin
                assert "Summary" in (media.fields or {})

    await asyncio.to_thread(sample)


@pytest.mark.usefixtures("_serves_search")
async def test_the_samples_of_the_sdk_get_a_frame_of_a_video(east_sdk: ContentUnderstandingClient) -> None:
    def sample() -> None:
        inputs = [AnalysisInput(url=SEARCH["prebuilt-videoSearch"])]
        poller = east_sdk.begin_analyze("prebuilt-videoSearch", inputs=inputs)
        video = cast(AudioVisualContent, poller.result().contents[0])
        (frame,) = video.key_frame_times_ms or []
        assert video.width
        assert poller.usage is not None
        assert poller.usage.video_hours
        image = b"".join(east_sdk.get_result_file(operation_id=poller.operation_id, path=f"keyframes/{frame}"))
        assert image.startswith(b"\xff\xd8")
        with pytest.raises(ResourceNotFoundError):
            east_sdk.get_result_file(operation_id=poller.operation_id, path="keyframes/1")

    await asyncio.to_thread(sample)


async def test_the_asynchronous_sdk_analyses_and_meets_what_fails(
    east_aio: AsyncContentUnderstandingClient, control: httpx.AsyncClient
) -> None:
    poller = await east_aio.begin_analyze_binary("invoice", binary_input=MIXED, content_type="application/pdf")
    assert "An invoice" in str((await poller.result()).contents[0].markdown)
    await east_aio.delete_result(operation_id=poller.operation_id)
    # The defaults of east do not name its model.
    search = await east_aio.begin_analyze("prebuilt-documentSearch", inputs=[AnalysisInput(url=URL)])
    with pytest.raises(HttpResponseError, match="none was resolved"):
        await search.result()
    with pytest.raises(ResourceNotFoundError):
        await east_aio.begin_analyze_binary("nobody", binary_input=MIXED)
    await control.post("/settings", json={"analysis_failures": "at_once"})
    with pytest.raises(HttpResponseError, match="none was resolved"):
        await east_aio.begin_analyze("prebuilt-documentSearch", inputs=[AnalysisInput(url=URL)])


class VendorsCopy:
    """The vendor's routine between two resources."""

    def __init__(self, source: Place, target: Place) -> None:
        self.places = {
            "source_azure_resource_id": source.resource_id,
            "source_region": source.region,
            "target_azure_resource_id": target.resource_id,
            "target_region": target.region,
        }

    async def __call__(
        self, source: ContentUnderstandingClient, target: ContentUnderstandingClient, analyzer: str
    ) -> Any:
        return await asyncio.to_thread(copy_analyzer, source, analyzer, analyzer, target_client=target, **self.places)


@pytest.fixture
def vendors_copy(emulator: Emulator) -> VendorsCopy:
    """The vendor's routine from east to west."""
    return VendorsCopy(emulator.resources["east"], emulator.resources["west"])


async def test_the_vendors_routine_copies_once_and_then_finds_the_destination_taken(
    east_sdk: ContentUnderstandingClient, west_sdk: ContentUnderstandingClient, vendors_copy: VendorsCopy
) -> None:
    copied = await vendors_copy(east_sdk, west_sdk, "invoice")
    assert (copied.analyzer_id, copied.status) == ("invoice", "ready")
    with pytest.raises(ConflictError, match="destination analyzer 'invoice' already exists"):
        await vendors_copy(east_sdk, west_sdk, "invoice")


async def test_the_vendors_routine_tells_a_missing_source(
    east_sdk: ContentUnderstandingClient, west_sdk: ContentUnderstandingClient, vendors_copy: VendorsCopy
) -> None:
    with pytest.raises(NotFoundError, match="source analyzer 'nobody' was not found"):
        await vendors_copy(east_sdk, west_sdk, "nobody")


async def test_the_vendors_routine_copies_within_a_resource(east_sdk: ContentUnderstandingClient) -> None:
    copied = await asyncio.to_thread(copy_analyzer, east_sdk, "invoice", "second")
    assert copied.analyzer_id == "second"


async def test_the_vendors_routine_meets_a_void_grant(
    east_sdk: ContentUnderstandingClient,
    west_sdk: ContentUnderstandingClient,
    vendors_copy: VendorsCopy,
    control: httpx.AsyncClient,
) -> None:
    await control.post("/faults", json={"fault": {"kind": "void_grant"}})
    with pytest.raises(ResourceNotFoundError, match="has not granted the necessary permissions"):
        await vendors_copy(east_sdk, west_sdk, "invoice")
