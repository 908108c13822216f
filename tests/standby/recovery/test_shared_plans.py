"""Two plans that protect the same analyzer: what serves elsewhere for one of them serves there for both."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import RecoveryPlan
from standby.errors import GuardRefused, StandbyError
from standby.fencing import ActiveElsewhere, OtherFenceUnknown, Phase, read_fence, read_other_plans
from standby.recovery.activation.sinks import Activation
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.failback.failback import fail_back
from standby.recovery.failback.report import FailbackReport
from standby.recovery.failover.failover import commit, fail_over
from standby.recovery.failover.report import CommitReport, FailoverReport
from standby.recovery.readiness.assess import assess_plan
from standby.recovery.readiness.document import Bucket, Readiness, State
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import RestoreReport, restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.recovery.snapshots.take import SnapshotTaken, take_snapshot
from standby.replication.items import Selection, Status
from standby.replication.replicate import begin, survey
from standby.replication.report import Report
from standby.replication.steps import DirectSteps
from standby.replication.verdict import Action
from standby.vault.storage import Listed
from tests.standby.recovery.failback.world import World
from tests.standby.recovery.stages import DirectStages
from tests.standby.replication.world import Service
from tests.standby.vault.world import MemoryVault

EAST = frozenset({"east"})


def plan_of(name: str, include: str, *targets: str, source: str = "east", **fields: Any) -> RecoveryPlan:
    pairs = [{"source": source, "targets": list(targets or ("west",))}]
    return RecoveryPlan.model_validate({"name": name, "pairs": pairs, "include": [include], **fields})


@dataclass
class Book:
    """A sink of one plan that keeps everything it took."""

    name: str = "book"
    id: str = "book"
    required: bool = True
    readable: bool = True
    taken: list[Activation] = field(default_factory=list)
    plan: str = ""
    told: Callable[[tuple[str, str]], None] = lambda _: None

    async def publish(self, activation: Activation) -> None:
        self.taken.append(activation)
        if (endpoint := activation.sources["east"]) is not None:
            self.told((self.plan, endpoint.resource))

    async def read(self, plan: str) -> Activation | None:
        return self.taken[-1] if self.taken else None


class Plans:
    """Plans that share resources and a vault; each is run as flows run it, with no other plan configured."""

    def __init__(self, *plans: RecoveryPlan) -> None:
        self.service, self.vault = Service(polls=0), MemoryVault()
        self.worlds = {plan.name: World(plan, self.service, self.vault) for plan in plans}
        self.books = {plan.name: Book() for plan in plans}
        self.runs = 0

    @classmethod
    async def made(cls, *plans: RecoveryPlan, **analyzers: tuple[str, ...]) -> Plans:
        site = cls(*plans)
        for name, children in (analyzers or {"invoice": (), "receipt": ()}).items():
            site.any.create("east", name, *children)
        for world in site.worlds.values():
            await world.replicate()
        return site

    @property
    def any(self) -> World:
        return next(iter(self.worlds.values()))

    @asynccontextmanager
    async def context(self, plan: str) -> AsyncIterator[RecoveryContext]:
        self.runs += 1
        async with self.worlds[plan].context(f"run-{self.runs}") as context:
            yield replace(context, sinks=(self.books[plan],))
        self.any.pass_time()

    async def fail_over(self, plan: str, to: str, **order: Any) -> FailoverReport:
        async with self.context(plan) as context:
            asked = FailoverRequest(primary="east", to=to, **{"planned": True, **order})
            return await fail_over(context, asked, DirectStages())

    async def roll_back(self, plan: str, **more: Any) -> FailoverReport:
        return await self.fail_over(plan, "", action="roll back", **more)

    async def fail_back(self, plan: str, *force: str) -> FailbackReport:
        async with self.context(plan) as context:
            return await fail_back(context, "", DirectStages(), force=force)

    async def commit(self, plan: str) -> CommitReport:
        async with self.context(plan) as context:
            return await commit(context)

    async def replicate(self, plan: str, **asked: Any) -> Report:
        return await self.worlds[plan].replicate(Selection(on_existing="replace", **asked))

    async def status(self, plan: str) -> tuple[Readiness, ...]:
        async with self.context(plan) as context:
            return await assess_plan(context)

    async def snapshot(self, plan: str) -> SnapshotTaken:
        async with self.context(plan) as context:
            return await take_snapshot(context)

    async def restore(self, plan: str, to: str) -> RestoreReport:
        async with self.context(plan) as context:
            return await restore(context, await plan_restore(context, await open_snapshot(context), to))

    async def active(self, plan: str) -> str:
        return (await self.worlds[plan].active()).active


A, B = plan_of("a", "inv*", "west"), plan_of("b", "*", "north", exclude=["secret*"])
"""They overlap by glob, and have different targets."""


def ends(report: Report) -> dict[str, Status]:
    return {item.analyzer: item.status for item in report.items}


# What is copied


async def test_what_serves_elsewhere_for_another_plan_is_not_copied_from_where_it_was_left() -> None:
    site = await Plans.made(A, B)
    await site.fail_over("a", "west")
    site.any.patch("east", "invoice", "old news")
    site.any.patch("east", "receipt", "news")
    report = await site.replicate("b")
    assert ends(report) == {"invoice": Status.REFUSED, "receipt": Status.SUCCEEDED}
    (reason,) = (item.reason for item in report.items if item.analyzer == "invoice")
    assert "Plan b does not copy invoice from east to north" in reason
    assert "west serves for east in plan a (epoch 1)" in reason
    assert "standby failback a" in reason
    assert site.any.says("north")["invoice"] != "old news"
    assert site.any.says("north")["receipt"] == "news"


async def test_where_all_of_it_serves_elsewhere_the_run_is_refused_before_any_call_to_change_anything() -> None:
    site = await Plans.made(A, plan_of("b", "invoice", "north"))
    await site.fail_over("a", "west")
    site.any.patch("east", "invoice", "old news")
    copies = site.service.accepted.copy()
    with pytest.raises(ActiveElsewhere, match=r"Plan b .* west serves for east in plan a \(epoch 1\)"):
        await site.replicate("b")
    assert site.service.accepted == copies


@pytest.mark.parametrize("force", [(), ("invoice",)])
async def test_a_renamed_plan_does_not_overwrite_what_serves_under_its_old_name(
    force: tuple[str, ...],
) -> None:
    site = await Plans.made(A, replace_name(A, "renamed"))
    await site.fail_over("a", "west")
    site.any.patch("west", "invoice", "edited where it serves")
    with pytest.raises(ActiveElsewhere, match="where plan a is not in the configuration, add it again"):
        await site.replicate("renamed", force=force)
    assert site.any.says("west")["invoice"] == "edited where it serves"
    # The way out.
    assert (await site.fail_back("a")).state == "failed_back"
    assert ends(await site.replicate("renamed")) == {"invoice": Status.SKIPPED}
    assert site.any.says("east")["invoice"] == "edited where it serves"


def replace_name(plan: RecoveryPlan, name: str) -> RecoveryPlan:
    return plan.model_copy(update={"name": name})


async def test_a_child_that_comes_along_is_left_alone_and_its_parent_is_copied_to_where_it_serves() -> None:
    plans = plan_of("a", "invoices*", "west"), plan_of("b", "receipts*", "west")
    site = await Plans.made(*plans, common=(), invoices=("common",), receipts=("common",))
    await site.fail_over("a", "west")
    site.any.patch("west", "common", "edited where it serves")
    site.any.patch("east", "common", "old news")
    site.any.patch("east", "receipts", "news")
    report = await site.replicate("b")
    assert ends(report) == {"common": Status.REFUSED, "receipts": Status.SUCCEEDED}
    assert site.any.says("west")["common"] == "edited where it serves"
    assert site.any.says("west")["receipts"] == "news"


async def test_plans_with_nothing_in_common_do_not_notice_each_other() -> None:
    site = await Plans.made(A, plan_of("b", "rec*", "west", "north"))
    await site.fail_over("a", "west")
    site.any.patch("east", "receipt", "news")
    assert set(ends(await site.replicate("b")).values()) == {Status.SUCCEEDED}
    report = await site.fail_over("b", "north")
    assert report.state == "activated", report.problems
    assert (await site.active("a"), await site.active("b")) == ("west", "north")


async def test_plans_whose_tags_differ_have_nothing_in_common_once_it_is_known_what_they_have() -> None:
    site = Plans(plan_of("a", "*", "west", tags=["team=a"]), plan_of("b", "*", "north", tags=["team=b"]))
    site.any.create("east", "invoice", tags={"team": "a"})
    site.any.create("east", "receipt", tags={"team": "b"})
    for world in site.worlds.values():
        await world.replicate()
    await site.fail_over("a", "west")
    site.any.patch("east", "receipt", "news")
    assert ends(await site.replicate("b")) == {"receipt": Status.SUCCEEDED}
    assert (await site.fail_over("b", "north")).state == "activated"


async def test_another_source_does_not_overwrite_a_resource_where_it_serves() -> None:
    site = await Plans.made(A, plan_of("b", "*", "west", source="south"), invoice=())
    site.any.create("south", "invoice")
    site.any.create("south", "other")
    await site.fail_over("a", "west")
    before = site.any.says("west")["invoice"]
    report = await site.replicate("b", force=("invoice",))
    assert ends(report) == {"invoice": Status.REFUSED, "other": Status.SUCCEEDED}
    assert site.any.says("west")["invoice"] == before


async def test_an_analyzer_that_was_made_where_it_serves_belongs_to_the_plan_as_well() -> None:
    site = await Plans.made(A, plan_of("b", "*", "west", source="south"), invoice=())
    await site.fail_over("a", "west")
    site.any.create("west", "invoice-new")
    site.any.create("south", "invoice-new", description="another one")
    with pytest.raises(ActiveElsewhere):
        await site.replicate("b", force=("invoice-new",))


async def test_a_failover_that_begins_while_copies_are_made_stops_the_next_one() -> None:
    site = await Plans.made(A, plan_of("b", "*", "north"), invoice=(), parent=("invoice",))
    site.any.patch("east", "parent", "news")
    async with site.context("b") as context:
        steps = DirectSteps(context.run)
        async with begin(context.run, Selection(on_existing="replace"), steps) as replication:
            await site.fail_over("a", "west", planned=False)
            site.any.pass_time(60)
            site.any.patch("east", "invoice", "old news")
            items = {item.analyzer: item for item in replication.plan.items}
            grant = await steps.authorize(items["invoice"])
            with pytest.raises(ActiveElsewhere, match="plan a"):
                await steps.copy(items["invoice"], grant)


async def test_plan_and_check_say_what_would_be_left_alone_and_why() -> None:
    site = await Plans.made(A, B)
    await site.fail_over("a", "west")
    async with site.context("b") as context:
        proposal = await survey(context.run, Selection())
    found = {item.analyzer: item for item in proposal.items}
    assert found["invoice"].action is Action.REFUSE
    assert "plan a (epoch 1)" in found["invoice"].reason
    assert found["receipt"].action is Action.SKIP


# What serves


async def test_another_resource_is_not_let_serve_for_what_serves_elsewhere_in_another_plan() -> None:
    site = await Plans.made(A, B)
    await site.fail_over("a", "west")
    with pytest.raises(ActiveElsewhere, match=r"invoice in common with plan a.*west serves for east in plan a"):
        await site.fail_over("b", "north", planned=False, forced=frozenset({"readiness", "shared"}))
    assert await site.active("b") == "east"
    assert (await site.worlds["b"].active()).phase is Phase.STEADY


@pytest.mark.parametrize("planned", [True, False])
async def test_a_plan_can_follow_another_one_to_where_that_serves(planned: bool) -> None:
    plans = plan_of("a", "invoices*", "west"), plan_of("b", "receipts*", "west")
    site = await Plans.made(*plans, common=(), invoices=("common",), receipts=("common",))
    await site.fail_over("a", "west")
    site.any.patch("west", "common", "edited where it serves")
    report = await site.fail_over("b", "west", planned=planned)
    assert report.state == "activated", report.problems
    assert site.any.says("west")["common"] == "edited where it serves"
    assert await site.active("b") == "west"


async def test_status_says_what_serves_for_which_plan_and_how_to_follow() -> None:
    site = await Plans.made(A, plan_of("b", "*", "west", "north"))
    assert not [each for each in await site.status("b") if "plan a" in str(each.reasons)]
    await site.fail_over("a", "west")
    west, north = await site.status("b")
    (to_west,) = (reason for reason in west.reasons if reason.bucket is Bucket.FENCED)
    assert to_west.text == "invoice: west serves for east in plan a (epoch 1)"
    assert to_west.analyzers == ("invoice",)
    assert "standby failover b --to west" in to_west.next_action
    assert north.state is State.NOT_READY
    assert any("plan a" in reason.text for reason in north.reasons)


async def test_after_the_failback_all_is_as_it_was() -> None:
    site = await Plans.made(A, B)
    await site.fail_over("a", "west")
    await site.commit("a")
    site.any.patch("west", "invoice", "edited where it serves")
    assert (await site.fail_back("a")).state == "failed_back"
    assert set(ends(await site.replicate("b")).values()) == {Status.SUCCEEDED, Status.SKIPPED}
    assert site.any.says("north")["invoice"] == "edited where it serves"
    assert (await site.fail_over("b", "north")).state == "activated"


async def test_what_serves_elsewhere_for_both_is_let_serve_at_home_for_one_only_by_force() -> None:
    site = await Plans.made(A, plan_of("b", "*", "west"))
    await site.fail_over("a", "west")
    await site.fail_over("b", "west")
    with pytest.raises(ActiveElsewhere, match="--force shared"):
        await site.roll_back("a")
    await site.commit("a")
    with pytest.raises(ActiveElsewhere, match="--force shared"):
        await site.fail_back("a")
    assert await site.active("a") == "west"
    assert (await site.fail_back("a", "shared")).state == "failed_back"
    assert await site.active("a") == "east"
    assert (await site.fail_back("b")).state == "failed_back"
    assert set(ends(await site.replicate("b")).values()) == {Status.SKIPPED}


async def test_a_commit_publishes_no_primary_for_what_serves_elsewhere_in_another_plan() -> None:
    site = await Plans.made(A, B)
    await site.commit("b")
    await site.fail_over("a", "west")
    told = list(site.books["b"].taken)
    with pytest.raises(ActiveElsewhere, match="plan a"):
        await site.commit("b")
    assert site.books["b"].taken == told
    await site.roll_back("a")
    await site.commit("b")


async def test_a_failover_says_which_other_plan_should_follow() -> None:
    site = await Plans.made(A, plan_of("b", "*", "west"))
    plans = {"a": A, "b": site.worlds["b"].plan}
    async with site.context("a") as context:
        configured = context.configuration.model_copy(update={"plans": plans})
        request = FailoverRequest(primary="east", to="west", planned=True)
        report = await fail_over(replace(context, configuration=configured), request, DirectStages())
    assert "Plan b has invoice as well: fail it over with standby failover b --to west." in report.next_action


# Snapshots


async def test_a_snapshot_says_what_it_has_only_as_the_primary_had_it() -> None:
    site = await Plans.made(A, B)
    assert (await site.snapshot("b")).complete
    await site.fail_over("a", "west")
    taken = await site.snapshot("b")
    assert not taken.complete
    assert any("invoice as east has it" in problem and "plan a" in problem for problem in taken.problems)


async def test_nothing_is_restored_where_it_serves_for_another_plan() -> None:
    plans = plan_of("a", "invoices*", "west"), plan_of("b", "receipts*", "west")
    site = await Plans.made(*plans, common=(), invoices=("common",), receipts=("common",))
    await site.snapshot("b")
    await site.fail_over("a", "west")
    for name in ("common", "receipts"):
        site.any.delete("west", name)
    with pytest.raises(ActiveElsewhere, match="does not restore common at west"):
        async with site.context("b") as context:
            proposal = await plan_restore(context, await open_snapshot(context), "west", analyzers=("common",))
            await restore(context, proposal)
    report = await site.restore("b", "west")
    assert {item.analyzer: item.status for item in report.items}["common"] is Status.REFUSED
    assert "common" not in site.any.at("west")


# Fences that cannot be read, and those of earlier versions


@pytest.mark.parametrize("damage", ["unreadable", "another plan's", "missing"])
async def test_where_it_is_not_known_what_serves_for_another_plan_nothing_is_assumed(damage: str) -> None:
    site = await Plans.made(A, B)
    await site.fail_over("a", "west")
    path = "recovery/a/fence.json"
    content = site.vault.files.pop(path)
    if damage != "missing":
        wrong = json.dumps({**json.loads(content), "plan": "other"}).encode()
        site.vault.files[path] = b"{" if damage == "unreadable" else wrong
    site.any.patch("east", "receipt", "news")
    with pytest.raises(OtherFenceUnknown, match=r"plan a.*recovery/a/fence\.json"):
        await site.replicate("b")
    with pytest.raises(OtherFenceUnknown, match="plan a"):
        await site.fail_over("b", "north", planned=False)
    (north,) = await site.status("b")
    assert north.state is not State.READY
    assert any("plan a" in reason.text and "fence.json" in reason.text for reason in north.reasons)
    forced = await site.fail_over("b", "north", planned=False, forced=frozenset({"shared", "readiness"}))
    assert forced.state == "activated", forced.problems


async def test_a_fence_of_an_earlier_version_is_about_all_analyzers_of_its_primary() -> None:
    site = await Plans.made(A, B)
    await site.worlds["a"].serve_at("west")
    site.any.patch("east", "receipt", "news")
    with pytest.raises(ActiveElsewhere, match="plan a"):
        await site.replicate("b")


async def test_other_files_and_an_empty_fence_of_a_plan_that_never_failed_over_are_no_fences() -> None:
    vault = MemoryVault({"recovery/automation.json": b"{}", "recovery/a/fence.json": b"", "recovery/a/x.json": b"?"})
    found = await read_other_plans(vault, "b")
    assert (found.active, found.unknown) == ((), ())


# At once


@dataclass
class Turns:
    """Lets another failover run at one write of the vault."""

    at: int
    seen: int = 0
    then: Any = None

    async def count(self) -> None:
        self.seen += 1
        if self.seen == self.at and self.then is not None:
            then, self.then = self.then, None
            await then()


class TurningVault(MemoryVault):
    def __init__(self, files: dict[str, bytes], turns: Turns) -> None:
        super().__init__(files)
        self.turns = turns

    async def put(self, path: str, content: bytes) -> None:
        await self.turns.count()
        await super().put(path, content)


@given(at=st.integers(1, 25), second=st.sampled_from(["west", "north"]), planned=st.booleans())
async def test_two_plans_that_fail_over_at_once_never_have_two_resources_active_for_one_analyzer(
    at: int, second: str, planned: bool
) -> None:
    plans = plan_of("a", "invoices*", "west"), plan_of("b", "receipts*", "west", "north")
    site = await Plans.made(*plans, common=(), invoices=("common",), receipts=("common",))
    turns = Turns(at)
    vault = TurningVault(site.vault.files, turns)
    ended: dict[str, FailoverReport | GuardRefused] = {}

    async def run(plan: str, to: str, *, planned: bool) -> None:
        try:
            ended[plan] = await site.fail_over(plan, to, planned=planned, forced=frozenset({"readiness"}))
        except GuardRefused as refused:
            ended[plan] = refused

    async def other() -> None:
        await run("b", second, planned=False)

    turns.then = other
    site.worlds["a"].vault = vault
    await run("a", "west", planned=planned)
    away = {name: await site.active(name) for name in ("a", "b")}
    assert len(set(away.values()) - EAST) <= 1, (away, ended)
    for name, book in site.books.items():
        named = {each.sources["east"].resource for each in book.taken if each.sources["east"]}
        assert named <= {"east", away[name]}, (name, named, ended)
        fence = await read_fence(site.vault, site.worlds[name].plan)
        assert fence.assignments["east"].phase is not Phase.SWITCHING
    if second == "west" and not planned and "b" in ended:
        # In an outage of the region, both get where they lead.
        assert set(away.values()) == {"west"}, ended


class PacedVault(MemoryVault):
    """One process's way to a vault, which lets another one go on before each of its calls, now longer, now shorter."""

    def __init__(self, files: dict[str, bytes], pauses: list[int]) -> None:
        super().__init__(files)
        self.pauses = cycle(pauses)

    async def pause(self) -> None:
        for _ in range(next(self.pauses)):
            await asyncio.sleep(0)

    async def get(self, path: str) -> bytes | None:
        await self.pause()
        return await super().get(path)

    async def put(self, path: str, content: bytes) -> None:
        await super().put(path, content)
        await self.pause()

    async def list(self, prefix: str = "") -> tuple[Listed, ...]:
        await self.pause()
        return await super().list(prefix)


