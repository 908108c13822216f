"""Where a plan asks for two persons, no failover begins by fewer, whatever happens in whatever order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.fencing import Phase
from standby.recovery.audit import verify_audit, words_of_line
from standby.recovery.decision.evaluate import approve, withdraw_approvals
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.failover.errors import NotApproved
from standby.recovery.failover.failover import fail_over
from tests.standby.recovery.failover.world import Killed, Site
from tests.standby.recovery.stages import DirectStages

TWO = {"failover": {"approvals": 2, "approval_timeout": "30m"}}
TIMEOUT = timedelta(minutes=30)

PERSONS = {
    "ada@desk": "ada",
    "Ada@laptop": "ada",
    "ａｄａ , flow run able-fox": "ada",
    "bob@desk": "bob",
    "Cleo Carter": "cleo",
    "cleo  carter, flow run red-cat": "cleo",
    "flow run blue-dog": None,
    " , flow run blue-dog": None,
}
"""Who a name stands for; nobody for a run that nobody gave a name."""


async def order(site: Site, actor: str, to: str = "west", **more: object) -> None:
    """Order a failover as the command does: what lacks a person only is kept as this one's approval."""
    epoch = (await site.fence()).epoch
    async with site.context() as context:
        known = replace(context, actor=actor)
        request = FailoverRequest(primary="east", to=to, planned=False, epoch=epoch, **more)  # type: ignore[arg-type]
        try:
            await fail_over(known, request, DirectStages())
        except NotApproved:
            await approve(known, request, epoch)
            raise


async def test_one_person_never_counts_twice_and_a_second_one_completes_it() -> None:
    site = await Site.made(**TWO)
    for actor in ("ada@desk", "ADA@laptop", "Ada, flow run able-fox"):
        with pytest.raises(NotApproved, match="2 different persons have to approve it, and ada@desk did"):
            await order(site, "ada@desk" if actor == "ada@desk" else actor)
    assert site.named == {"east"}
    await order(site, "bob@desk")
    assert site.named == {"west"}


@pytest.mark.parametrize("minutes", [-29, -2, 0, 29])
async def test_persons_whose_clocks_differ_approve_together(minutes: int) -> None:
    site = await Site.made(**TWO)
    with pytest.raises(NotApproved):
        await order(site, "ada@desk")
    site.world.service.clock.seconds += 60 * minutes  # as the clock of the other machine has it
    await order(site, "bob@desk")
    assert site.named == {"west"}


@pytest.mark.parametrize("minutes", [-30, 30])
async def test_an_approval_counts_no_longer_than_its_time_whichever_clock_is_wrong(minutes: int) -> None:
    site = await Site.made(**TWO)
    with pytest.raises(NotApproved):
        await order(site, "ada@desk")
    site.world.service.clock.seconds += 60 * minutes
    with pytest.raises(NotApproved):
        await order(site, "bob@desk")
    assert site.named == {"east"}


async def test_both_persons_are_in_the_audit_log() -> None:
    site = await Site.made(**TWO)
    with pytest.raises(NotApproved):
        await order(site, "ada@desk")
    await order(site, "bob@desk")
    lines = (await verify_audit(site.vault, "invoices", None)).lines
    told = [words_of_line(line) for line in lines]
    assert "The failover of east to west was approved, by ada@desk" in told
    assert any(line.actor == "bob@desk" and line.action == "failover.activated" for line in lines)


async def test_force_is_enough_for_one_and_is_recorded() -> None:
    site = await Site.made(**TWO)
    await order(site, "ada@desk", forced=frozenset({"approvals"}))
    lines = (await verify_audit(site.vault, "invoices", None)).lines
    assert next(line.facts["forced"] for line in lines if line.action == "failover.activated") == ["approvals"]


@pytest.mark.parametrize(
    "other", [{"to": "north"}, {"forced": frozenset({"staleness"})}, {"to": "west", "forced": frozenset({"sinks"})}]
)
async def test_an_approval_is_of_one_failover_only(other: dict[str, object]) -> None:
    site = await Site.made(**TWO)
    with pytest.raises(NotApproved):
        await order(site, "ada@desk")
    with pytest.raises(NotApproved):
        await order(site, "bob@desk", **other)  # type: ignore[arg-type]
    assert site.named == {"east"}


