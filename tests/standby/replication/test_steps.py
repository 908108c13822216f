"""Each step against a client whose network is a service in memory."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from standby.config.plan import CopyDeadlines, RecoveryPlan
from standby.replication import steps
from standby.replication.engine import Receipt
from standby.replication.errors import (
    CopyDiffers,
    CopyNotStarted,
    MayBeUnderWay,
    ModelsNotServed,
    TargetAnalyzerFailed,
    TargetAnalyzerGone,
    TargetAnalyzerNotReady,
    TargetMoved,
)
from standby.replication.inventory import SERVING_AGE, connect
from standby.replication.items import PlanItem, Selection
from standby.replication.pacing import Kind
from standby.replication.replicate import survey
from standby.replication.steps import ADOPTED, LATE, SETTLING, DirectSteps, RunContext
from standby.replication.verdict import Action
from standby.service.errors import (
    AnalyzerNotFound,
    Conflict,
    GrantVoid,
    OperationFailed,
    OperationHung,
)
from standby.vault.errors import VaultUnavailable
from tests.standby.replication.world import (
    MODELS,
    PREVIEW_2025,
    RELEASED,
    START,
    Service,
    definition,
    expiry,
    labelled,
    operation_answer,
    recovery_plan,
    refusal,
    resource,
    void_grant,
)
from tests.standby.vault.world import Memory

POLL_10_S = CopyDeadlines(poll=10, first_interval=1, longest_interval=4)


@dataclass
class Stage:
    """A service and a run on it."""

    service: Service
    context: RunContext

    async def plan(self, on_existing: Any = "refuse", *force: str) -> PlanItem:
        """Plan as a run does; the one item of it."""
        (item,) = (await survey(self.context, Selection(on_existing=on_existing, force=force))).items
        self.service.calls.clear()
        return item

    async def copied(self, on_existing: Any = "refuse", *force: str) -> tuple[PlanItem, Receipt]:
        item = await self.plan(on_existing, *force)
        authorization = await steps.authorize(self.context, item)
        return item, await steps.copy(self.context, item, authorization)


@asynccontextmanager
async def stage(vault: Path, plan: RecoveryPlan | None = None, **fields: Any) -> AsyncIterator[Stage]:
    service = Service()
    service.hold("east", definition("a"))
    context = service.context(plan or recovery_plan(deadlines=POLL_10_S), vault, **fields)
    try:
        yield Stage(service, context)
    finally:
        for client in context.connections.clients.values():
            await client.__aexit__()


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


def answering(
    method: str, ending: str, *answers: httpx.Response | Exception | None, when: str = "before"
) -> Callable[[str, httpx.Request], httpx.Response | None]:
    """Answer the calls of one kind in turn; nothing, and all after the last, goes to the service."""
    waiting = iter(answers)

    def intervene(moment: str, request: httpx.Request) -> httpx.Response | None:
        if (moment, request.method) == (when, method) and request.url.path.endswith(ending):
            answer = next(waiting, None)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return None

    return intervene


LOST = httpx.ReadError("gone")
GATEWAY = httpx.Response(502, text="bad gateway")


# Authorize.


async def test_a_grant_is_asked_for_this_analyzer_and_this_target(on: Stage) -> None:
    authorization = await steps.authorize(on.context, await on.plan())
    assert (authorization.analyzer, authorization.target_analyzer) == ("a", "a")
    assert on.service.region("east").grants == {("a", resource("west").resource_id)}


@pytest.mark.parametrize(("minutes", "used"), [(-60, False), (4, False), (5, False), (6, True)])
async def test_a_grant_too_near_its_end_is_not_used(on: Stage, minutes: int, used: bool) -> None:
    item = await on.plan()
    body = {"expiresAt": expiry(on.service.clock, minutes=minutes)}
    on.service.intervene = answering("POST", ":grantCopyAuthorization", httpx.Response(200, json=body))
    if used:
        assert (await steps.authorize(on.context, item)).expires_at is not None
    else:
        with pytest.raises(GrantVoid, match="too soon to be used"):
            await steps.authorize(on.context, item)


async def test_a_source_that_was_deleted_meanwhile_is_named(on: Stage) -> None:
    item = await on.plan()
    del on.service.region("east").analyzers["a"]
    with pytest.raises(AnalyzerNotFound, match="a at east"):
        await steps.authorize(on.context, item)


# Models.


async def test_models_that_are_not_served_are_told_with_the_call_and_asked_about_anew(tmp_path: Path) -> None:
    async with stage(tmp_path, recovery_plan(missing_defaults="ignore")) as on:
        on.service.hold("east", definition("a", models=MODELS))
        item = await on.plan()
        assert len(await steps.validate_deployments(on.context, item)) == 2
    async with stage(tmp_path) as on:
        with pytest.raises(ModelsNotServed, match="Fix it with PATCH"):
            await steps.validate_deployments(on.context, item)
        on.service.region("west").defaults = dict.fromkeys(MODELS.values(), "deployment")
        told = await steps.validate_deployments(on.context, item)
        assert all("is unknown" in warning for warning in told)


async def test_what_a_resource_serves_is_asked_once_for_many_analyzers_and_again_when_old(on: Stage) -> None:
    item = await on.plan()
    for _ in range(5):
        await steps.validate_deployments(on.context, item)
    assert on.service.count("GET", "/defaults") == 0
    on.service.clock.seconds += SERVING_AGE + 1
    await steps.validate_deployments(on.context, item)
    assert on.service.count("GET", "/defaults") == 2


async def test_only_names_that_are_missing_at_this_moment_are_added_to_the_defaults(on: Stage) -> None:
    await on.plan()
    on.service.region("west").defaults = {"gpt-4.1": "set by somebody since the plan"}
    await steps.add_defaults(on.context, "west", {"gpt-4.1": "ours", "gpt-4o": "new"})
    assert on.service.region("west").defaults == {
        "gpt-4.1": "set by somebody since the plan",
        "gpt-4o": "new",
    }
    assert (await on.context.connections.serving("west")).defaults == on.service.region("west").defaults


async def test_defaults_that_are_complete_are_not_written(on: Stage) -> None:
    on.service.region("west").defaults = {"gpt-4.1": "theirs"}
    await steps.add_defaults(on.context, "west", {"gpt-4.1": "ours"})
    assert on.service.count("PATCH", "/defaults") == 0


# Copy.


async def test_a_copy_gives_its_operation(on: Stage) -> None:
    _, receipt = await on.copied()
    assert receipt.operation_id == "op-1"
    assert receipt.operation_url is not None
    assert receipt.operation_url.startswith("https://west.services.ai.azure.com/")


@pytest.mark.parametrize("lost", [LOST, GATEWAY, httpx.Response(201, text="half an ans")])
async def test_a_lost_answer_to_a_copy_that_was_begun_is_adopted(on: Stage, lost: httpx.Response | Exception) -> None:
    on.service.intervene = answering("POST", ":copy", lost, when="after")
    _, receipt = await on.copied()
    assert receipt == replace(ADOPTED, attempts=1)
    assert on.service.accepted["west", "a"] == 1


async def test_a_lost_answer_to_a_copy_that_is_over_already_is_adopted(on: Stage) -> None:
    def finished(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "after" and request.url.path.endswith(":copy"):
            on.service.settle()
            raise LOST
        return None

    on.service.intervene = finished
    _, receipt = await on.copied()
    assert receipt.operation_url is None


async def test_a_copy_that_is_not_wholly_there_yet_is_adopted(on: Stage) -> None:
    item = await on.plan()
    authorization = await steps.authorize(on.context, item)
    on.service.hold("west", {"analyzerId": "a", "status": "creating"})
    assert await steps.copy(on.context, item, authorization) == replace(ADOPTED, attempts=1)


def shown_late(service: Service, seconds: float, *, lost: bool) -> Callable[[str, httpx.Request], Any]:
    """Show what the target had before, for so long after a copy was taken, whose answer may be lost."""
    before = dict(service.region("west").analyzers)
    shown: list[float] = []

    def late(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "after" and request.url.path.endswith(":copy") and not shown:
            shown.append(service.clock.seconds + seconds)
            if lost:
                raise LOST
        if request.method == "GET" and request.url.path.endswith("/a") and shown and service.clock.seconds < shown[0]:
            old = before.get("a")
            return httpx.Response(200, json=old) if old else refusal(404, "NotFound", "ModelNotFound", "Not found.")
        return None

    return late


@pytest.mark.parametrize("on_existing", ["refuse", "replace"])
@pytest.mark.parametrize("seconds", [0.5, 3, 12, 30])
@pytest.mark.parametrize("lost", [True, False], ids=["answer lost", "answered"])
async def test_a_copy_that_shows_late_is_waited_for_and_never_begun_twice(
    on: Stage, on_existing: str, seconds: float, lost: bool
) -> None:
    if on_existing == "replace":
        on.service.hold("west", definition("a", description="theirs"))
    item = await on.plan(on_existing)
    direct = DirectSteps(replace(on.context, recovery_plan=recovery_plan()))
    authorization = await direct.authorize(item)
    on.service.intervene = shown_late(on.service, seconds, lost=lost)

    receipt = await direct.copy(item, authorization)
    await direct.verify(item, await direct.poll(item, receipt))

    assert on.service.accepted["west", "a"] == 1


async def test_what_does_not_show_within_the_deadline_is_gone_and_one_that_is_deleted_is_too(on: Stage) -> None:
    item = await on.plan()
    on.service.intervene = shown_late(on.service, 1000, lost=False)
    receipt = await steps.copy(on.context, item, await steps.authorize(on.context, item))
    await steps.poll(on.context, item, receipt)
    begun = on.service.clock.seconds
    with pytest.raises(TargetAnalyzerGone):
        await steps.verify(on.context, item)
    assert on.service.clock.seconds - begun == POLL_10_S.poll


@pytest.mark.parametrize("lost", [LOST, GATEWAY])
async def test_a_copy_that_does_not_show_after_a_lost_answer_may_be_asked_for_again(
    on: Stage, lost: httpx.Response | Exception
) -> None:
    on.service.intervene = answering("POST", ":copy", lost)
    with pytest.raises(CopyNotStarted, match="not started a second time"):
        await on.copied()
    assert SETTLING <= on.service.clock.seconds < LATE


async def test_a_conflict_with_our_own_copy_is_adopted(on: Stage) -> None:
    item = await on.plan()
    authorization = await steps.authorize(on.context, item)
    first = await steps.copy(on.context, item, authorization)
    second = await steps.copy(on.context, item, authorization)
    assert first.operation_url is not None
    assert second == replace(ADOPTED, attempts=1)
    on.service.settle()
    assert await steps.copy(on.context, item, authorization) == replace(ADOPTED, attempts=1)
    assert on.service.accepted["west", "a"] == 1


@pytest.mark.parametrize("status", ["ready", "failed", "deleting"])
async def test_a_conflict_with_somebody_elses_analyzer_is_a_conflict(on: Stage, status: str) -> None:
    item = await on.plan()
    authorization = await steps.authorize(on.context, item)
    on.service.hold("west", definition("a", description="appeared mid-run", status=status))
    with pytest.raises(Conflict, match="run again"):
        await steps.copy(on.context, item, authorization)


async def test_a_void_grant_comes_through_as_such(on: Stage) -> None:
    on.service.intervene = answering("POST", ":copy", void_grant())
    with pytest.raises(GrantVoid):
        await on.copied()


# Replace.


def kept(vault: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in kept_files(vault)]


def kept_files(vault: Path) -> list[Path]:
    return sorted(vault.rglob("replaced/**/*.json"))


async def test_what_is_replaced_is_in_the_vault_before_the_copy_is_asked_for(on: Stage, tmp_path: Path) -> None:
    on.service.hold("west", definition("a", description="theirs, später"))
    before: list[Any] = []

    def look(when: str, request: httpx.Request) -> None:
        if when == "before" and request.url.path.endswith(":copy"):
            before.extend(kept(tmp_path))

    on.service.intervene = look
    item, receipt = await on.copied("replace")
    assert item.action is Action.REPLACE
    assert [each["description"] for each in before] == ["theirs, später"]
    assert on.service.accepted["west", "a"] == 1
    assert receipt.operation_url is not None


async def test_what_is_saved_of_it_gives_nobody_access(on: Stage, tmp_path: Path) -> None:
    signed = "https://x.blob.core.windows.net/l?sv=2024&SIG=c2VjcmV0"
    source = {"kind": "labeledData", "containerUrl": signed, "fileListPath": "f", "prefix": "p"}
    note = f'Labels are at {signed}, "{signed}" and https://example.com/?page=2.'
    on.service.hold("west", definition("a", description=note, knowledgeSources=[source]))
    await on.copied("replace", "a")
    (saved,) = kept(tmp_path)
    bare = "https://x.blob.core.windows.net/l"
    assert saved["knowledgeSources"] == [source | {"containerUrl": bare}]
    assert saved["description"] == f'Labels are at {bare} "{bare}" and https://example.com/?page=2.'


async def test_the_receipt_says_where_what_was_replaced_is_kept(on: Stage, tmp_path: Path) -> None:
    on.service.hold("west", definition("a", description="theirs"))
    _, receipt = await on.copied("replace")
    (sentence,) = receipt.warnings
    where = sentence.removeprefix("The analyzer a that west had before is saved in ").removesuffix(".")
    assert [where] == [str(path) for path in kept_files(tmp_path)]


async def test_a_copy_that_is_adopted_after_its_answer_was_lost_says_so_too(on: Stage) -> None:
    on.service.hold("west", definition("a", description="theirs"))
    on.service.intervene = answering("POST", ":copy", LOST, when="after")
    _, receipt = await on.copied("replace")
    assert receipt.operation_url is None
    assert "is saved in" in receipt.warnings[0]


async def test_what_cannot_be_kept_is_not_replaced(on: Stage) -> None:
    on.service.hold("west", definition("a", description="theirs"))
    on.context = dataclasses.replace(on.context, vault=Memory(fails_at={1}))
    with pytest.raises(VaultUnavailable, match="could not be written"):
        await on.copied("replace")
    assert on.service.accepted.total() == 0
    assert on.service.region("west").analyzers["a"]["description"] == "theirs"


async def test_a_copy_to_a_free_name_keeps_nothing(on: Stage, tmp_path: Path) -> None:
    await on.copied()
    assert kept(tmp_path) == []


async def test_what_was_edited_at_the_target_after_the_plan_is_not_replaced(on: Stage) -> None:
    on.service.hold("west", definition("a", description="theirs"))
    item = await on.plan("replace")
    authorization = await steps.authorize(on.context, item)
    on.service.hold("west", definition("a", description="their last edit"))
    with pytest.raises(TargetMoved, match="Run again to plan"):
        await steps.copy(on.context, item, authorization)
    assert on.service.accepted.total() == 0


async def test_what_was_deleted_at_the_target_after_the_plan_is_copied(on: Stage) -> None:
    on.service.hold("west", definition("a", description="theirs"))
    item = await on.plan("replace")
    authorization = await steps.authorize(on.context, item)
    del on.service.region("west").analyzers["a"]
    assert (await steps.copy(on.context, item, authorization)).operation_url is not None


@pytest.mark.parametrize("over", [False, True])
async def test_a_replacement_is_not_begun_twice_when_even_the_look_at_the_target_fails(on: Stage, over: bool) -> None:
    on.service.hold("west", definition("a", description="theirs"))
    item = await on.plan("replace")
    authorization = await steps.authorize(on.context, item)

    def broken(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "after" and request.url.path.endswith(":copy"):
            raise LOST
        return GATEWAY if when == "after" and on.service.accepted else None

    on.service.intervene = broken
    with pytest.raises(MayBeUnderWay, match="run again: an analyzer that exists by then is not made a second time"):
        await steps.copy(on.context, item, authorization)
    if over:
        on.service.settle()
    on.service.intervene = Service().intervene
    assert (await steps.copy(on.context, item, authorization)).operation_url is None
    assert on.service.accepted["west", "a"] == 1


async def test_a_replacement_by_an_equal_retrained_analyzer_is_told_from_the_old_one(on: Stage) -> None:
    """Both have one fingerprint: only the dates say that the answer was lost on the way there."""
    on.service.hold("east", labelled("a", changed_at="2026-01-02T00:00:00Z"))
    on.service.hold("west", labelled("a"))
    on.service.intervene = answering("POST", ":copy", LOST)
    with pytest.raises(MayBeUnderWay):
        await on.copied("replace", "a")
    on.service.intervene = answering("POST", ":copy", LOST, when="after")
    assert (await on.copied("replace", "a"))[1].operation_url is None


# Poll.


async def test_polling_ends_when_the_operation_has_succeeded(on: Stage) -> None:
    on.service.polls = 3
    item, receipt = await on.copied()
    await steps.poll(on.context, item, receipt)
    assert on.service.count("GET", "/operations/op-1") == 4


async def test_what_was_over_when_it_was_begun_is_asked_about_at_once_and_tells_nothing_of_others(on: Stage) -> None:
    on.service.polls = 0
    item = await on.plan()
    authorization = await steps.authorize(on.context, item)

    def over(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "before" or not request.url.path.endswith(":copy"):
            return None
        on.service.settle()
        location = f"{str(request.url).partition(':copy')[0]}/operations/op-1?api-version={RELEASED}"
        return httpx.Response(
            201, json=on.service.region("west").analyzers["a"], headers={"operation-location": location}
        )

    on.service.intervene = over
    receipt = await steps.copy(on.context, item, authorization)
    begun = on.service.clock.seconds
    assert await steps.poll(on.context, item, receipt) is not None
    assert on.service.clock.seconds == begun
    assert on.context.experience.of("east", "west", Kind.COPY).seen == []


async def test_how_long_a_copy_took_is_learned_as_an_interval(on: Stage) -> None:
    on.service.polls = 1
    item, receipt = await on.copied()
    await steps.poll(on.context, item, receipt)
    ((under_way, over),) = on.context.experience.of("east", "west", Kind.COPY).seen
    assert under_way == 1.0
    assert over == pytest.approx(on.service.clock.seconds, abs=0.001)


async def test_the_services_wish_for_the_next_question_is_honoured(on: Stage) -> None:
    on.service.polls = 0
    item, receipt = await on.copied()
    running = [
        httpx.Response(200, json={"id": "op-1", "status": "Running"}, headers={"Retry-After": seconds})
        for seconds in ("3", "0", "100")
    ]
    asked, answer = list[float](), answering("GET", "/operations/op-1", *running)

    def intervene(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "before":
            asked.append(on.service.clock.seconds)
        return answer(when, request)

    on.service.intervene = intervene
    await steps.poll(on.context, item, receipt)
    # Nothing is asked at once, and the deadline is never slept over.
    assert asked == pytest.approx([1.0, 4.0, 5.0, 10.0])


async def test_an_operation_without_end_is_hung_at_the_deadline(on: Stage) -> None:
    on.service.polls = 10**6
    item, receipt = await on.copied()
    begun = on.service.clock.seconds
    with pytest.raises(OperationHung, match=r"a to west did not end within 10 s.*Run again"):
        await steps.poll(on.context, item, receipt)
    assert on.service.clock.seconds - begun == POLL_10_S.poll


async def test_an_operation_that_hangs_over_a_ready_analyzer_is_a_success(on: Stage) -> None:
    item, receipt = await on.copied()
    on.service.intervene = answering("GET", "/operations/op-1", *[operation_answer("Running")] * 50)
    on.service.settle()
    await steps.poll(on.context, item, receipt)
    await steps.verify(on.context, item)


async def test_an_operation_that_hangs_over_a_vanished_analyzer_says_so(on: Stage) -> None:
    item, receipt = await on.copied()
    on.service.intervene = answering("GET", "/operations/op-1", *[operation_answer("Running")] * 50)
    del on.service.region("west").analyzers["a"]
    with pytest.raises(TargetAnalyzerGone, match="disappeared from west"):
        await steps.poll(on.context, item, receipt)


@pytest.mark.parametrize("status", ["ready", "failed"])
async def test_an_operation_that_vanished_is_settled_by_the_analyzer(on: Stage, status: str) -> None:
    item, receipt = await on.copied()
    gone = refusal(404, "NotFound", "OperationNotFound", "No such operation.")
    seen = [httpx.Response(200, json=definition("a", status=each)) for each in ("creating", "creating", status)]

    def both(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "after":
            return None
        return gone if "/operations/" in request.url.path else seen.pop(0)

    on.service.intervene = both
    await steps.poll(on.context, item, receipt)
    assert seen == []


async def test_an_operation_and_an_analyzer_that_both_vanished_are_gone(on: Stage) -> None:
    item, receipt = await on.copied()
    del on.service.region("west").analyzers["a"]
    gone = refusal(404, "NotFound", "OperationNotFound", "No such operation.")
    on.service.intervene = answering("GET", "/operations/op-1", gone)
    with pytest.raises(TargetAnalyzerGone, match="Find out who deletes analyzers there"):
        await steps.poll(on.context, item, receipt)


async def test_an_adopted_copy_that_never_ends_is_hung_too(on: Stage) -> None:
    on.service.polls = 10**6
    item, _ = await on.copied()
    with pytest.raises(OperationHung):
        await steps.poll(on.context, item, ADOPTED)


@pytest.mark.parametrize("status", ["Failed", "failed", "Canceled", "Cancelled"])
async def test_a_failed_operation_is_told_with_its_inner_code(on: Stage, status: str) -> None:
    item, receipt = await on.copied()
    inner = {"code": "InvalidTrainingData", "message": "The labels are gone."}
    error = {"code": "InternalServerError", "message": "It failed.", "innererror": inner}
    on.service.intervene = answering("GET", "/operations/op-1", operation_answer(status, error=error))
    with pytest.raises(OperationFailed) as caught:
        await steps.poll(on.context, item, receipt)
    assert "InternalServerError/InvalidTrainingData" in str(caught.value)
    assert "The labels are gone" in str(caught.value)


# Verify.


async def ready(on: Stage) -> PlanItem:
    item, _ = await on.copied()
    on.service.settle()
    return item


async def test_a_copy_that_is_what_was_planned_is_verified_as_both_sides_are(on: Stage) -> None:
    item = await ready(on)
    verified = await steps.verify(on.context, item)
    assert verified.source == item.expected
    assert verified.target.fingerprint == item.expected.fingerprint
    assert verified.target.created_at is not None
    assert verified.warnings == ()


async def test_an_operation_that_shows_the_whole_copy_is_the_last_question(on: Stage) -> None:
    item, receipt = await on.copied()
    found = await steps.poll(on.context, item, receipt)
    on.service.calls.clear()
    verified = await steps.verify(on.context, item, found)
    assert on.service.calls == []
    assert verified == await steps.verify(on.context, item)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "ready",
        {"status": "creating"},
        {"status": "failed"},
        {"analyzerId": "another"},
        {"createdAt": None},
        {"lastModifiedAt": "lately"},
        {"description": "not what was planned"},
        {"baseAnalyzerId": None},
        {"tags": [1]},
    ],
    ids=str,
)
async def test_a_copy_that_its_operation_shows_oddly_is_read_back(on: Stage, odd: Any) -> None:
    item, receipt = await on.copied()
    on.service.settle()
    result = definition("a") | odd if isinstance(odd, dict) else odd
    on.service.intervene = answering("GET", "/operations/op-1", operation_answer("Succeeded", result=result))
    found = await steps.poll(on.context, item, receipt)
    assert (await steps.verify(on.context, item, found)).target.fingerprint == item.expected.fingerprint
    assert on.service.calls[-1] == ("west", "GET", "/analyzers/a")


async def test_a_replacement_is_read_back_as_the_former_one_may_be_shown_for_a_while(on: Stage) -> None:
    on.service.hold("west", definition("a", description="theirs"))
    item, receipt = await on.copied("replace", "a")
    found = await steps.poll(on.context, item, receipt)
    await steps.verify(on.context, item, found)
    assert found is not None
    assert on.service.calls[-1] == ("west", "GET", "/analyzers/a")


async def test_a_copy_that_is_still_made_is_not_ready(on: Stage) -> None:
    item = await ready(on)
    on.service.region("west").analyzers["a"]["status"] = "creating"
    with pytest.raises(TargetAnalyzerNotReady):
        await steps.verify(on.context, item)


@pytest.mark.parametrize("status", ["failed", "deleting", "undefined"])
async def test_an_analyzer_that_is_not_ready_after_a_success_is_a_failure(on: Stage, status: str) -> None:
    item = await ready(on)
    on.service.region("west").analyzers["a"]["status"] = status
    with pytest.raises(TargetAnalyzerFailed, match=f"became '{status}' instead of ready"):
        await steps.verify(on.context, item)


async def test_a_copy_that_vanished_is_gone(on: Stage) -> None:
    item = await ready(on)
    del on.service.region("west").analyzers["a"]
    with pytest.raises(TargetAnalyzerGone):
        await steps.verify(on.context, item)


async def test_a_copy_that_is_neither_what_was_planned_nor_what_the_source_is_now_differs(on: Stage) -> None:
    item = await ready(on)
    on.service.region("west").analyzers["a"]["description"] = "edited at the target meanwhile"
    with pytest.raises(CopyDiffers, match="Run again to plan"):
        await steps.verify(on.context, item)


async def test_an_edit_at_the_source_that_was_copied_along_is_accepted_and_said(on: Stage) -> None:
    item = await on.plan()
    on.service.region("east").analyzers["a"]["description"] = "edited after the plan"
    authorization = await steps.authorize(on.context, item)
    await steps.copy(on.context, item, authorization)
    on.service.settle()
    verified = await steps.verify(on.context, item)
    assert verified.source.fingerprint == verified.target.fingerprint != item.expected.fingerprint
    assert verified.warnings == ("It was edited at the source during the run; the edit was copied.",)


async def test_an_edit_at_the_source_after_the_copy_leaves_the_copy_verified_as_planned(on: Stage) -> None:
    item = await ready(on)
    on.service.region("east").analyzers["a"]["description"] = "edited after the copy"
    assert (await steps.verify(on.context, item)).source == item.expected


@pytest.mark.parametrize("shown", ["gpt-west", "gpt-east", None])
async def test_a_copy_under_the_preview_protocol_is_ours_however_it_shows_the_plans_deployment(
    tmp_path: Path, shown: str | None
) -> None:
    plan = recovery_plan(deployments={"west": {"chatCompletion": "gpt-west"}}, deadlines=POLL_10_S)
    source = definition("a", models={"completion": "gpt-east", "embedding": "emb"})
    models = {"embedding": "emb"} | ({"completion": shown} if shown else {})

    async with stage(tmp_path, plan, api_version=PREVIEW_2025) as made:

        def preview(when: str, request: httpx.Request) -> httpx.Response | None:
            if when == "before" and request.url.path.endswith(":getCopyAuthorization"):
                return httpx.Response(200, json={"source": "https://east/a", "authorizationToken": "t"})
            if when == "before" and request.url.path.endswith(":copy"):
                made.service.hold("west", definition("a", models=models, createdAt="2026-01-02T00:00:00Z"))
                raise httpx.ReadError("The answer is lost.", request=request)
            return None

        made.service.hold("east", source)
        made.service.intervene = preview
        item, receipt = await made.copied()
        verified = await steps.verify(made.context, item)
        assert (receipt.operation_url, verified.warnings) == (None, ())
        assert verified.source.fingerprint == verified.target.fingerprint
        made.service.region("west").analyzers["a"]["models"] = {"completion": "another", "embedding": "emb"}
        with pytest.raises(CopyDiffers):
            await steps.verify(made.context, item)


async def test_a_tag_that_the_plan_ignores_does_not_spoil_a_copy(tmp_path: Path) -> None:
    async with stage(tmp_path, recovery_plan(ignore=["tags.projectId"])) as on:
        on.service.hold("east", definition("a", tags={"projectId": "1"}))
        item = await ready(on)
        on.service.region("west").analyzers["a"]["tags"] = {"projectId": "the studio's own"}
        assert (await steps.verify(on.context, item)).source == item.expected


async def test_an_edit_at_the_source_is_found_again_past_a_tag_that_the_plan_ignores(tmp_path: Path) -> None:
    async with stage(tmp_path, recovery_plan(ignore=["tags.projectId"])) as on:
        on.service.hold("east", definition("a", tags={"projectId": "1"}))
        item = await on.plan()
        on.service.region("east").analyzers["a"]["description"] = "edited after the plan"
        authorization = await steps.authorize(on.context, item)
        await steps.copy(on.context, item, authorization)
        on.service.settle()
        on.service.region("west").analyzers["a"]["tags"] = {"projectId": "the studio's own"}
        assert len((await steps.verify(on.context, item)).warnings) == 1


async def test_somebody_elses_copy_that_was_adopted_is_only_good_if_it_is_the_same(on: Stage) -> None:
    on.service.hold("west", definition("a", description="theirs", status="creating", createdAt=START.isoformat()))
    item = await on.plan()
    assert item.action is Action.ADOPT
    on.service.region("west").analyzers["a"]["status"] = "ready"
    await steps.poll(on.context, item, ADOPTED)
    with pytest.raises(CopyDiffers):
        await steps.verify(on.context, item)


# Connections.


async def test_connections_are_opened_for_each_resource_and_closed() -> None:
    async with connect([resource("east"), resource("west")]) as connections:
        assert connections["east"].resource.name == "east"
        assert connections["east"].tls is connections["west"].tls
        client = connections["west"]
    with pytest.raises(RuntimeError, match="closed"):
        await client.get_analyzer("a")