PAUSES = st.lists(st.integers(0, 40), min_size=1, max_size=30)


@given(of_a=PAUSES, of_b=PAUSES, to=st.sampled_from(["west", "north"]))
async def test_however_two_failovers_take_turns_their_sinks_never_name_two_resources(
    of_a: list[int], of_b: list[int], to: str
) -> None:
    plans = plan_of("a", "invoices*", "west"), plan_of("b", "receipts*", "west", "north")
    site = await Plans.made(*plans, common=(), invoices=("common",), receipts=("common",))
    site.worlds["a"].vault = PacedVault(site.vault.files, of_a)
    site.worlds["b"].vault = PacedVault(site.vault.files, of_b)
    orders = {"a": "west", "b": to}
    told: list[tuple[str, str]] = []
    for name, book in site.books.items():
        book.told = told.append
        book.plan = name

    async def run(plan: str) -> None:
        with suppress(GuardRefused):
            await site.fail_over(plan, orders[plan], planned=False, forced=frozenset({"readiness"}))

    await asyncio.gather(run("a"), run("b"))
    away = {await site.active(name) for name in orders} - EAST
    assert len(away) <= 1, told
    assert {resource for _, resource in told} - EAST <= away, told
    if to == "west":
        assert away == {"west"}, told


ORDERS = st.sampled_from(["west", "north", "roll back", "commit", "fail back"])


