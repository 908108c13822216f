"""One analyzer that is broken at the standby costs itself only: each state, under each operation.

`claim` is broken at west, `mailroom` needs it, and `invoice` has nothing to do with either.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.clock import SystemClock
from standby.config.configuration import Configuration
from standby.config.sinks import FileSink
from standby.fencing import read_fence
from standby.recovery.activation.file import FileActivation
from standby.recovery.activation.sinks import ActiveEndpoint
from standby.recovery.audit import verify_audit
from standby.recovery.context import RecoveryContext, open_recovery
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.decision.record import explain
from standby.recovery.drill.drill import drill
from standby.recovery.failback.failback import fail_back
from standby.recovery.failover import prepare
from standby.recovery.failover.errors import FailoverRefused
from standby.recovery.failover.failover import commit, complete, completed, decide_request, fail_over
from standby.recovery.failover.report import FailoverReport, commit_summary, summary
from standby.recovery.readiness.assess import assess
from standby.recovery.readiness.document import Bucket, State
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import RestoreReport, restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.recovery.snapshots.take import take_snapshot
from standby.replication.items import Selection, Status
from standby.replication.needs import models_of, references
from standby.replication.replicate import begin, survey
from standby.replication.report import Report
from standby.replication.steps import DirectSteps
from standby.replication.verdict import Verdict, sight
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import ProtocolError
from standby.service.models import Analyzer
from tests.conftest import DEPLOYMENTS, Scene, SceneMaker
from tests.standby.recovery.stages import DirectStages
from tests.standby.replication.world import FakeClock, resource

OLD = "2026-01-01T00:00:00Z"
"""Long before anything here happens."""

EDITS: dict[str, dict[str, Any]] = {
    "failed": {"status": "failed"},
    "stuck": {"status": "creating", "createdAt": OLD, "lastModifiedAt": OLD},
    "creating": {"status": "creating"},
    "undefined": {"status": "undefined"},
    "unreadable": {"tags": 7},
}
"""What the service says of `claim` at west."""

BROKEN = (*EDITS, "absent")
EMPTY = frozenset({"failed", "stuck", "absent"})
"""States in which there is nothing to lose, so that the tool puts things right by itself."""


class HastyClock(FakeClock):
    """Waits take no time but are counted; dates are today's, as the emulator's are."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class Place:
    """A plan whose copies are in sync, where `claim` is broken at west since."""

    scene: Scene
    configuration: Configuration
    folder: Path
    runs: int = 0

    @asynccontextmanager
    async def context(self) -> AsyncIterator[RecoveryContext]:
        self.runs += 1
        async with open_recovery(self.configuration, "p", actor="ada@desk", run_id=f"run-{self.runs}") as context:
            yield replace(context, run=replace(context.run, clock=HastyClock()))

    async def edit(self, changes: dict[str, Any], analyzer: str = "claim", resource: str = "west") -> None:
        await self.scene.control("/edit", {"resource": resource, "analyzer": analyzer, "changes": changes})

    async def break_it(self, state: str) -> None:
        if state == "absent":
            async with self.context() as context:
                await context.connections["west"].delete_analyzer("claim")
        else:
            await self.edit(EDITS[state])

    def allow(self, missing: Literal["refuse", "serve_rest"]) -> None:
        """Say in the plan what becomes of a failover that cannot have everything."""
        plan = self.configuration.plans["p"]
        changed = plan.model_copy(update={"failover": plan.failover.model_copy(update={"missing": missing})})
        self.configuration = self.configuration.model_copy(update={"plans": {"p": changed}})

    async def dark(self, kind: str = "refuse") -> None:
        await self.scene.control("/outages", {"resource": "east", "kind": kind})

    async def replicate(self) -> Report:
        async with (
            self.context() as context,
            begin(context.run, Selection(), DirectSteps(context.run)) as replication,
        ):
            await replication.run()
            return replication.report(run_id="scheduled", via="direct")

    async def snapshot(self) -> None:
        async with self.context() as context:
            await take_snapshot(context)

    async def restore(self) -> RestoreReport:
        async with self.context() as context:
            plan = await plan_restore(context, await open_snapshot(context), "west")
            return await completed(context, await restore(context, plan))

    async def fail_over(self, *, planned: bool = False, **request: Any) -> FailoverReport:
        async with self.context() as context:
            asked = FailoverRequest(to="west", planned=planned, **request)
            decided, record = await decide_request(context, asked)
            if record is not None:
                assert (await explain(context.vault, record.id, None)).same
            return await fail_over(context, decided, DirectStages())

    @property
    def active(self) -> ActiveEndpoint:
        """What applications read."""
        text = json.loads((self.folder / "active.json").read_text())
        return ActiveEndpoint.model_validate(text["plans"]["p"]["sources"]["east"])

    @property
    def epoch(self) -> int:
        """That of what applications read."""
        return int(json.loads((self.folder / "active.json").read_text())["plans"]["p"]["epoch"])

    async def deeds(self) -> list[dict[str, Any]]:
        async with self.context() as context:
            found = await verify_audit(context.vault, "p", None)
        assert not found.problems
        return [{"action": line.action, **line.facts} for line in found.lines]


