"""Every fault on demand, and which calls it happens to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import Emulator, running
from tests.patience import PATIENCE

Client = Callable[..., httpx.AsyncClient]
Finish = Callable[[httpx.AsyncClient, httpx.Response], Awaitable[Any]]
AddFault = Callable[..., Awaitable[None]]
COPY = "/analyzers/second:copy"
ORDER = {"sourceAnalyzerId": "invoice"}


@pytest.fixture
def add_fault(control: httpx.AsyncClient) -> AddFault:
    """Adds a fault; keywords beside `kind` that a rule has go there."""

    async def add(kind: str, **given: Any) -> None:
        fault = {key: given.pop(key) for key in list(given) if key not in RULE} | {"kind": kind}
        answer = await control.post("/faults", json={**given, "fault": fault})
        assert answer.status_code == 200, answer.text

    return add


RULE = {"resource", "call", "analyzer", "times", "after"}


async def statuses(client: httpx.AsyncClient, path: str, times: int) -> list[int]:
    return [(await client.get(path)).status_code for _ in range(times)]


async def test_a_status_is_answered_with_its_codes_and_retry_after(
    east: httpx.AsyncClient, add_fault: AddFault
) -> None:
    await add_fault("status", call="get", status=429, code="429", inner_code="Slow", message="Wait", retry_after=2)
    refused = await east.get("/analyzers/invoice")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert refused.headers["x-ms-error-code"] == "429"
    error = {"code": "429", "message": "Wait", "innererror": {"code": "Slow", "message": "Wait"}}
    assert refused.json() == {"error": error}
    assert (await east.get("/analyzers/invoice")).status_code == 200


async def test_retry_after_may_be_a_date_or_a_part_of_a_second(east: httpx.AsyncClient, add_fault: AddFault) -> None:
    for sent in ("Wed, 21 Oct 2026 07:28:00 GMT", 0.25):
        await add_fault("status", status=503, retry_after=sent)
        assert (await east.get("/defaults")).headers["retry-after"] == str(sent)


async def test_a_fault_happens_as_often_as_it_is_told_and_after_as_many_calls(
    east: httpx.AsyncClient, add_fault: AddFault, control: httpx.AsyncClient
) -> None:
    await add_fault("status", call="get_defaults", status=500, times=2, after=1)
    assert await statuses(east, "/defaults", 4) == [200, 500, 500, 200]
    await add_fault("status", call="get_defaults", status=502, times=None)
    assert await statuses(east, "/defaults", 3) == [502] * 3
    await control.delete("/faults")
    assert await statuses(east, "/defaults", 1) == [200]


async def test_faults_of_the_same_call_happen_one_after_the_other(
    east: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    rules = [{"call": "get_defaults", "fault": {"kind": "status", "status": status}} for status in (500, 503)]
    await control.post("/faults", json=rules)
    assert await statuses(east, "/defaults", 3) == [500, 503, 200]


async def test_a_fault_happens_to_the_resource_call_and_analyzer_it_names_only(
    east: httpx.AsyncClient, west: httpx.AsyncClient, add_fault: AddFault
) -> None:
    await add_fault("status", resource="east", call="get", analyzer="inv*", status=500, times=None)
    assert await statuses(west, "/analyzers/invoice", 1) == [404]
    assert await statuses(east, "/analyzers/a-classifier", 1) == [200]
    assert await statuses(east, "/analyzers", 1) == [200]
    assert await statuses(east, "/analyzers/invoice", 1) == [500]
    assert (await east.patch("/analyzers/invoice", json={})).status_code == 200


@pytest.mark.parametrize("kind", ["status", "drop", "malformed"])
@pytest.mark.parametrize("process", [True, False])
async def test_a_call_may_be_carried_out_although_its_answer_is_lost(
    east: httpx.AsyncClient, add_fault: AddFault, kind: str, process: bool
) -> None:
    status = {"status": 500} if kind == "status" else {}
    await add_fault(kind, call="copy", process=process, **status)
    if kind == "drop":
        with pytest.raises(httpx.TransportError):
            await east.post(COPY, json=ORDER)
    else:
        assert (await east.post(COPY, json=ORDER)).status_code == (500 if kind == "status" else 200)
    assert (await east.get("/analyzers/second")).status_code == (200 if process else 404)


@pytest.mark.parametrize("body", ["page", "half", "gzip", "nothing"])
async def test_a_malformed_answer_is_a_200_that_is_not_json(
    east: httpx.AsyncClient, add_fault: AddFault, body: str
) -> None:
    await add_fault("malformed", body=body)
    if body == "gzip":
        with pytest.raises(httpx.DecodingError):
            await east.get("/analyzers/invoice")
        return
    answer = await east.get("/analyzers/invoice")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Expecting value|Unterminated string"):
        answer.json()


async def test_what_is_shown_late_is_there_all_the_same(east: httpx.AsyncClient, add_fault: AddFault) -> None:
    await add_fault("shown_late", call="copy", seconds=3600, times=3)
    old = (await east.get("/analyzers/invoice")).json()
    assert (await east.post(COPY, json=ORDER)).status_code == 201
    assert (await east.post(COPY, json=ORDER)).status_code == 409
    assert (await east.get("/analyzers/second")).status_code == 404
    assert "second" not in {each["analyzerId"] for each in (await east.get("/analyzers")).json()["value"]}
    assert (await east.post("/analyzers/invoice:copy", params={"allowReplace": "true"}, json=ORDER)).status_code == 201
    assert (await east.get("/analyzers/invoice")).json() == old


async def test_a_hanging_call_is_never_answered_and_others_are(
    emulator: Emulator, client: Client, east: httpx.AsyncClient, add_fault: AddFault
) -> None:
    await add_fault("hang", call="get")
    impatient = client(emulator.resources["east"], timeout=0.1)
    with pytest.raises(httpx.ReadTimeout):
        await impatient.get("/analyzers/invoice")
    assert (await east.get("/analyzers/invoice")).status_code == 200


async def test_a_hanging_call_may_be_carried_out(
    emulator: Emulator, client: Client, east: httpx.AsyncClient, add_fault: AddFault
) -> None:
    await add_fault("hang", call="copy", process=True)
    with pytest.raises(httpx.ReadTimeout):
        await client(emulator.resources["east"], timeout=0.1).post(COPY, json=ORDER)
    assert (await east.get("/analyzers/second")).json()["status"] == "ready"


async def test_a_delayed_call_is_answered_late(east: httpx.AsyncClient, add_fault: AddFault) -> None:
    await add_fault("delay", seconds=0.1)
    started = time.monotonic()
    assert (await east.get("/analyzers/invoice")).status_code == 200
    assert time.monotonic() - started >= 0.1


async def test_a_caller_who_leaves_does_not_undo_a_delayed_call(
    emulator: Emulator, client: Client, east: httpx.AsyncClient, add_fault: AddFault
) -> None:
    await add_fault("delay", call="copy", seconds=5)
    with pytest.raises(httpx.ReadTimeout):
        await client(emulator.resources["east"], timeout=0.1).post(COPY, json=ORDER)
    async with asyncio.timeout(PATIENCE):
        while (await east.get("/analyzers/second")).status_code == 404:
            continue


async def test_a_redirect_leads_to_another_origin(
    east: httpx.AsyncClient, emulator: Emulator, add_fault: AddFault
) -> None:
    await add_fault("redirect", call="copy")
    answer = await east.post(COPY, json=ORDER)
    assert answer.status_code == 307
    location = httpx.URL(answer.headers["location"])
    assert location.host != httpx.URL(emulator.resources["east"].endpoint).host
    assert location.path == "/contentunderstanding/analyzers/second:copy"


async def test_a_void_grant_looks_like_a_grant(
    emulator: Emulator, east: httpx.AsyncClient, west: httpx.AsyncClient, add_fault: AddFault
) -> None:
    await add_fault("void_grant")
    target = {"targetAzureResourceId": emulator.resources["west"].resource_id}
    order = {**ORDER, "sourceAzureResourceId": emulator.resources["east"].resource_id}
    granted = await east.post("/analyzers/invoice:grantCopyAuthorization", json=target)
    assert (granted.status_code, granted.json().keys()) == (200, {"targetAzureResourceId", "expiresAt"})
    assert (await west.post(COPY, json=order)).status_code == 404
    await east.post("/analyzers/invoice:grantCopyAuthorization", json=target)
    assert (await west.post(COPY, json=order)).status_code == 201


async def test_a_hanging_operation_stays_running(east: httpx.AsyncClient, add_fault: AddFault) -> None:
    await add_fault("operation_hangs", call="copy")
    started = await east.post(COPY, json=ORDER)
    for _ in range(3):
        assert (await east.get(started.headers["operation-location"])).json()["status"] == "Running"
    assert (await east.get("/analyzers/second")).json()["status"] == "creating"


async def test_a_failed_operation_is_a_200_with_the_error(
    east: httpx.AsyncClient, add_fault: AddFault, finish: Finish
) -> None:
    await add_fault("operation_fails", call="copy", code="Broken", message="It broke.")
    ended = await finish(east, await east.post(COPY, json=ORDER))
    assert (ended["status"], ended["error"]) == ("Failed", {"code": "Broken", "message": "It broke."})
    assert (await east.get("/analyzers/second")).json()["status"] == "failed"


async def test_a_vanished_operation_is_not_found_and_its_analyzer_becomes_ready(
    east: httpx.AsyncClient, add_fault: AddFault
) -> None:
    await add_fault("operation_vanishes", call="copy")
    started = await east.post(COPY, json=ORDER)
    assert (await east.get(started.headers["operation-location"])).status_code == 404
    assert (await east.get("/analyzers/second")).json()["status"] == "ready"


async def test_an_analyzer_can_fail_although_its_operation_succeeds(
    east: httpx.AsyncClient, add_fault: AddFault, finish: Finish
) -> None:
    await add_fault("analyzer_fails", call="put")
    ended = await finish(east, await east.put("/analyzers/plain", json={}))
    assert (ended["status"], ended["result"]["status"]) == ("Succeeded", "failed")


async def test_links_can_lead_to_another_origin(
    east: httpx.AsyncClient, add_fault: AddFault, emulator: Emulator
) -> None:
    await add_fault("foreign_location", call="copy")
    started = await east.post(COPY, json=ORDER)
    assert started.headers["operation-location"].startswith("https://elsewhere.invalid/contentunderstanding/")
    await add_fault("foreign_location", call="list", origin=emulator.control)
    assert (await east.get("/analyzers")).json()["nextLink"].startswith(f"{emulator.control}/")


async def test_a_page_can_lead_to_itself(east: httpx.AsyncClient, add_fault: AddFault) -> None:
    await add_fault("looping_next_link", times=None)
    first = await east.get("/analyzers")
    second = await east.get(first.json()["nextLink"])
    assert second.json() == first.json()


async def test_an_answer_can_be_rewritten(east: httpx.AsyncClient, add_fault: AddFault) -> None:
    await add_fault("rewritten", call="list", pattern='{"analyzerId":("[^"]*")', text="null")
    first, second = [(await east.get("/analyzers")).json()["value"][0]["analyzerId"] for _ in range(2)]
    assert (first, bool(second)) == (None, True)


async def test_a_fault_of_the_work_waits_for_a_call_that_is_carried_out(
    east: httpx.AsyncClient, add_fault: AddFault, finish: Finish
) -> None:
    await add_fault("operation_fails")
    await add_fault("status", call="copy", status=503)
    assert (await east.post(COPY, json=ORDER)).status_code == 503
    assert (await finish(east, await east.post(COPY, json=ORDER)))["status"] == "Failed"


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"fault": {"kind": "explode"}}, "explode"),
        ({"call": "poll", "fault": {"kind": "void_grant"}}, "void_grant does not happen to poll calls"),
        ({"resource": "north", "fault": {"kind": "drop"}}, "north is not one of the resources"),
        ({"fault": {"kind": "drop"}, "time": 1}, "time: this key is not known"),
        ({"fault": {"kind": "status", "status": 42}}, "status"),
    ],
)
async def test_a_wrong_fault_is_refused_with_a_sentence(
    control: httpx.AsyncClient, rule: dict[str, Any], sentence: str
) -> None:
    refused = await control.post("/faults", json=rule)
    assert refused.status_code == 400
    assert sentence in refused.json()["error"]


async def test_faults_may_come_from_the_file_and_come_back_with_a_reset(config: EmulatorConfig) -> None:
    rule = {"call": "get_defaults", "fault": {"kind": "status", "status": 500}}
    told = EmulatorConfig.model_validate(config.model_dump() | {"faults": [rule]})
    async with running(told) as emulator, httpx.AsyncClient() as client:
        served = emulator.resources["east"]
        url = f"{served.endpoint}/contentunderstanding/defaults?api-version=2025-11-01"
        client.headers["Ocp-Apim-Subscription-Key"] = served.key
        assert await statuses(client, url, 2) == [500, 200]
        await client.post(f"{emulator.control}/reset")
        assert await statuses(client, url, 2) == [500, 200]
