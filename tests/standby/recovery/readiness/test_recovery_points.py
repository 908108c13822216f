"""What would be lost now: points count from when source and copy were last seen equal, and nothing vanishes unseen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from standby.recovery.context import RecoveryContext
from standby.recovery.readiness.assess import assess_plan
from standby.recovery.readiness.document import AnalyzerPoint, Bucket, Readiness, State
from standby.recovery.readiness.wording import forecast_words, point_words, points_words
from standby.recovery.runs import remember_run
from standby.recovery.snapshots.take import take_snapshot
from standby.replication.items import Selection
from standby.replication.replicate import Replication, begin
from standby.replication.steps import DirectSteps
from tests.standby.recovery.failback.world import World
from tests.standby.replication.world import recovery_plan


class Region(World):
    """A plan from east to west in memory, whose resources can be dark."""

    def __init__(self, *analyzers: str) -> None:
        super().__init__(recovery_plan(objectives={"rpo": "1h"}))
        self.dark: set[str] = set()
        self.service.intervene = self._intervene
        for name in analyzers:
            self.create("east", name)

    def _intervene(self, _when: str, request: httpx.Request) -> httpx.Response | None:
        if request.url.host.partition(".")[0] in self.dark:
            raise httpx.ConnectError("dark", request=request)
        return None

    @asynccontextmanager
    async def replicating(self) -> AsyncIterator[tuple[RecoveryContext, Replication]]:
        """A run that has looked at the resources and has not done anything yet."""
        async with self.context() as context, begin(context.run, Selection(), DirectSteps(context.run)) as run:
            yield context, run
            await run.run()
            report = run.report(run_id="run", via="direct")
            await remember_run(context.vault, report, Selection(), run.plan.made_at)
        self.pass_time()

    async def replicated(self) -> None:
        async with self.replicating():
            pass

    async def snapshot(self) -> None:
        async with self.context() as context:
            await take_snapshot(context)
        self.pass_time()

    async def status(self) -> Readiness:
        async with self.context() as context:
            (found,) = await assess_plan(context, seconds=5.0)
        return found


def points(readiness: Readiness) -> dict[str, AnalyzerPoint]:
    return {point.analyzer: point for point in readiness.points}


async def test_a_copy_counts_from_when_its_source_was_seen_and_not_from_when_the_run_ended() -> None:
    region = Region("invoice")
    await region.replicated()
    async with region.replicating() as (context, run):
        seen = run.plan.made_at
        region.pass_time(1800)
        region.patch("east", "invoice", "edited during the run")
        assert context.clock.now() > seen
    region.dark.add("east")
    point = points(await region.status())["invoice"]
    assert point.verified_at == seen
    assert point.age_seconds is not None
    assert point.age_seconds >= 1800


async def test_what_was_re_created_during_a_run_and_seen_by_a_snapshot_stays_in_the_list() -> None:
    region = Region("invoice", "other")
    await region.replicated()
    region.delete("east", "invoice")
    async with region.replicating():
        region.create("east", "invoice", description="re-created")
        await region.snapshot()
    region.delete("west", "invoice")
    region.dark.add("east")
    found = await region.status()
    assert "invoice" in points(found)
    assert found.missing == ("invoice",)


async def test_a_copy_whose_source_cannot_be_looked_at_was_equal_at_least_until_then() -> None:
    region = Region("invoice")
    await region.replicated()
    lit = await region.status()
    region.pass_time(600)
    region.dark.add("east")
    dark = await region.status()
    assert (points(lit)["invoice"].at_least, points(dark)["invoice"].at_least) == (False, True)
    words = point_words(points(dark)["invoice"], dark.assessed_at)
    assert words.startswith("unknown whether the source has changed; equal at least until 10m ago")


async def test_what_only_a_snapshot_has_is_as_old_as_the_snapshot() -> None:
    region = Region("invoice")
    await region.replicated()
    await region.snapshot()
    region.delete("west", "invoice")
    region.pass_time(600)
    region.dark.add("east")
    found = await region.status()
    point = points(found)["invoice"]
    assert (point.restored, point.lost, point.met) == (True, "", True)
    assert point.age_seconds is not None
    assert 600 <= point.age_seconds <= 620
    assert "restored from the snapshot of 10m ago" in point_words(point, found.assessed_at)


async def test_nothing_is_forecast_for_what_is_neither_at_the_target_nor_in_a_snapshot() -> None:
    region = Region("invoice")
    await region.snapshot()
    region.create("east", "receipt")
    await region.replicate(Selection(("invoice",)))
    found = await region.status()
    point = points(found)["receipt"]
    assert (point.verified_at, point.age_seconds, point.met) == (None, None, False)
    assert "west does not have it, and the newest snapshot" in point.lost
    assert (found.rto.lost, found.rto.median, found.rto.high) == (("receipt",), None, None)
    assert "receipt cannot be recovered" in forecast_words(found.rto)
    assert points_words(found).endswith("worst is receipt, which cannot be recovered.")
    assert points(found)["invoice"].lost == ""


async def test_what_was_re_created_where_it_serves_and_then_lost_stays_until_it_is_recovered() -> None:
    region = Region("invoice", "other")
    await region.replicated()
    await region.snapshot()
    await region.serve_at("west")
    region.delete("west", "invoice")
    region.create("west", "invoice")
    assert not lost_where_it_serves(await region.status())
    region.delete("west", "invoice")
    for dark in (set(), {"east"}):
        region.dark = dark
        found = await region.status()
        assert found.state is not State.READY
        assert lost_where_it_serves(found) == ("invoice",)
    region.create("west", "invoice")
    assert not lost_where_it_serves(await region.status())


async def test_what_was_removed_on_purpose_where_it_serves_is_gone_once_a_snapshot_says_so() -> None:
    region = Region("invoice", "other")
    await region.replicated()
    await region.serve_at("west")
    region.delete("west", "invoice")
    assert lost_where_it_serves(await region.status()) == ("invoice",)
    await region.snapshot()
    assert not lost_where_it_serves(await region.status())


def lost_where_it_serves(readiness: Readiness) -> tuple[str, ...]:
    found = (reason for reason in readiness.reasons if reason.bucket is Bucket.MISSING)
    return next((reason.analyzers for reason in found if "not there any more" in reason.text), ())