@asynccontextmanager
async def place(
    make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path, state: str = "", **plan: Any
) -> AsyncIterator[Place]:
    analyzers = [make_analyzer("invoice"), make_analyzer("claim"), make_analyzer("mailroom", "claim")]
    async with make_scene(analyzers, targets=("west",), service_time=0.0, **plan) as scene:
        sink = FileSink.model_validate({"kind": "file", "path": str(tmp_path / "active.json")})
        found = Place(scene, scene.configuration.model_copy(update={"activation": (sink,)}), tmp_path)
        assert (await found.replicate()).complete
        async with found.context() as context:
            assert isinstance(context.sinks[0], FileActivation)
            await commit(context)
        if state:
            await found.break_it(state)
        yield found


@pytest.mark.parametrize("state", BROKEN)
async def test_readiness_names_it_and_replication_copies_again_what_holds_nothing(
    state: str, make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path, state) as found:
        async with found.context() as context:
            checked = {item.analyzer: item for item in (await survey(context.run, Selection())).items}
        assert (checked["claim"].verdict is Verdict.MISSING) == (state in EMPTY)
        assert checked["invoice"].verdict is Verdict.IN_SYNC
        await _is_told(found)

        report = await found.replicate()

        ends = {item.analyzer: item for item in report.items}
        assert ends["invoice"].status is Status.SKIPPED
        assert report.complete == (state in EMPTY), ends
        if state in EMPTY:
            assert ends["claim"].status is Status.SUCCEEDED
            assert (await found.replicate()).totals[Status.SKIPPED] == 3
        else:
            assert ends["claim"].reason
        kept = list((tmp_path / "vault" / "replaced").rglob("*.json"))
        assert bool(kept) == (state in {"failed", "stuck"})


async def _is_told(found: Place) -> None:
    for ask_source in (True, False):
        async with found.context() as context:
            readiness = await assess(context, "east", "west", ask_source=ask_source)
        assert readiness.state is State.NOT_READY
        assert list(readiness.unusable()) == ["claim", "mailroom"], readiness.reasons
        assert readiness.unusable({"claim"}) == {}
        assert not readiness.against_the_target
        child = next(reason for reason in readiness.reasons if reason.bucket is Bucket.CHILD)
        assert child.text == "mailroom needs claim, which cannot be used at west"


@pytest.mark.parametrize("state", BROKEN)
async def test_a_restore_rebuilds_what_holds_nothing_and_says_what_to_do_about_the_rest(
    state: str, make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path) as found:
        await found.snapshot()
        await found.break_it(state)
        await found.dark()

        report = await found.restore()

        claim = next(item for item in report.items if item.analyzer == "claim")
        assert report.complete == (state in EMPTY), report.items
        if state in EMPTY:
            assert claim.status is Status.SUCCEEDED
        elif state == "creating":
            assert "Run again when this has ended" in claim.reason
        else:
            endpoint = found.configuration.resource("west").endpoint
            call = f"DELETE {endpoint}/contentunderstanding/analyzers/claim?api-version=2025-11-01"
            assert call in claim.reason


@pytest.mark.parametrize(
    ("state", "is_kept"),
    [*((state, True) for state in BROKEN), ("failed", False), ("unreadable", False)],
    ids=lambda value: {True: "snapshot", False: "no snapshot"}.get(value, value),
)
async def test_an_unplanned_failover_serves_the_rest_and_names_what_is_lost(
    state: str, is_kept: bool, make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path) as found:
        if is_kept:
            await found.snapshot()
        await found.break_it(state)
        await found.dark()

        report = await found.fail_over()

        assert (report.state, report.serving) == ("activated", "west")
        is_whole = is_kept and state in EMPTY
        lost = () if is_whole else ("claim", "mailroom")
        assert tuple(report.missing) == lost, report.problems
        assert report.complete == is_whole
        assert found.active.missing == lost
        assert set(found.active.analyzers) == {"invoice", "claim", "mailroom"} - set(lost)
        said = next(line for line in await found.deeds() if line["action"] == "failover.activated")
        assert (said.get("missing", []), said.get("missing_count", 0)) == (list(lost), len(lost))
        assert (report.facts["missing"], report.facts["missing_count"]) == (list(lost), len(lost))
        async with found.context() as context:
            reasons = (await assess(context, "east", "west")).reasons
        shown = [reason.text for reason in reasons if reason.bucket is Bucket.LEFT_OUT]
        assert shown == ([] if is_whole else ["2 analyzers are left out at west: claim, mailroom"])
        if not is_whole:
            assert "2 analyzers are left out at west: claim, mailroom (claim " in summary(report)
            assert "standby restore p --to west" in report.next_action


