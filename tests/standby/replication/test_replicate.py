"""A run from end to end over a service in memory."""

from __future__ import annotations

import asyncio
import copy
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from standby.config.configuration import Configuration
from standby.config.plan import RecoveryPlan
from standby.replication.errors import LedgerBusy, NothingSelected, PlanMoved
from standby.replication.items import Progress, Selection, Status
from standby.replication.ledger import write_ledger
from standby.replication.replicate import begin, open_run, survey
from standby.replication.report import Report
from standby.replication.saved_plan import SavedPlan, load_plan, save_plan
from standby.replication.steps import DirectSteps, RunContext
from standby.replication.verdict import Action
from standby.service.errors import NotAuthorized
from standby.vault.errors import VaultUnavailable
from standby.vault.folder import LocalFolder
from standby.vault.storage import LEASE, Storage
from tests.standby.replication.world import (
    RELEASED,
    Service,
    definition,
    labelled,
    recorded,
    recovery_plan,
    refusal,
    resource,
)
from tests.standby.vault.world import HandClock, Memory

TWO_TARGETS = recovery_plan(targets=("west", "north"))


@asynccontextmanager
async def run_context(
    service: Service, plan: RecoveryPlan, vault: Path | Storage, **fields: Any
) -> AsyncIterator[RunContext]:
    context = service.context(plan, vault, **fields)
    try:
        yield context
    finally:
        for client in context.connections.clients.values():
            await client.__aexit__()