@given(orders=st.lists(st.tuples(st.sampled_from(["a", "b"]), ORDERS), min_size=2, max_size=6))
async def test_whatever_is_ordered_one_resource_at_most_serves_elsewhere_and_no_plan_overwrites_it(
    orders: list[tuple[str, str]],
) -> None:
    plans = plan_of("a", "invoices*", "west", "north"), plan_of("b", "receipts*", "west", "north")
    site = await Plans.made(*plans, common=(), invoices=("common",), receipts=("common",))
    for number, (plan, order) in enumerate(orders):
        with suppress(StandbyError):
            await carry_out(site, plan, order)
        away = {await site.active(name) for name in ("a", "b")} - EAST
        assert len(away) <= 1, orders[: number + 1]
        for resource in away:
            site.any.patch(resource, "common", f"edit {number}")
            for name in ("a", "b"):
                with suppress(GuardRefused):
                    await site.replicate(name, force=("common",))
            assert site.any.says(resource)["common"] == f"edit {number}"


async def carry_out(site: Plans, plan: str, order: str) -> None:
    match order:
        case "roll back":
            await site.roll_back(plan)
        case "commit":
            await site.commit(plan)
        case "fail back":
            await site.fail_back(plan)
        case _:
            await site.fail_over(plan, order, planned=False, forced=frozenset({"readiness"}))
