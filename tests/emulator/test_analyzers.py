"""Listing, reading, making, changing and deleting analyzers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from standby.emulator.serve import Emulator

Client = Callable[..., httpx.AsyncClient]
Finish = Callable[[httpx.AsyncClient, httpx.Response], Awaitable[Any]]

SCHEMA = {"fieldSchema": {"fields": {"Total": {"type": "number"}}}}


def ids(listed: httpx.Response) -> list[str]:
    return [analyzer["analyzerId"] for analyzer in listed.json()["value"]]


def inner_code(refused: httpx.Response) -> str:
    return str(refused.json()["error"]["innererror"]["code"])


async def test_the_listing_has_the_prebuilt_analyzers_first_and_each_part_is_alphabetical(
    east: httpx.AsyncClient,
) -> None:
    listed = await east.get("/analyzers")
    assert len(ids(listed)) == 90
    assert ids(listed)[-2:] == ["a-classifier", "invoice"]
    assert all(name.startswith("prebuilt-") for name in ids(listed)[:-2])
    assert ids(listed)[:-2] == sorted(ids(listed)[:-2])
    assert "nextLink" not in listed.json()


async def test_the_listing_comes_in_pages_where_that_is_set(
    east: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    whole = ids(await east.get("/analyzers"))
    await control.post("/settings", json={"resource": "east", "page_size": 40})
    page = await east.get("/analyzers")
    found = ids(page)
    pages = 1
    while "nextLink" in page.json():
        page = await east.get(page.json()["nextLink"])
        found += ids(page)
        pages += 1
    assert (pages, found) == (3, whole)


async def test_a_page_that_cannot_be_is_an_invalid_request(east: httpx.AsyncClient) -> None:
    assert (await east.get("/analyzers?skip=some")).status_code == 400


async def test_a_definition_is_listed_whole(east: httpx.AsyncClient) -> None:
    listed = (await east.get("/analyzers")).json()["value"][-1]
    assert listed == (await east.get("/analyzers/invoice")).json()
    assert listed["fieldSchema"]["fields"] == {"Total": {"type": "number"}}


async def test_a_prebuilt_analyzer_can_be_read_but_not_written(east: httpx.AsyncClient) -> None:
    assert (await east.get("/analyzers/prebuilt-invoice")).json()["status"] == "ready"
    assert (await east.put("/analyzers/prebuilt-invoice", json={})).status_code == 400
    assert (await east.delete("/analyzers/prebuilt-invoice")).status_code == 400


async def test_an_analyzer_without_fields_is_ready_at_once(east: httpx.AsyncClient, control: httpx.AsyncClient) -> None:
    await control.post("/settings", json={"service_time": 60})
    made = await east.put("/analyzers/plain", json={"baseAnalyzerId": "prebuilt-document"})
    polled = await east.get(made.headers["operation-location"])
    assert (made.status_code, made.json()["status"]) == (201, "ready")
    assert polled.json()["status"] == "Succeeded"


@pytest.mark.parametrize("body", [SCHEMA, {"knowledgeSources": [{"kind": "labeledData"}]}])
async def test_an_analyzer_with_fields_or_labels_takes_its_time(
    east: httpx.AsyncClient, control: httpx.AsyncClient, finish: Finish, body: dict[str, Any]
) -> None:
    await control.post("/settings", json={"service_time": 60})
    waiting = await east.put("/analyzers/waiting", json=body)
    await control.post("/settings", json={"service_time": 0})
    made = await east.put("/analyzers/made", json=body)
    assert waiting.json()["status"] == made.json()["status"] == "creating"
    ended = await finish(east, made)
    assert (ended["status"], ended["result"]["status"]) == ("Succeeded", "ready")
    assert (await east.get(waiting.headers["operation-location"])).json()["status"] == "Running"
    assert (await east.get("/analyzers/waiting")).json()["status"] == "creating"


async def test_knowledge_sources_are_kept_as_they_were_sent(east: httpx.AsyncClient) -> None:
    sources = [{"kind": "labeledData", "containerUrl": "https://labels", "fileListPath": ""}]
    made = await east.put("/analyzers/trained", json={"knowledgeSources": sources})
    assert made.json()["knowledgeSources"] == sources


async def test_an_existing_analyzer_is_replaced_only_where_that_is_allowed(east: httpx.AsyncClient) -> None:
    refused = await east.put("/analyzers/invoice", json={"description": "Other"})
    allowed = await east.put("/analyzers/invoice", json={"description": "Other"}, params={"allowReplace": "true"})
    assert (refused.status_code, refused.headers["x-ms-error-code"]) == (409, "Conflict")
    assert allowed.status_code == 201
    assert (await east.get("/analyzers/invoice")).json()["description"] == "Other"


async def test_read_only_and_unknown_fields_of_a_definition_are_ignored(east: httpx.AsyncClient) -> None:
    sent = {"status": "failed", "createdAt": "2001-01-01T00:00:00Z", "colour": "red", "config": {"_own": 1}}
    made = (await east.put("/analyzers/plain", json=sent)).json()
    assert made["status"] == "ready"
    assert made["createdAt"] > "2020"
    assert "colour" not in made
    assert "_own" not in made["config"]


async def test_the_configuration_of_a_base_is_inherited_and_own_settings_override_it(east: httpx.AsyncClient) -> None:
    said = {"enableOcr": False, "locales": ["de-DE"], "tableFormat": "markdown", "_own": 1}
    await east.put("/analyzers/base", json={"baseAnalyzerId": "prebuilt-document", "config": said})
    sent = {"baseAnalyzerId": "base", "config": {"enableOcr": True, "tableFormat": None}}
    made = (await east.put("/analyzers/derived", json=sent)).json()["config"]
    assert {key: made[key] for key in ("enableOcr", "locales", "tableFormat", "enableLayout")} == {
        "enableOcr": True,
        "locales": ["de-DE"],
        "tableFormat": "markdown",
        "enableLayout": True,
    }
    assert "_own" not in made
    deeper = (await east.put("/analyzers/deeper", json={"baseAnalyzerId": "derived"})).json()["config"]
    assert deeper == made
    orphan = (await east.put("/analyzers/orphan", json={"baseAnalyzerId": "missing"})).json()["config"]
    assert orphan["enableOcr"] is True


async def test_models_are_filled_in_only_where_a_completion_model_was_named(east: httpx.AsyncClient) -> None:
    named = await east.put("/analyzers/named", json={"models": {"completion": "gpt-4.1"}})
    unnamed = await east.put("/analyzers/unnamed", json={})
    assert named.json()["models"] == {"completion": "gpt-4.1", "embedding": "text-embedding-3-large"}
    assert "models" not in unnamed.json()


async def test_models_need_the_resources_defaults(west: httpx.AsyncClient) -> None:
    refused = await west.put("/analyzers/named", json={"models": {"completion": "gpt-4.1"}})
    assert (refused.status_code, inner_code(refused)) == (400, "DefaultsNotSet")
    assert (await west.put("/analyzers/unnamed", json={})).status_code == 201


@pytest.mark.parametrize(
    ("analyzer", "body"),
    [
        ("no spaces", {}),
        ("x" * 65, {}),
        ("tagged", {"tags": {f"tag{number}": "" for number in range(11)}}),
        ("tagged", {"tags": {"k" * 65: ""}}),
        ("tagged", {"tags": {"key": "v" * 257}}),
        ("tagged", {"tags": {"key": 1}}),
        ("odd", {"fieldSchema": "text"}),
        ("odd", {"models": {"completion": 1}}),
        ("odd", ["a list"]),
    ],
)
async def test_a_wrong_definition_is_an_invalid_request(east: httpx.AsyncClient, analyzer: str, body: object) -> None:
    refused = await east.put(f"/analyzers/{analyzer}", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InvalidRequest")
    assert (await east.get(f"/analyzers/{analyzer}")).status_code == 404


async def test_a_body_that_is_not_json_is_an_invalid_request(east: httpx.AsyncClient) -> None:
    refused = await east.put("/analyzers/odd", content=b"{")
    assert (refused.status_code, inner_code(refused)) == (400, "InvalidJson")


async def test_a_patch_changes_description_and_tags_only(east: httpx.AsyncClient) -> None:
    patch: dict[str, Any] = {
        "description": None,
        "tags": {"team": None, "cost": "7"},
        "config": {"enableOcr": False},
        "fieldSchema": {"fields": {}},
    }
    before = (await east.get("/analyzers/invoice")).json()
    echoed = (await east.patch("/analyzers/invoice", json=patch)).json()
    after = (await east.get("/analyzers/invoice")).json()
    assert echoed["status"] == "undefined"
    assert echoed["config"] == {"enableOcr": False}
    assert "createdAt" not in echoed
    assert after["tags"] == {"cost": "7"}
    assert "description" not in after
    assert (after["config"], after["fieldSchema"]) == (before["config"], before["fieldSchema"])


async def test_a_patch_cannot_add_more_tags_than_there_may_be(east: httpx.AsyncClient) -> None:
    tags = {f"tag{number}": "" for number in range(10)}
    refused = await east.patch("/analyzers/invoice", json={"tags": tags})
    assert refused.status_code == 400
    assert (await east.get("/analyzers/invoice")).json()["tags"] == {"team": "billing"}


async def test_what_is_not_there_is_not_found(east: httpx.AsyncClient, emulator: Emulator) -> None:
    for path in ("/analyzers/nobody", "/analyzers/invoice/operations/nothing", "/nowhere", "/analyzers/"):
        assert (await east.get(path)).status_code == 404
    assert (await east.patch("/analyzers/nobody", json={})).status_code == 404


async def test_a_deleted_analyzer_is_gone_and_its_running_operation_does_not_bring_it_back(
    east: httpx.AsyncClient, finish: Finish
) -> None:
    made = await east.put("/analyzers/brief", json=SCHEMA)
    assert (await east.delete("/analyzers/brief")).status_code == 204
    await finish(east, made)
    assert (await east.get("/analyzers/brief")).status_code == 404
    assert (await east.delete("/analyzers/brief")).status_code == 204


async def test_an_operation_is_found_only_with_its_own_analyzer_and_api_version(
    east: httpx.AsyncClient,
) -> None:
    made = await east.put("/analyzers/made", json=SCHEMA)
    location = httpx.URL(made.headers["operation-location"])
    other = location.copy_with(path=location.path.replace("/made/", "/invoice/"))
    assert (await east.get(other)).status_code == 404
    newer = {"api-version": "2026-06-01-preview"}
    assert (await east.get(location, params=newer)).status_code == 404
    assert (await east.get(location)).status_code == 200


async def test_an_id_can_exist_once_under_each_api_version(emulator: Emulator, client: Client) -> None:
    released, newer = (client(emulator.resources["east"], v) for v in ("2025-11-01", "2026-06-01-preview"))
    await newer.put("/analyzers/twin", json={"description": "Newer"})
    assert (await released.get("/analyzers/twin")).status_code == 404
    await released.put("/analyzers/twin", json={"description": "Released"})
    await released.delete("/analyzers/twin")
    assert (await newer.get("/analyzers/twin")).json()["description"] == "Newer"
    assert (await released.get("/analyzers/invoice")).status_code == 200


@pytest.mark.parametrize("version", ["", "2024-12-01-preview"])
async def test_a_call_needs_an_api_version_that_the_resource_offers(
    emulator: Emulator, client: Client, version: str
) -> None:
    refused = await client(emulator.resources["east"], version).get("/analyzers")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InvalidRequest")


async def test_defaults_are_merged_and_null_removes(west: httpx.AsyncClient) -> None:
    refused = await west.get("/defaults")
    assert (refused.status_code, inner_code(refused)) == (400, "DefaultsNotSet")
    await west.patch("/defaults", json={"modelDeployments": {"gpt-4.1": "chat", "gpt-4o": "old"}})
    patched = await west.patch("/defaults", json={"modelDeployments": {"gpt-4o": None, "gpt-5.2": "new"}})
    assert patched.json() == {"modelDeployments": {"gpt-4.1": "chat", "gpt-5.2": "new"}}
    assert (await west.get("/defaults")).json() == patched.json()


@pytest.mark.parametrize("sent", ["text", {"gpt-4.1": 1}])
async def test_defaults_of_the_wrong_kind_are_an_invalid_request(west: httpx.AsyncClient, sent: object) -> None:
    assert (await west.patch("/defaults", json={"modelDeployments": sent})).status_code == 400


async def test_the_preview_version_has_no_defaults(emulator: Emulator, client: Client) -> None:
    preview = client(emulator.resources["east"], "2025-05-01-preview")
    assert (await preview.get("/defaults")).status_code == 404