async def replicate(
    service: Service,
    vault: Path | Storage,
    plan: RecoveryPlan | None = None,
    selection: Selection | None = None,
    *,
    approved: SavedPlan | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    async with (
        run_context(service, plan or recovery_plan(), vault) as context,
        begin(
            context,
            selection or (approved.selection if approved else Selection()),
            DirectSteps(context),
            approved=approved,
            on_progress=on_progress,
        ) as replication,
    ):
        await replication.run()
        return replication.report(run_id="r", via="direct")


async def save(service: Service, vault: Path, selection: Selection | None = None) -> SavedPlan:
    selection = selection or Selection()
    async with run_context(service, recovery_plan(), vault) as context:
        save_plan(vault / "plan.json", await survey(context, selection), selection)
    return load_plan(vault / "plan.json", "invoices")


def statuses(report: Report) -> dict[tuple[str, str], Status]:
    return {(item.target, item.analyzer): item.status for item in report.items}


@pytest.fixture
def service() -> Service:
    made = Service()
    made.hold("east", definition("top", "leaf"), definition("leaf"), definition("other"))
    return made


async def test_everything_is_copied_once_and_found_in_sync_the_next_time(service: Service, tmp_path: Path) -> None:
    progress: list[Progress] = []
    first = await replicate(service, tmp_path, TWO_TARGETS, on_progress=progress.append)
    assert first.complete
    assert set(statuses(first).values()) == {Status.SUCCEEDED}
    assert progress[-1].done == len(first.items) == 6
    second = await replicate(service, tmp_path, TWO_TARGETS)
    assert set(statuses(second).values()) == {Status.SKIPPED}
    assert set(service.accepted.values()) == {1}
    for target in ("west", "north"):
        assert (await recorded(tmp_path, "east", target)).keys() == {"top", "leaf", "other"}


async def test_a_survey_changes_nothing_anywhere(service: Service, tmp_path: Path) -> None:
    async with run_context(service, TWO_TARGETS, tmp_path) as context:
        await survey(context, Selection())
    assert {method for _, method, _ in service.calls} == {"GET"}
    assert (await recorded(tmp_path, "east", "west")) == {}
    assert not any((tmp_path / part).exists() for part in ("ledger", "replaced"))


async def test_a_survey_needs_one_listing_a_resource_and_no_look_at_single_analyzers(
    service: Service, tmp_path: Path
) -> None:
    """Also where a thousand analyzers are compared at three targets."""
    plan = recovery_plan(targets=("west", "north", "south"))
    many = [definition(f"n{number}", description="x" * 200) for number in range(1000)]
    for where in plan.resources:
        service.hold(where, *many)
    async with run_context(service, plan, tmp_path) as context:
        made = await survey(context, Selection())
    assert len(made.items) == 3 * 1003
    assert {path for _, _, path in service.calls} == {"/analyzers", "/defaults"}
    assert service.count("GET", "/analyzers") == service.count("GET", "/defaults") == 4


async def test_a_selection_restricts_the_resources_that_are_asked(service: Service, tmp_path: Path) -> None:
    report = await replicate(service, tmp_path, TWO_TARGETS, Selection(("other",), ("west",)))
    assert statuses(report) == {("west", "other"): Status.SUCCEEDED}
    assert {where for where, _, _ in service.calls} == {"east", "west"}


async def test_ledgers_are_held_before_anything_is_looked_at(service: Service, tmp_path: Path) -> None:
    async with write_ledger(LocalFolder(tmp_path), "east", "north", RELEASED):
        with pytest.raises(LedgerBusy):
            await replicate(service, tmp_path, TWO_TARGETS)
        assert service.calls == []
        # A pair that nobody holds is free all the same.
        report = await replicate(service, tmp_path, TWO_TARGETS, Selection(targets=("west",)))
        assert report.complete


async def test_a_refused_run_holds_nothing_afterwards(service: Service, tmp_path: Path) -> None:
    with pytest.raises(NothingSelected):
        await replicate(service, tmp_path, selection=Selection(("no-such",)))
    assert (await replicate(service, tmp_path)).complete


async def test_a_second_run_beside_the_first_is_refused(service: Service, tmp_path: Path) -> None:
    async with (
        run_context(service, recovery_plan(), tmp_path) as context,
        begin(context, Selection(), DirectSteps(context)),
    ):
        with pytest.raises(LedgerBusy):
            await replicate(service, tmp_path)
        # Looking is always allowed.
        assert len((await survey(context, Selection())).items) == 3


async def test_two_runs_on_two_machines_at_once_start_each_copy_once(service: Service, tmp_path: Path) -> None:
    """They do not see each other's ledgers: what the target refuses or is making is adopted."""
    one, other = await asyncio.gather(
        replicate(service, tmp_path / "one", TWO_TARGETS), replicate(service, tmp_path / "other", TWO_TARGETS)
    )
    assert one.complete
    assert other.complete
    assert len(service.accepted) == 6
    assert set(service.accepted.values()) == {1}
    for machine in ("one", "other"):
        assert (await recorded(tmp_path / machine, "east", "west")).keys() == {"top", "leaf", "other"}


async def test_a_lost_ledger_is_made_again_from_what_the_resources_hold_and_that_is_told_once(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await replicate(service, tmp_path)
    assert caplog.text == ""
    shutil.rmtree(tmp_path / "ledger")
    report = await replicate(service, tmp_path)
    assert caplog.text.count("There is no ledger of east to west") == 1
    assert "3 analyzer(s) are at west" in caplog.text
    assert set(statuses(report).values()) == {Status.SKIPPED}
    await replicate(service, tmp_path)
    assert caplog.text.count("There is no ledger") == 1
    service.region("east").analyzers["other"]["description"] = "edited"
    async with run_context(service, recovery_plan(), tmp_path) as context:
        made = await survey(context, Selection(("other",)))
    assert [item.verdict.value for item in made.items] == ["source_ahead"]


def lose(ledger: bytes | None) -> bytes | None:
    return None


def spoil(ledger: bytes | None) -> bytes | None:
    return b"{}\n" * (ledger or b"").count(b"\n")


def tear(ledger: bytes | None) -> bytes | None:
    return (ledger or b"")[:-20]


@pytest.mark.parametrize("harm", [lose, spoil, tear])
async def test_nothing_is_overwritten_because_a_ledger_was_harmed(
    service: Service, harm: Callable[[bytes | None], bytes | None]
) -> None:
    """What is edited meanwhile, at either side, cannot be told from somebody else's: it is left alone."""
    memory = Memory(HandClock())
    await replicate(service, memory)
    memory.files = {path: harmed for path, content in memory.files.items() if (harmed := harm(content)) is not None}
    memory.clock = HandClock(short=LEASE)
    for name in ("top", "leaf", "other"):
        service.region("west").analyzers[name]["description"] = "edited at the target"
    before = copy.deepcopy(service.region("west").analyzers)
    service.accepted.clear()
    report = await replicate(service, memory)
    assert {item.action for item in report.items} == {Action.REFUSE}
    assert service.region("west").analyzers == before
    assert not service.accepted


async def test_a_ledger_of_another_api_version_is_not_mixed_up_with_this_ones(service: Service, tmp_path: Path) -> None:
    await replicate(service, tmp_path)
    service.region("east").analyzers["other"]["description"] = "edited"
    verdicts = []
    for version in (RELEASED, "2026-06-01-preview"):
        async with run_context(service, recovery_plan(), tmp_path, api_version=version) as context:
            (item,) = (await survey(context, Selection(("other",)))).items
            verdicts.append(item.verdict.value)
    assert verdicts == ["source_ahead", "foreign"]


# Two plans that share a child: no configuration shows it, because children come along whatever the filters say.

OURS = recovery_plan("east", ["hub"], name="ours", include=["top"], on_existing="replace")
THEIRS = recovery_plan("north", ["hub"], name="theirs", include=["other"], on_existing="replace")


@pytest.fixture
def shared() -> Service:
    made = Service()
    made.hold("east", definition("top", "leaf"), definition("leaf"))
    made.hold("north", definition("other", "leaf"), definition("leaf"))
    return made


def edit_leaf(service: Service, where: str, description: str) -> None:
    service.clock.seconds += 60
    changed_at = f"{service.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    service.hold(where, definition("leaf", description=description, lastModifiedAt=changed_at))


def leaf_of(service: Service, where: str) -> str:
    return str(service.region(where).analyzers["leaf"]["description"])


@pytest.mark.parametrize("equal", [True, False])
async def test_a_copy_that_another_plan_made_is_never_replaced_in_turn(
    shared: Service, tmp_path: Path, equal: bool
) -> None:
    if not equal:
        edit_leaf(shared, "north", "theirs")
    assert (await replicate(shared, tmp_path, OURS)).complete
    assert (await replicate(shared, tmp_path, THEIRS)).complete is equal
    edit_leaf(shared, "north", "edited at north")

    for description in ("edited at east", "edited at east again"):
        edit_leaf(shared, "east", description)
        assert (await replicate(shared, tmp_path, OURS)).complete
        report = await replicate(shared, tmp_path, THEIRS)
        assert leaf_of(shared, "hub") == description
        assert statuses(report) == {("hub", "leaf"): Status.BLOCKED, ("hub", "other"): statuses(report)["hub", "other"]}
        reason = next(item.reason for item in report.items if item.analyzer == "leaf")
        assert reason.startswith("Another plan copied leaf to hub from east: the two would overwrite each other")
        assert f"remove {tmp_path}/ledger/{RELEASED}/east_hub.jsonl)" in reason


async def test_it_is_replaced_where_that_is_ordered_and_belongs_to_the_other_plan_from_then_on(
    shared: Service, tmp_path: Path
) -> None:
    edit_leaf(shared, "north", "theirs")
    await replicate(shared, tmp_path, OURS)
    report = await replicate(shared, tmp_path, THEIRS, Selection(force=("leaf",)))
    assert report.complete
    assert leaf_of(shared, "hub") == "theirs"
    report = await replicate(shared, tmp_path, OURS)
    assert "Another plan copied leaf to hub from north" in next(item.reason for item in report.items if item.reason)


async def test_two_directions_of_one_plan_do_not_swap_what_both_sides_made_themselves(
    service: Service, tmp_path: Path
) -> None:
    pairs = [{"source": "east", "targets": ["west"]}, {"source": "west", "targets": ["east"]}]
    both = RecoveryPlan.model_validate({"name": "both", "pairs": pairs, "on_existing": "replace"})
    service.hold("west", definition("other", description="what other is at west"), definition("own"))

    report = await replicate(service, tmp_path, both)

    assert service.region("east").analyzers["other"]["description"] == "what other is"
    assert service.region("west").analyzers["other"]["description"] == "what other is at west"
    blocked = [item for item in report.items if item.status is Status.BLOCKED]
    assert [(item.source, item.analyzer) for item in blocked] == [("east", "other"), ("west", "other")]
    assert blocked[0].reason.startswith("This plan protects other at west, too, which was not copied from east. ")

    forced = await replicate(service, tmp_path, both, Selection(targets=("west",), force=("other",)))
    assert statuses(forced)["west", "other"] is Status.SUCCEEDED
    service.clock.seconds += 60
    assert (await replicate(service, tmp_path, both)).complete


async def test_a_ledger_of_a_source_that_no_plan_has_any_more_can_be_removed(shared: Service, tmp_path: Path) -> None:
    edit_leaf(shared, "north", "theirs")
    await replicate(shared, tmp_path, OURS)
    (tmp_path / "ledger" / RELEASED / "east_hub.jsonl").unlink()
    assert (await replicate(shared, tmp_path, THEIRS)).complete
    assert leaf_of(shared, "hub") == "theirs"


async def test_a_vault_that_does_not_answer_stops_the_run_before_anything_is_looked_at(
    service: Service,
) -> None:
    memory = Memory()
    memory.down = True
    with pytest.raises(VaultUnavailable):
        await replicate(service, memory)
    assert service.calls == []


async def test_a_vault_that_fails_during_a_run_costs_knowledge_only(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    memory = Memory()

    def fail(when: str, request: httpx.Request) -> httpx.Response | None:
        memory.down = memory.down or request.url.path.endswith(":copy")
        return None

    service.intervene = fail
    assert (await replicate(service, memory)).complete
    assert "were not saved" in caplog.text
    memory.down = False
    service.intervene = Service().intervene
    memory.clock = HandClock(short=LEASE)
    assert set(statuses(await replicate(service, memory)).values()) == {Status.SKIPPED}
    assert (await recorded(memory, "east", "west")).keys() == {"top", "leaf", "other"}


async def test_a_target_that_cannot_be_asked_stops_the_run_before_it_begins(service: Service, tmp_path: Path) -> None:
    def refuse(when: str, request: httpx.Request) -> httpx.Response | None:
        return refusal(401, "PermissionDenied", "NoRole", "No.") if request.url.host[:4] == "west" else None

    service.intervene = refuse
    with pytest.raises(NotAuthorized, match="Correct the key"):
        await replicate(service, tmp_path)
    assert not service.accepted


# Saved plans.


async def test_a_saved_plan_is_done_as_it_says(service: Service, tmp_path: Path) -> None:
    service.hold("west", definition("other", description="theirs"))
    approved = await save(service, tmp_path, Selection(("other",), ("west",), "version"))
    report = await replicate(service, tmp_path, approved=approved)
    assert [(item.action, item.target_analyzer) for item in report.items] == [(Action.COPY_AS_VERSION, "other_v2")]
    assert service.accepted == {("west", "other_v2"): 1}


async def test_a_saved_plan_of_a_world_that_moved_does_nothing(service: Service, tmp_path: Path) -> None:
    approved = await save(service, tmp_path)
    service.region("east").analyzers["leaf"]["description"] = "edited"
    service.hold("west", definition("other"))
    with pytest.raises(PlanMoved) as caught:
        await replicate(service, tmp_path, approved=approved)
    assert caught.value.moved == (
        "leaf (east → west) was edited at the source",
        "other (east → west) changed at the target",
    )
    assert not service.accepted


async def test_a_saved_plan_is_not_done_twice(service: Service, tmp_path: Path) -> None:
    approved = await save(service, tmp_path)
    assert (await replicate(service, tmp_path, approved=approved)).complete
    again = await replicate(service, tmp_path, approved=approved)
    assert {item.action for item in again.items} == {Action.SKIP}
    assert set(service.accepted.values()) == {1}


# Opening.


async def test_a_plan_is_opened_with_the_resources_it_names_and_no_others(tmp_path: Path) -> None:
    names = ("east", "west", "north")
    configuration = Configuration.model_validate(
        {
            "resources": {name: resource(name).model_dump() for name in names},
            "plans": {"invoices": recovery_plan().model_dump()},
            "vault": {"path": str(tmp_path)},
        }
    )
    async with open_run(configuration, "invoices") as context:
        assert set(context.connections.clients) == {"east", "west"}
        assert context.vault.where("ledger") == LocalFolder(tmp_path).where("ledger")
        assert context.recovery_plan.name == "invoices"


# Killed at any moment.


class Killed(BaseException):
    """Nothing of ours runs after it: no handler catches it, and what would have followed does not."""


WORLD: tuple[dict[str, Any], ...] = (
    definition("top", "leaf"),
    definition("leaf"),
    definition("edited", description="new"),
    labelled("trained", changed_at="2026-01-03T00:00:00Z"),
)


async def prepared_world(vault: Path) -> Service:
    """Two to copy, one to replace because it was edited, one because it was trained again."""
    service = Service(polls=1)
    service.hold("east", *WORLD[2:3], labelled("trained"))
    service.region("east").analyzers["edited"]["description"] = "old"
    await replicate(service, vault)
    service.accepted.clear()
    service.hold("east", *WORLD)
    service.clock.seconds += 86_400 * 2
    service.calls.clear()
    return service


REPLACE = Selection(on_existing="replace")


def end_state(service: Service) -> dict[str, tuple[str, str]]:
    return {
        name: (held["status"], held["description"]) for name, held in sorted(service.region("west").analyzers.items())
    }


def killing(service: Service, moment: str, number: int) -> None:
    """Kill the run before or after the service has seen its n-th call."""
    seen = {"before": 0, "after": 0}

    def intervene(when: str, _request: httpx.Request) -> httpx.Response | None:
        seen[when] += 1
        if when == moment and seen[when] == number:
            raise Killed
        return None

    service.intervene = intervene


async def is_killed(run: Awaitable[Report]) -> bool:
    killed = False
    try:
        await run
    except* Killed:
        killed = True
    return killed


async def test_a_run_that_is_killed_at_any_call_and_started_again_ends_like_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    calm = await prepared_world(tmp_path / "calm")
    assert (await replicate(calm, tmp_path / "calm", selection=REPLACE)).complete
    calls = len(calm.calls)
    assert calls > 20
    for moment in ("before", "after"):
        for number in range(1, calls + 1):
            vault = tmp_path / f"{moment}-{number}"
            service = await prepared_world(vault)
            killing(service, moment, number)
            assert await is_killed(replicate(service, vault, selection=REPLACE))
            service.intervene = Service().intervene
            # Unlike a process's, the killed run's thread that writes to the vault may live on for a moment.
            service.clock.seconds += 60
            again = await replicate(service, vault, selection=REPLACE)
            assert again.complete, (moment, number, again)
            assert end_state(service) == end_state(calm)
            assert service.accepted == calm.accepted == dict.fromkeys(service.accepted, 1)
            ledger = await recorded(vault, "east", "west")
            found = service.region("west").analyzers
            assert ledger.keys() == found.keys()
            third = await replicate(service, vault, selection=REPLACE)
            assert set(statuses(third).values()) == {Status.SKIPPED}


async def test_an_analyzer_that_is_edited_after_a_killed_run_is_known_for_our_copy(tmp_path: Path) -> None:
    """The record of a copy that was killed before it was written is made good by the next run."""
    service = await prepared_world(tmp_path)
    await replicate(service, tmp_path, selection=REPLACE)
    lines = (tmp_path / "ledger" / RELEASED / "east_west.jsonl").read_bytes().splitlines(keepends=True)
    old = next(line for line in lines if b'"edited"' in line)
    (tmp_path / "ledger" / RELEASED / "east_west.jsonl").write_bytes(old)
    await replicate(service, tmp_path)
    service.region("east").analyzers["edited"]["description"] = "edited once more"
    async with run_context(service, recovery_plan(), tmp_path) as context:
        made = await survey(context, Selection(("edited",)))
    assert [item.verdict.value for item in made.items] == ["source_ahead"]


# Sources and targets that move during a run.


def meanwhile(service: Service, ending: str, change: Callable[[], None]) -> None:
    """Change the world once, when the first call of a kind arrives."""
    left = [change]

    def intervene(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "before" and request.url.path.endswith(ending) and left:
            left.pop()()
        return None

    service.intervene = intervene


async def test_a_source_that_is_deleted_during_a_run_fails_alone_and_blocks_its_parents(
    service: Service, tmp_path: Path
) -> None:
    meanwhile(service, "leaf:grantCopyAuthorization", service.region("east").analyzers.clear)
    service.hold("east", definition("zz"))
    report = await replicate(service, tmp_path)
    told = {item.analyzer: item for item in report.items}
    assert told["leaf"].status is Status.FAILED
    assert told["leaf"].reason.startswith("leaf at east: ")
    assert "NotFound/ModelNotFound" in told["leaf"].reason
    assert told["top"].reason == "Its child leaf failed. Fix that, then run again."


async def test_an_analyzer_that_appears_at_the_target_during_a_run_is_not_overwritten(
    service: Service, tmp_path: Path
) -> None:
    theirs = definition("other", description="theirs")
    meanwhile(service, "other:copy", lambda: service.hold("west", theirs))
    report = await replicate(service, tmp_path, selection=Selection(("other",)))
    (item,) = report.items
    assert item.status is Status.FAILED
    assert "Conflict/ModelExists" in item.reason
    assert item.attempts == 1
    assert service.region("west").analyzers["other"] == theirs
    assert (await recorded(tmp_path, "east", "west")) == {}


async def test_the_very_analyzer_that_appears_at_the_target_during_a_run_is_adopted(
    service: Service, tmp_path: Path
) -> None:
    meanwhile(service, "other:copy", lambda: service.hold("west", definition("other")))
    report = await replicate(service, tmp_path, selection=Selection(("other",)))
    assert report.complete
    assert not service.accepted


async def test_every_failure_has_a_reason_with_a_next_action(service: Service, tmp_path: Path) -> None:
    def fail(when: str, request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith(":copy"):
            return refusal(400, "InvalidRequest", "SourceMissing", "No such source.")
        return None

    service.intervene = fail
    report = await replicate(service, tmp_path)
    assert report.totals[Status.FAILED] == 2
    assert report.totals[Status.BLOCKED] == 1
    for item in report.items:
        assert item.reason.count(". ") >= 1
    assert any("InvalidRequest/SourceMissing" in item.reason for item in report.items)
