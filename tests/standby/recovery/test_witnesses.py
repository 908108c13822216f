"""Whatever of a plan's records is lost: as long as anything that is left knows more, it is never said to be fine."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.fencing import Assignment, Fence, FenceBehind, hold_fence
from standby.recovery.audit import AuditAction, AuditBroken, record_action, verify_audit
from standby.recovery.failover.failover import commit
from standby.recovery.failover.report import FailoverReport
from standby.recovery.witnesses import Evidence, RecordsLost, Witness, judge, look, settle
from standby.replication.ledger import read_ledger, write_ledger
from standby.replication.verdict import CopyRecord, Sighting
from standby.vault.errors import TakenOver
from standby.vault.folder import LocalFolder
from tests.standby.recovery.failover.test_crash import do, do_and_die
from tests.standby.recovery.failover.world import Site
from tests.standby.vault.world import HandClock

FENCE, SWITCH = "recovery/invoices/fence.json", "recovery/invoices/switch.json"
LOG, HEAD = "audit/invoices.jsonl", "audit/invoices.head.json"
RECORDS = (FENCE, SWITCH, LOG, HEAD)


@given(
    fence=st.none() | st.integers(0, 5),
    known=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=5),
)
def test_it_is_never_fine_while_anything_knows_a_higher_epoch(fence: int | None, known: list[tuple[int, bool]]) -> None:
    stored = None if fence is None else Fence(plan="p", epoch=fence, assignments={"east": Assignment(active="east")})
    witnesses = tuple(Witness(f"w{number}", epoch, is_sink=sink) for number, (epoch, sink) in enumerate(known))

    finding = judge(Evidence("p", ("east",), stored, "fence.json", witnesses))

    more = any(epoch > (fence or 0) for epoch, _ in known)
    only_sinks = fence is None and bool(known) and all(sink for _, sink in known)
    assert bool(finding.fence) == (more or only_sinks)
    assert finding.evidence.epoch == max([fence or 0, *(epoch for epoch, _ in known)])


@given(
    lost=st.dictionaries(st.sampled_from(RECORDS), st.none() | st.integers(0, 2)),
    mute=st.booleans(),
    ends=st.sampled_from(["unplanned", "commit", "back"]),
)
def test_no_loss_of_records_goes_unnoticed_while_one_that_is_left_knows_more(
    lost: dict[str, int | None], mute: bool, ends: str
) -> None:
    asyncio.run(lose(lost, ends, mute=mute))


async def lose(lost: dict[str, int | None], ends: str, *, mute: bool) -> None:
    """Fail over, and put some files back as they were some time before, or remove them."""
    site = await Site.made(targets=("west",))
    copies = []
    for deed in ("unplanned", "commit", "unplanned" if ends == "commit" else ends):
        copies.append(dict(site.vault.files))
        await do(site, deed)  # type: ignore[arg-type]
    now = await site.fence()
    for sink in site.sinks:
        sink.mute = mute
    for path, back in lost.items():
        older = None if back is None else copies[back].get(path)
        if older is None:
            site.vault.files.pop(path, None)
        else:
            site.vault.files[path] = older
    stored = site.vault.files.get(FENCE)
    epoch = json.loads(stored)["epoch"] if stored else 0
    async with site.context() as context:
        finding = await look(context)
        left = [witness.epoch for witness in finding.evidence.witnesses]
    assert bool(finding.fence) or all(each <= epoch for each in left)
    if not mute:
        assert bool(finding.fence) == (epoch < now.epoch)


@pytest.mark.parametrize("deed", ["unplanned", "planned", "back"])
async def test_no_death_of_a_run_looks_like_a_loss(deed: str) -> None:
    for boundary in count(step=2):
        site = await Site.made(targets=("west",))
        if deed == "back":
            await site.fail_over()
        lived = await do_and_die(site, deed, boundary)  # type: ignore[arg-type]
        async with site.context() as context:
            finding = await look(context)
        assert finding.problem == "", boundary
        if lived:
            break
    assert boundary > 20


async def test_what_is_known_when_a_run_begins_is_held_against_the_fence_that_it_holds_later() -> None:
    site = await Site.made(targets=("west",))
    await site.fail_over()
    async with site.context() as context:
        settled = await settle(context)
        del site.vault.files[FENCE]
        with pytest.raises(FenceBehind, match="at epoch 0, and plan invoices was at 1 already"):
            await commit(settled)
        with pytest.raises(FenceBehind):
            async with hold_fence(site.vault, context.plan, known=settled.run.known_epoch):
                pass


async def test_no_line_is_added_to_a_log_that_lost_one_which_something_knows() -> None:
    site = await Site.made(targets=("west",))
    await site.fail_over()
    del site.vault.files[LOG], site.vault.files[HEAD]
    async with site.context() as context:
        with pytest.raises(RecordsLost, match=re.escape("memory:audit/invoices.jsonl is gone: it had 2 lines")):
            await settle(context)
        known = (await look(context)).known
        assert known.log is not None
        assert known.log.sequence == 2


async def test_a_log_that_is_cut_while_a_run_works_is_not_added_to() -> None:
    site = await Site.made(targets=("west",))
    await site.fail_over()
    async with site.context() as context:
        settled = await settle(context)
        del site.vault.files[LOG], site.vault.files[HEAD]
        with pytest.raises(AuditBroken):
            await record_action(settled, AuditAction.RESTORE_BEGUN)


async def test_the_line_after_a_loss_links_to_what_was_known_and_stays_pinned() -> None:
    site = await Site.made(targets=("west",))
    await site.fail_over()
    lines = site.vault.files[LOG].splitlines(keepends=True)
    del site.vault.files[HEAD]
    site.vault.files[LOG] = lines[0]
    async with site.context() as context:
        settled = await settle(context, ["fence"], "the storage lost a day")
        await record_action(settled, AuditAction.RESTORE_BEGUN)
        check = await verify_audit(site.vault, "invoices", None)
        assert check.problems == ()
        (gap,) = check.gaps
        assert (gap.sequence, gap.action) == (3, "fence.forced")
        assert gap.facts["reason"] == "the storage lost a day"
        assert gap.previous == json.loads(lines[1])["digest"]
        # Nobody cuts that line off again: the fence knows it.
        del site.vault.files[HEAD]
        site.vault.files[LOG] = lines[0]
        assert "cut off" in (await look(context)).log


async def test_a_ledger_knows_the_epoch_where_all_else_is_gone() -> None:
    site = await Site.made(targets=("west",))
    await site.fail_over()
    async with write_ledger(site.vault, "east", "west", "2025-11-01") as ledger:
        ledger.know("invoices", 4)
    again = await read_ledger(site.vault, "east", "west", "2025-11-01")
    assert again.epochs == {"invoices": 4}
    assert again.records
    assert not again.damaged
    for path in RECORDS:
        del site.vault.files[path]
    for sink in site.sinks:
        sink.mute = True
    async with site.context() as context:
        finding = await look(context)
    assert "ledger/2025-11-01/east_west.jsonl (epoch 4)" in finding.fence


async def test_a_sink_that_does_not_answer_is_named_and_costs_itself_only() -> None:
    site = await Site.made(targets=("west",))
    site.sinks[1].fails = True
    async with site.context() as context:
        finding = await look(context)
        assert finding.problem == ""
        (unread,) = finding.evidence.unread
        assert unread.startswith("hook could not be read")
        await settle(context)


async def test_without_its_lock_two_failovers_do_not_interleave() -> None:
    site = await Site.made(targets=("west",))
    other: list[asyncio.Task[FailoverReport]] = []

    def lose_the_lock() -> None:
        if not other and site.sinks[0].side is None:
            site.vault.held.clear()
            other.append(asyncio.create_task(site.roll_back()))

    watched = site.sinks[0].on_change

    def change() -> None:
        watched()
        lose_the_lock()

    site.sinks[0].on_change = change
    first = await site.fail_over()
    (second,) = await asyncio.gather(*other, return_exceptions=True)

    # One of the two stops: with an error where it had not begun, with a report that says so where it had.
    said = [str(second)] if isinstance(second, TakenOver) else []
    said += [problem for report in (first, second) if isinstance(report, FailoverReport) for problem in report.problems]
    assert any("Another run took over" in each for each in said)
    assert all(len(named) <= 1 for named in site.seen)
    site.sinks[0].on_change = watched
    last = await site.fail_over() if (await site.side()).active == "east" else None
    serving = (await site.side()).active
    assert last is None or last.serving == serving == "west"
    assert {sink.side for sink in site.sinks} == {serving}
    assert (await verify_audit(site.vault, "invoices", None)).problems == ()


async def test_without_its_lock_two_replications_lose_no_copy(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    sighting = Sighting(fingerprint="f", status="ready", created_at=None, changed_at=None, trained=False)
    record = CopyRecord(sighting, sighting, datetime(2026, 1, 1, tzinfo=UTC), "a")
    clock = HandClock(short=0)
    async with write_ledger(folder, "east", "west", "v", clock) as first:
        (tmp_path / "ledger" / "v" / "east_west.jsonl.lock").unlink()
        async with write_ledger(folder, "east", "west", "v", clock) as second:
            second.record({"b": record})
        first.record({"a": record})

    # Whoever wrote first is kept; what the other one copied is found to be equal by the next run.
    assert set((await read_ledger(folder, "east", "west", "v")).records) == {"b"}