async def test_a_rejection_withdraws_what_was_approved() -> None:
    site = await Site.made(**TWO)
    with pytest.raises(NotApproved):
        await order(site, "ada@desk")
    async with site.context() as context:
        await withdraw_approvals(context)
    with pytest.raises(NotApproved):
        await order(site, "bob@desk")


async def test_what_leads_back_needs_one_person() -> None:
    site = await Site.made(**TWO)
    with pytest.raises(NotApproved):
        await order(site, "ada@desk")
    await order(site, "bob@desk")
    await site.roll_back()
    assert site.named == {"east"}
    with pytest.raises(NotApproved):
        await order(site, "cleo@desk")
    await order(site, "bob@desk")
    await site.commit()
    assert (await site.fail_back()).state == "failed_back"
    assert site.named == {"east"}


# Whatever happens, in whatever order


@dataclass(frozen=True)
class Step:
    kind: Literal["order", "form", "outage", "wait", "reject", "die"]
    actor: str
    to: str
    minutes: int
    boundary: int


STEPS = st.builds(
    Step,
    kind=st.sampled_from(["order", "order", "form", "outage", "wait", "reject", "die"]),
    actor=st.sampled_from(sorted(PERSONS)),
    to=st.sampled_from(["west", "west", "north"]),
    minutes=st.integers(1, 20),
    boundary=st.integers(0, 12),
)


@dataclass
class Model:
    """Who was for what, and when: more than Standby knows, never less."""

    said: list[tuple[str, str, datetime]] = field(default_factory=list)

    def may_begin(self, to: str, now: datetime) -> bool:
        return len({person for person, there, at in self.said if there == to and now - at < TIMEOUT}) >= 2


@given(st.lists(STEPS, max_size=14))
async def test_no_order_of_events_lets_fewer_than_two_persons_begin_a_failover(steps: list[Step]) -> None:
    site, model = await Site.made(**TWO), Model()
    for step in steps:
        clock = site.world.service.clock
        if step.kind == "wait":
            clock.seconds += step.minutes * 60
            continue
        before = await site.fence()
        if step.kind in {"order", "form", "die"} and (person := PERSONS[step.actor]):
            model.said.append((person, step.to, clock.now()))
        if step.kind == "reject":
            model.said.clear()
        allowed = model.may_begin(step.to, clock.now())
        site.reaper.revive(step.boundary if step.kind == "die" else None)
        try:
            await played(site, step, before.epoch)
        except (NotApproved, Killed):
            pass
        except BaseExceptionGroup as group:
            if group.split(Killed)[1] is not None:
                raise
        site.reaper.revive()
        after = await site.fence()
        assignment = after.assignments["east"]
        if assignment.phase is not Phase.STEADY or assignment.active != "east" or after.epoch != before.epoch:
            assert allowed, f"{step} began a failover that fewer than two persons approved"
            return
        assert site.named == {"east"}


async def played(site: Site, step: Step, epoch: int) -> None:
    async with site.context() as context:
        request = FailoverRequest(primary="east", to=step.to, planned=False, epoch=epoch)
        of_outage = replace(request, requested_by="outage")
        match step.kind:
            case "form":
                await approve(context, of_outage, epoch, by=step.actor)
            case "outage":
                await fail_over(replace(context, actor="flow run watch"), of_outage, DirectStages())
            case "reject":
                await withdraw_approvals(context)
            case _:
                await order(site, step.actor, step.to)


async def test_two_persons_at_the_same_moment_begin_one_failover() -> None:
    site = await Site.made(**TWO)
    orders = (order(site, actor) for actor in ("ada@desk", "bob@desk", "ada@laptop"))
    results = await asyncio.gather(*orders, return_exceptions=True)
    assert sum(result is None for result in results) <= 1
    if results[1] is not None:
        await order(site, "bob@desk")
    assert site.named == {"west"}