@pytest.mark.parametrize("state", BROKEN)
async def test_a_planned_failover_refuses_unless_the_plan_lets_it_serve_the_rest(
    state: str, make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path, state) as found:
        with pytest.raises(FailoverRefused, match="claim"):
            await found.fail_over(planned=True)
        found.allow("refuse")
        with pytest.raises(FailoverRefused, match="claim"):
            await found.fail_over(planned=False)

        found.allow("serve_rest")
        report = await found.fail_over(planned=True)

        assert report.state == "activated"
        # Its last sync copies again what holds nothing, and what is what the primary has but for its status.
        lost = () if state in EMPTY | {"undefined"} else ("claim", "mailroom")
        assert tuple(report.missing) == found.active.missing == lost


@pytest.mark.parametrize("state", ["failed", "unreadable"])
async def test_a_drill_does_not_depend_on_what_the_target_has(
    state: str, make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path) as found:
        await found.snapshot()
        await found.break_it(state)
        async with found.context() as context:
            report = await drill(context, "east", "west", DirectStages())
        assert report.passed, report.reasons


@pytest.mark.parametrize("state", BROKEN)
async def test_a_failback_takes_along_what_works(
    state: str, make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path, state) as found:
        await found.dark()
        assert (await found.fail_over()).state == "activated"
        await found.dark("none")
        await found.edit({"description": "edited at west"}, "invoice")
        async with found.context() as context:
            report = await fail_back(context, "east", DirectStages())
        assert report.state == "failed_back", report.problems
        assert found.active.resource == "east"
        assert (found.active.missing, set(found.active.analyzers)) == ((), {"invoice", "claim", "mailroom"})
        async with found.context() as context:
            assert (await context.connections["east"].get_analyzer("invoice")).description == "edited at west"


@pytest.mark.parametrize("how", ["restored", "ready by itself", "restored and committed"])
async def test_what_works_again_is_back_in_the_active_map(
    how: str, make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path) as found:
        await found.snapshot()
        await found.break_it("undefined")
        await found.dark()
        report = await found.fail_over()
        assert tuple(report.missing) == ("claim", "mailroom")
        async with found.context() as context:
            assert await complete(context) == (), "nothing changed"

        if how == "ready by itself":
            await found.edit({"status": "ready"})
            async with found.context() as context:
                assert await complete(context) == ("claim", "mailroom")
        else:
            async with found.context() as context:
                await context.connections["west"].delete_analyzer("claim")
            if how == "restored":
                restored = await found.restore()
                assert restored.added == ("claim", "mailroom")
                assert restored.summary.endswith("Back in the active map: claim, mailroom.")
            else:
                async with found.context() as context:
                    plan = await plan_restore(context, await open_snapshot(context), "west")
                    await restore(context, plan)
                    committed = await commit(context)
                assert (committed.added, committed.missing) == (("claim", "mailroom"), {})
                assert "Back in the active map: claim, mailroom." in commit_summary(committed)

        assert (found.active.missing, set(found.active.analyzers)) == ((), {"invoice", "claim", "mailroom"})
        assert found.epoch == report.epoch + 1
        said = next(line for line in await found.deeds() if line["action"] == "failover.completed")
        assert (said["added"], said["missing"]) == (["claim", "mailroom"], [])
        async with found.context() as context:
            assert (await read_fence(context.vault, context.plan)).assignments["east"].missing == ()
            assert await complete(context) == ()


async def test_a_target_that_has_nothing_that_works_is_refused(
    make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path, "failed") as found:
        await found.edit({"status": "failed"}, "invoice")
        await found.dark()
        with pytest.raises(FailoverRefused, match="west is not ready"):
            await found.fail_over()
        forced = await found.fail_over(forced=frozenset({"readiness"}))
        assert (forced.state, len(forced.missing), forced.complete) == ("activated", 2, False)


