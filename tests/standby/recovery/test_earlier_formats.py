"""Files as earlier versions wrote them are read by today's readers, and say what they said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from standby.config.configuration import load_configuration
from standby.document import digest_of
from standby.fencing import Assignment, Phase, read_fence
from standby.recovery.activation.sinks import Activation
from standby.recovery.audit import verify_audit
from standby.recovery.context import RecoveryContext, open_recovery
from standby.recovery.decision.automation import read_automation
from standby.recovery.decision.input import Guard, Outcome
from standby.recovery.decision.record import explain
from standby.recovery.decision.record import read_record as read_decision
from standby.recovery.drill.cleanup import hold_drills
from standby.recovery.drill.findings import verify_evidence
from standby.recovery.drill.sandbox import SandboxSink
from standby.recovery.failback.failback import hold_progress
from standby.recovery.failover.state import read_record
from standby.recovery.readiness.document import LastStates, State
from standby.recovery.runs import Durations, Kind, LastRuns, LatestDrills
from standby.recovery.snapshots.snapshot import (
    SnapshotTampered,
    list_snapshots,
    open_snapshot,
    readable_definitions,
    verify_snapshots,
)
from standby.replication.ledger import read_ledger, read_rebuilt
from standby.replication.saved_plan import load_plan
from standby.replication.verdict import Action
from standby.vault.errors import NewerFormat
from tests.standby.vault.earlier import EARLIER_STORIES, NOWHERE, PLAN, laid_out, renumbered, replaced_in_list

RELEASED = "2025-11-01"

Opener = Callable[[str], AbstractAsyncContextManager[RecoveryContext]]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    """Opens the vault of a story."""

    @asynccontextmanager
    async def open_story(story: str) -> AsyncIterator[RecoveryContext]:
        configuration = load_configuration(laid_out(story, tmp_path / story), NOWHERE)
        async with open_recovery(configuration, PLAN, actor="somebody", run_id="now") as context:
            yield context

    return open_story


@pytest.mark.parametrize(
    ("story", "epoch", "east"),
    [
        ("whole", 4, ("east", Phase.STEADY)),
        ("serving", 1, ("west", Phase.ACTIVATED)),
        ("switching", 1, ("east", Phase.SWITCHING)),
        ("failing-back", 1, ("west", Phase.STEADY)),
    ],
)
async def test_the_fence_says_what_serves(opened: Opener, story: str, epoch: int, east: tuple[str, Phase]) -> None:
    async with opened(story) as context:
        fence = await read_fence(context.vault, context.plan)

    assert fence.epoch == epoch
    assert (fence.assignments["east"].active, fence.assignments["east"].phase) == east


async def test_the_record_of_a_failover_says_how_far_it_is(opened: Opener) -> None:
    async with opened("switching") as context:
        record = await read_record(context.vault, PLAN)
    async with opened("whole") as context:
        ended = await read_record(context.vault, PLAN)

    assert record is not None
    assert (record.primary, record.from_resource, record.to, record.mode) == ("east", "east", "west", "planned")
    assert (record.prepared, record.touched, record.may_name, record.ended) == (True, True, (), False)
    assert record.before == Assignment(active="east")
    assert record.names_at("east", "west")["router"] == "router"
    assert ended is not None
    assert (ended.to, ended.epoch, ended.ended) == ("east", 4, True)


@pytest.mark.parametrize("story", EARLIER_STORIES)
async def test_an_audit_log_is_whole_and_its_digests_and_signatures_still_hold(opened: Opener, story: str) -> None:
    async with opened(story) as context:
        checked = await verify_audit(context.vault, PLAN, context.signer)
        fence = await read_fence(context.vault, context.plan)

    assert checked.problems == ()
    assert checked.epoch == fence.epoch
    assert {line.actor for line in checked.lines} <= {"operator@laptop", "flow run watch-invoices"}
    assert [line.sequence for line in checked.lines] == list(range(1, len(checked.lines) + 1))


@pytest.mark.parametrize("story", EARLIER_STORIES)
async def test_a_decision_is_genuine_and_leads_to_the_same_again(opened: Opener, story: str) -> None:
    async with opened(story) as context:
        checked = await verify_audit(context.vault, PLAN, context.signer)
        decided = [str(line.facts["decision"]) for line in checked.lines if line.action == "failover.decided"]
        told = [await explain(context.vault, each, context.signer) for each in decided]

    assert told
    assert {(each.same, each.problems) for each in told} == {(True, ())}


async def test_a_decision_has_what_it_was_decided_from(opened: Opener) -> None:
    async with opened("serving") as context:
        checked = await verify_audit(context.vault, PLAN, context.signer)
        refused = next(line for line in checked.lines if line.action == "failover.decided")
        record, _ = await read_decision(context.vault, str(refused.facts["decision"]))

    assert (record.decision.outcome, record.given.requested_by, record.given.outage_of) == (
        Outcome.REFUSE,
        "outage",
        "east",
    )
    assert [result.guard for result in record.decision.against] == [Guard.OFF_SWITCH, Guard.MINIMUM_OUTAGE]


async def test_states_that_a_newer_version_remembered_are_not_overwritten(opened: Opener, tmp_path: Path) -> None:
    async with opened("whole") as context:
        renumbered(tmp_path / "whole" / "vault" / "recovery" / PLAN / "readiness.json", 3)
        with pytest.raises(NewerFormat):
            await LastStates.read(context.vault, PLAN)
        with pytest.raises(NewerFormat):
            await LastStates.change(context.vault, PLAN, lambda known: known.after([]))


async def test_a_snapshot_of_a_newer_version_is_told_and_no_older_one_opened_instead(
    opened: Opener, tmp_path: Path
) -> None:
    """As a newer version would have written it: the list has its digest."""
    async with opened("serving") as context:
        folder = tmp_path / "serving" / "vault" / "snapshots" / PLAN
        [manifest] = folder.glob("2*.json")
        before = digest_of(manifest.read_bytes())
        renumbered(manifest, 3)
        replaced_in_list(folder / "index.jsonl", before, digest_of(manifest.read_bytes()))
        [listed] = await list_snapshots(context)
        with pytest.raises(SnapshotTampered, match="was written by a newer version of Standby, in format 3"):
            await open_snapshot(context)

    assert listed.problems == (
        f"{manifest} (the vault) was written by a newer version of Standby, in format 3; this one reads up to 2",
    )


async def test_the_off_switch_is_where_it_was_put(opened: Opener) -> None:
    async with opened("serving") as context:
        automation = await read_automation(context.vault)

    assert (automation.on, automation.by, automation.reason) == (False, "operator@laptop", "maintenance of the network")


async def test_what_was_learned_of_runs_and_durations_is_known(opened: Opener) -> None:
    async with opened("whole") as context:
        runs = await LastRuns.read(context.vault, PLAN)
        durations = await Durations.read(context.vault, PLAN)
        states = await LastStates.read(context.vault, PLAN)
        drill = (await LatestDrills.read(context.vault, PLAN)).at("west")

    pair = runs.of("east", "west")
    assert pair.listed_at is not None
    assert {name: each.behind for name, each in pair.analyzers.items()} == dict.fromkeys(
        ("closed", "invoice", "receipt", "router", "trained"), False
    )
    assert {kind: len(durations.of(kind)) for kind in Kind} == {
        Kind.COPY: 6,
        Kind.RESTORE: 10,
        Kind.ACTIVATE: 4,
        Kind.DETECT: 1,
    }
    assert states.states["east/west"] is State.READY
    assert drill is not None
    assert (drill.passed, drill.primary, drill.recovery_seconds) == (True, "east", 0.195)


async def test_ledgers_have_the_copies_of_both_directions(opened: Opener) -> None:
    async with opened("whole") as context:
        there = await read_ledger(context.vault, "east", "west", RELEASED)
        back = await read_ledger(context.vault, "west", "east", RELEASED)

    assert set(there.records) == set(back.records) == {"closed", "invoice", "receipt", "router", "trained"}
    assert (there.damaged, back.damaged) == ((), ())
    assert {name for name, record in there.records.items() if record.source.trained} == {"closed", "trained"}
    assert there.records["router"].copied_at.year == 2026


async def test_what_was_rebuilt_is_known(opened: Opener) -> None:
    async with opened("whole") as context:
        rebuilt = await read_rebuilt(context.vault, "north")

    assert {name: (each.fidelity, each.trained, each.origin) for name, each in rebuilt.items()} == {
        "closed": ("unfaithful", True, "east"),
        "invoice": ("equivalent", False, "east"),
        "receipt": ("equivalent", False, "east"),
        "router": ("equivalent", False, "east"),
        "trained": ("equivalent", True, "east"),
    }


async def test_snapshots_are_whole_in_both_stores(opened: Opener) -> None:
    async with opened("whole") as context:
        listed = await list_snapshots(context)
        verified = await verify_snapshots(context)
        snapshot = await open_snapshot(context)
        definitions, unreadable = await readable_definitions(context, snapshot, "east")

    assert [(each.signed, each.problems, each.analyzers) for each in listed] == [(True, (), 5)] * 3
    assert verified.problems == ()
    assert (snapshot.problems, unreadable) == ((), {})
    assert definitions["invoice"]["description"] == "Reads invoices, edited at the standby"
    trained, closed = (snapshot.resources["east"].analyzers[name].labelled[0] for name in ("trained", "closed"))
    assert (trained.access_cut, closed.blobs) == (True, "unknown")
    assert trained.blobs != "unknown"
    assert [(blob.name, blob.size) for blob in trained.blobs] == [("set/a.pdf", 1200), ("set/a.pdf.labels.json", 300)]


async def test_a_snapshot_without_a_key_is_whole(opened: Opener) -> None:
    async with opened("serving") as context:
        assert (await verify_snapshots(context)).problems == ()


async def test_the_evidence_of_a_drill_is_genuine(opened: Opener) -> None:
    async with opened("whole") as context:
        drill = (await LatestDrills.read(context.vault, PLAN)).at("west")
        assert drill is not None
        check = await verify_evidence(context.vault, PLAN, drill.run_id, context.signer)
        published = await SandboxSink(context.vault, f"drills/{PLAN}/{drill.run_id}/told.json").published()

    assert (check.problems, check.notes) == ((), ())
    assert check.evidence is not None
    assert check.evidence.report.passed
    assert check.evidence.published == published
    assert [each.sources["east"] is None for each in published] == [True, False]


async def test_a_drill_that_was_killed_is_still_to_be_cleaned_up(opened: Opener) -> None:
    async with opened("serving") as context, hold_drills(context.vault, PLAN) as drills:
        [drill] = drills.drills

    assert (drill.primary, drill.to, drill.prefix) == ("east", "west", f"drill-{drill.run_id}-")


@pytest.mark.parametrize(("story", "ended"), [("whole", True), ("failing-back", False)])
async def test_a_failback_remembers_what_was_decided(opened: Opener, story: str, ended: bool) -> None:
    async with opened(story) as context, hold_progress(context, "east") as held:
        found = held.found

    assert found is not None
    assert (found.primary, found.standby, found.keep, found.ended) == ("east", "west", {"invoice": "standby"}, ended)


@pytest.mark.parametrize(
    ("story", "epoch", "serves"),
    [("whole", 4, "east"), ("serving", 1, "west"), ("switching", 1, None), ("failing-back", 1, "west")],
)
async def test_the_active_map_says_what_to_call(opened: Opener, story: str, epoch: int, serves: str | None) -> None:
    async with opened(story) as context:
        [sink] = context.sinks
        active = await sink.read(PLAN)

    assert isinstance(active, Activation)
    endpoint = active.sources["east"]
    assert (active.epoch, endpoint.resource if endpoint else None) == (epoch, serves)


def test_a_saved_plan_says_what_was_approved(tmp_path: Path) -> None:
    laid_out("whole", tmp_path)

    saved = load_plan(tmp_path / "plan.json", PLAN)

    assert (saved.targets, saved.on_existing) == (("west",), "replace")
    actions = {item.analyzer: item.action for item in saved.items}
    assert actions.pop("invoice") is Action.REPLACE
    assert set(actions.values()) == {Action.SKIP}