async def test_what_is_still_being_built_is_waited_for(
    make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path, "creating") as found:
        await found.dark()

        class Patient(HastyClock):
            async def sleep(self, seconds: float) -> None:
                await found.edit({"status": "ready"})
                await super().sleep(seconds)

        async with found.context() as context:
            decided, record = await decide_request(context, FailoverRequest(to="west", planned=False))
            assert record is not None
            assert list(record.decision.left_out) == ["claim", "mailroom"]
            patient = replace(context, run=replace(context.run, clock=Patient()))
            report = await fail_over(patient, decided, DirectStages())
        assert (report.state, report.missing) == ("activated", {})


async def test_a_build_that_hangs_does_not_hold_up_the_others(
    make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "STALLED_SECONDS", 0.5)
    async with place(make_scene, make_analyzer, tmp_path) as found:
        await found.snapshot()
        await found.break_it("absent")
        await found.dark()
        rule = {"resource": "west", "call": "put", "analyzer": "claim", "fault": {"kind": "operation_hangs"}}
        await found.scene.control("/faults", rule)
        async with found.context() as context:
            decided, _ = await decide_request(context, FailoverRequest(to="west", planned=False))
            real = replace(context, run=replace(context.run, clock=SystemClock()))
            report = await fail_over(real, decided, DirectStages())
        assert (report.state, list(report.missing)) == ("activated", ["claim", "mailroom"])
        assert report.missing["claim"].startswith("claim is still being built at west")


async def test_a_model_that_the_target_lacks_costs_those_that_need_it(
    make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    other = {"completion": "gpt-4o", "embedding": "text-embedding-3-large"}
    analyzers = [make_analyzer("invoice"), make_analyzer("claim", models=other), make_analyzer("mailroom", "claim")]
    both = [*DEPLOYMENTS, {"name": "gpt-4o", "model": "gpt-4o", "version": "1"}]
    async with make_scene(analyzers, targets=("west",), service_time=0.0) as scene:
        defaults = {each["name"]: each["name"] for each in both}
        for name in ("east", "west"):
            await scene.control("/settings", {"resource": name, "deployments": both, "defaults": defaults})
        found = Place(scene, scene.configuration, tmp_path)
        assert (await found.replicate()).complete
        less = {each["name"]: each["name"] for each in DEPLOYMENTS}
        await scene.control("/settings", {"resource": "west", "defaults": less})
        await found.dark()
        report = await found.fail_over()
        assert report.state == "activated"
        assert list(report.missing) == ["claim", "mailroom"]
        assert "gpt-4o" in report.missing["claim"]


@pytest.mark.parametrize("state", ["failed", "stuck"])
async def test_a_protocol_that_cannot_replace_deletes_what_holds_nothing_first(
    state: str, make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    preview = "2025-05-01-preview"
    async with place(make_scene, make_analyzer, tmp_path, state, api_version=preview) as found:
        report = await found.replicate()
        assert report.complete, report.items
        assert list((tmp_path / "vault" / "replaced" / "west" / "claim").iterdir())
        await found.snapshot()
        await found.break_it(state)
        assert (await found.restore()).complete


async def test_a_copy_that_fails_every_time_is_tried_by_every_run_and_costs_itself_only(
    make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path, "failed") as found:
        rule = {"resource": "west", "call": "copy", "analyzer": "claim", "times": None}
        await found.scene.control("/faults", {**rule, "fault": {"kind": "analyzer_fails"}})
        for _ in range(2):
            ends = {item.analyzer: item for item in (await found.replicate()).items}
            assert (ends["claim"].status, ends["invoice"].status) == (Status.FAILED, Status.SKIPPED)
            assert "Run again: it is overwritten" in ends["claim"].reason


@pytest.mark.parametrize("entry", [None, 7, "text", {}, {"status": "ready"}, {"analyzerId": 7}, {"analyzerId": ""}])
async def test_an_entry_without_an_id_costs_no_other(entry: object) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"value": [{"analyzerId": "invoice", "status": "ready"}, entry]})

    async with ContentUnderstandingClient(resource("west"), transport=httpx.MockTransport(answer)) as client:
        assert [found.analyzer_id for found in await client.list_analyzers()] == ["invoice"]


async def test_a_list_of_nothing_that_can_be_named_is_not_an_empty_list() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"value": [{"id": "invoice"}]})

    async with ContentUnderstandingClient(resource("west"), transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(ProtocolError):
            await client.list_analyzers()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["status", "createdAt", "lastModifiedAt", "tags", "models", "warnings", "config", "description"]
        ),
        JSON,
    )
)
def test_whatever_an_entry_says_it_is_read_as_far_as_it_can_be(fields: dict[str, Any]) -> None:
    found = Analyzer.model_validate({"analyzerId": "claim", **fields})
    assert (found.analyzer_id, found.to_json()) == ("claim", {"analyzerId": "claim", **fields})
    sight(found, found.to_json())
    references(found.to_json())
    models_of(found.to_json())
