"""Sinks in every mood: none that is not required is waited for, what is behind is published again, and it is said."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from standby.errors import GuardRefused, StandbyError
from standby.fencing import Phase, fence_path
from standby.recovery.activation import sinks as publishing
from standby.recovery.activation.seen import SinkView
from standby.recovery.activation.sinks import Activation, SinkResult
from standby.recovery.failover import failover as failing_over
from standby.recovery.failover.failover import publish_behind
from standby.recovery.failover.report import commit_summary, summary
from standby.recovery.failover.state import sinks_seen
from tests.patience import PATIENCE
from tests.standby.recovery.failover.test_crash import copy_of
from tests.standby.recovery.failover.world import Killed, MemorySink, Site


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "OPTIONAL_SECONDS", 0.02)
    monkeypatch.setattr(failing_over, "BEHIND_SECONDS", 0.5)


async def behind(site: Site) -> tuple[SinkResult, ...]:
    async with site.context() as context:
        return await publish_behind(context)


async def seen(site: Site) -> dict[str, SinkView]:
    async with site.context() as context:
        return {view.name: view for view in await sinks_seen(context)}


def fails(_: Site, hook: MemorySink) -> None:
    hook.fails = True


def is_silent(_: Site, hook: MemorySink) -> None:
    hook.fails = hook.mute = True


def hangs(_: Site, hook: MemorySink) -> None:
    hook.mute, hook.hangs = True, asyncio.Event()


def stumbles_at_nobody(site: Site, hook: MemorySink) -> None:
    hook.mute = True
    site.reaper.passing = lambda _: setattr(hook, "fails", site.sinks[0].side is None)


def stumbles_at_the_target(site: Site, hook: MemorySink) -> None:
    hook.mute = True
    site.reaper.passing = lambda _: setattr(hook, "fails", site.sinks[0].side == "west")


MOODS: list[Callable[[Site, MemorySink], None]] = [
    fails,
    is_silent,
    hangs,
    stumbles_at_nobody,
    stumbles_at_the_target,
]


def calm(site: Site) -> None:
    site.reaper.passing = lambda _: None
    for sink in site.sinks:
        sink.fails, sink.hangs = False, None


async def site_with_an_optional_one() -> Site:
    site = await Site.made()
    site.sinks[1].required = False
    return site


@pytest.mark.parametrize("mood", MOODS)
async def test_a_sink_that_is_not_required_holds_up_nothing_and_is_published_to_later(
    mood: Callable[[Site, MemorySink], None],
) -> None:
    site = await site_with_an_optional_one()
    file, hook = site.sinks
    mood(site, hook)
    report = await site.fail_over()

    assert (report.state, report.serving, file.side) == ("activated", "west", "west")
    told, missed = report.sinks
    assert (told.status, missed.status, missed.required) == ("told", "failed", False)
    assert "It is not required, so a failover does not wait for it; the map is published to it later." in missed.reason
    assert not report.complete  # Nothing that is wrong counts as all right.

    calm(site)
    results = await behind(site)
    assert [(result.name, result.status, result.published) for result in results] == [("hook", "told", "west")]
    assert hook.side == "west"
    assert await behind(site) == ()


@pytest.mark.parametrize("mood", MOODS)
async def test_it_holds_up_neither_rollback_nor_commit(mood: Callable[[Site, MemorySink], None]) -> None:
    site = await site_with_an_optional_one()
    await site.fail_over()
    mood(site, site.sinks[1])
    report = await site.roll_back()
    assert (report.state, report.serving, site.sinks[0].side) == ("rolled_back", "east", "east")
    calm(site)
    await site.fail_over()
    mood(site, site.sinks[1])
    committed = await site.commit()
    assert committed.committed == {"east": "west"}
    assert (await site.side()).phase is Phase.STEADY
    if site.sinks[1].fails or site.sinks[1].hangs:
        assert not committed.complete
        assert "not required" in commit_summary(committed)


@pytest.mark.parametrize("mood", [fails, is_silent, hangs])
async def test_it_holds_up_no_failback(mood: Callable[[Site, MemorySink], None]) -> None:
    site = await site_with_an_optional_one()
    await site.fail_over()
    await site.commit()
    mood(site, site.sinks[1])
    report = await site.fail_back()
    assert (report.state, site.sinks[0].side, (await site.side()).phase) == ("failed_back", "east", Phase.STEADY)
    assert any("hook" in problem and "not required" in problem for problem in report.problems)
    calm(site)
    site.sinks[1].mute = True
    assert [result.published for result in await behind(site)] == ["east"]
    assert site.sinks[1].side == "east"


async def test_what_did_not_take_nobody_is_not_told_the_target_by_the_same_run() -> None:
    """It may take the two the other way round; a run that comes later is not overtaken."""
    site = await site_with_an_optional_one()
    stumbles_at_nobody(site, site.sinks[1])
    report = await site.fail_over()
    assert report.sinks[1].status == "failed"
    assert [activation.epoch for activation in site.sinks[1].heard] == [0]


async def test_a_required_sink_that_is_down_stops_it_as_before() -> None:
    site = await Site.made()
    site.sinks[0].required = False
    is_silent(site, site.sinks[1])
    report = await site.fail_over()
    assert report.state == "fenced"
    assert (report.sinks[1].status, report.sinks[1].required) == ("failed", True)


async def test_an_old_map_that_somebody_put_back_is_replaced() -> None:
    site = await Site.made()
    await site.fail_over()
    file = site.sinks[0]
    file.heard.append(file.heard[0])
    assert (await seen(site))["file"].words == "file: east serves for east (epoch 0, not current)"
    (result,) = await behind(site)
    assert (result.name, result.published, file.side) == ("file", "west", "west")
    assert (await seen(site))["file"].words == "file: west serves for east (epoch 1)"


async def test_a_map_that_somebody_deleted_is_published_again() -> None:
    site = await Site.made()
    site.sinks[0].heard.clear()
    assert (await seen(site))["file"].words == "file: it has no map"
    assert [result.name for result in await behind(site)] == ["file"]
    assert site.sinks[0].side == "east"


async def test_a_map_with_the_same_epoch_and_another_content_is_published_again() -> None:
    site = await Site.made()
    file = site.sinks[0]
    endpoint = file.endpoint()
    assert file.last is not None
    assert endpoint is not None
    edited = endpoint.model_copy(update={"endpoint": "https://elsewhere.example.com"})
    file.heard.append(file.last.model_copy(update={"sources": {"east": edited}}))
    view = (await seen(site))["file"]
    assert view.words == "file: east serves for east (epoch 0, to be published again)"
    assert (view.current, view.is_wrong) == (False, False)
    assert [result.status for result in await behind(site)] == ["told"]
    assert file.endpoint() == endpoint


async def test_a_failover_that_was_undone_before_anything_was_told_misleads_nobody() -> None:
    site = await Site.made("invoice", "receipt")
    site.dark = {"east", "west"}
    report = await site.fail_over()
    assert (report.state, [len(sink.heard) for sink in site.sinks]) == ("rolled_back", [1, 1])
    view = (await seen(site))["file"]
    assert (view.words, view.is_wrong) == ("file: east serves for east (epoch 0, to be published again)", False)
    assert [result.published for result in await behind(site)] == ["east", "east"]
    assert await behind(site) == ()


async def test_a_sink_that_is_ahead_is_reported_and_never_overwritten() -> None:
    site = await Site.made()
    file, hook = site.sinks
    assert file.last is not None
    file.heard.append(file.last.model_copy(update={"epoch": 7}))
    hook.heard.clear()
    results = await behind(site)
    # The fence is an older copy then: nothing is published by it, to no sink.
    assert [(result.name, result.status) for result in results] == [("file", "failed")]
    assert "file already has epoch 7, and this run has epoch 0" in results[0].reason
    assert (file.last.epoch, hook.last) == (7, None)


async def test_what_cannot_be_read_is_published_to_again_where_nothing_says_that_it_took_the_map() -> None:
    site = await Site.made()
    hook = site.sinks[1]
    hook.mute = True
    assert [result.name for result in await behind(site)] == ["hook"]
    assert await behind(site) == ()
    view = (await seen(site))["hook"]
    assert (view.serving, view.epoch, view.current, view.readable) == ({"east": "east"}, 0, True, False)
    assert view.acknowledged_at is not None
    # The record is lost: it is published once more, and the receiver sees that it is the same.
    del site.vault.files["recovery/invoices/sinks.json"]
    assert (await seen(site))["hook"].words == "hook: not known; no record says what it took"
    assert [result.status for result in await behind(site)] == ["told"]
    assert [activation.epoch for activation in hook.heard] == [0]
    site.vault.files["recovery/invoices/sinks.json"] = b"{damaged"
    assert [result.status for result in await behind(site)] == ["told"]
    assert await behind(site) == ()


async def test_it_does_nothing_while_a_failover_is_under_way() -> None:
    site = await Site.made()
    is_silent(site, site.sinks[1])
    assert (await site.fail_over()).state == "fenced"
    calm(site)
    heard = [len(sink.heard) for sink in site.sinks]
    assert await behind(site) == ()
    assert [len(sink.heard) for sink in site.sinks] == heard


@pytest.mark.parametrize("lost", ["fence", "log"])
async def test_it_does_nothing_where_records_were_lost(lost: str) -> None:
    site = await Site.made()
    await site.fail_over()
    site.sinks[0].heard.clear()
    gone = {"fence": ("recovery/invoices/fence",), "log": ("audit/",)}[lost]
    for path in [path for path in site.vault.files if path.startswith(gone)]:
        del site.vault.files[path]
    assert await behind(site) == ()
    assert site.sinks[0].heard == []


async def test_it_does_nothing_before_a_plan_has_a_fence() -> None:
    site = Site()
    site.world.create("east", "invoice")
    await site.world.replicate()
    assert await behind(site) == ()
    assert all(view.current is None for view in (await seen(site)).values())
    assert fence_path("invoices") not in site.vault.files


async def test_an_operator_is_not_refused_because_of_it_and_its_older_map_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failing_over, "BEHIND_SECONDS", PATIENCE)
    site = await Site.made()
    file, hook = site.sinks
    hook.heard.clear()
    hook.hangs = asyncio.Event()
    watching = asyncio.create_task(behind(site))
    while not hook.waiting:
        await asyncio.sleep(0)
    late, hook.hangs = hook.hangs, None
    report = await site.fail_over()
    assert report.state == "activated"
    late.set()
    (result,) = await watching
    assert result.status == "failed"
    assert "already has epoch 1, and this run has epoch 0" in result.reason
    assert (file.side, hook.side) == ("west", "west")


async def test_it_costs_the_vault_three_calls_where_nothing_is_behind_and_two_where_all_sinks_can_be_read() -> None:
    site = await Site.made()
    reads: list[str] = []
    get = site.vault.get

    async def counted(path: str) -> bytes | None:
        reads.append(path)
        return await get(path)

    site.vault.get = counted  # type: ignore[method-assign]
    assert await behind(site) == ()
    assert len(reads) == 2
    site.sinks[1].mute = True
    await behind(site)
    reads.clear()
    assert await behind(site) == ()
    assert len(reads) == 3


def said(text: str, sink: str) -> str:
    """Give what a sentence says that a sink names; empty where it says nothing of it."""
    for resource, names in re.findall(r"that (\w+) serves \(([^)]*)\)", text):
        if sink in names.split(", "):
            return str(resource)
    for names, resource in re.findall(r"([\w, ]+?) still names? (\w+)", text):
        if sink in re.split(r", | and ", names.strip()):
            return str(resource)
    return (
        "not known" if re.search(rf"unknown which map [\w, ]*{sink}[\w, ]* (has|have)", text.replace("W", "w")) else ""
    )


async def interrupted(site: Site, boundary: int, run: Callable[[], Any]) -> Any:
    """Press Ctrl-C at a boundary; give the report, where there is one."""
    task = asyncio.ensure_future(run())
    site.reaper.revive()
    site.reaper.passing = lambda passed: task.cancel() if passed == boundary else None
    try:
        return await task
    except asyncio.CancelledError:
        return None
    finally:
        site.reaper.passing = lambda _: None


async def test_a_failback_that_is_interrupted_says_what_applications_were_told(chaos: bool) -> None:
    template = await Site.made(targets=("west",))
    await template.fail_over()
    await template.commit()
    told = set()
    for boundary in count(step=1 if chaos else 3):
        site = copy_of(template)
        report = await interrupted(site, boundary, site.fail_back)
        if site.reaper.passed <= boundary:
            break
        if report is None or report.state not in {"interrupted", "unfinished"}:
            continue
        for sink in site.sinks:
            told.add(sink.side)
            assert said(report.ending, sink.name) == (sink.side or "nobody"), (boundary, report.ending)
    assert told == {"west", None, "east"}


@pytest.mark.parametrize("deed", ["unplanned", "planned", "back"])
async def test_interrupted_at_any_boundary_it_says_what_applications_were_told(deed: str, chaos: bool) -> None:
    template = await Site.made(targets=("west",))
    if deed == "back":
        await template.fail_over()
    unheard = 0
    for boundary in count(step=1 if chaos else 2):
        site = copy_of(template)
        heard = [len(sink.heard) for sink in site.sinks]
        run = site.roll_back if deed == "back" else lambda site=site: site.fail_over(planned=deed == "planned")
        report = await interrupted(site, boundary, run)
        if site.reaper.passed <= boundary:
            break
        if report is None:
            # Then nothing was told by this run, and what applications see is what they saw before.
            assert [len(sink.heard) for sink in site.sinks] == heard
            unheard += 1
            continue
        if report.state != "fenced":
            continue
        text = summary(report)
        assert "last resource that served" not in text
        for sink in site.sinks:
            assert said(text, sink.name) == (sink.side or "nobody"), (boundary, text)
        views = await seen(site)
        for sink in site.sinks:
            assert views[sink.name].serving["east"] == sink.side
    assert boundary > 20
    assert unheard < boundary


async def test_of_a_webhook_it_says_no_more_than_is_known() -> None:
    template = await Site.made(targets=("west",))
    template.sinks[1].mute = True
    await behind(template)
    doubtful = 0
    for boundary in count():
        site = copy_of(template)
        hook = site.sinks[1]
        hook.mute = True
        report = await interrupted(site, boundary, site.fail_over)
        if site.reaper.passed <= boundary:
            break
        if report is None or report.state != "fenced":
            continue
        view = (await seen(site))["hook"]
        assert "hook" in summary(report)
        if view.serving["east"] != hook.side:
            # It took the map, and the run was interrupted before it could say so.
            doubtful += 1
            assert "it is unknown whether it took the map" in view.problem
            assert "by its last acknowledgement" in summary(report) or "nobody" in summary(report)
    assert doubtful


async def test_after_a_kill_it_says_what_is_known_and_nothing_that_is_wrong(chaos: bool) -> None:
    template = await Site.made(targets=("west",))
    template.sinks[1].mute = True
    await behind(template)
    for boundary in count(step=1 if chaos else 2):
        site = copy_of(template)
        file, hook = site.sinks
        hook.mute = True
        site.reaper.revive(boundary)
        try:
            await site.fail_over()
        except Killed:
            pass
        except BaseExceptionGroup as group:
            if group.split(Killed)[1] is not None:
                raise
        lived = not site.reaper.dead
        site.reaper.revive()
        if lived:
            break
        views = await seen(site)
        assert views["file"].serving["east"] == file.side
        if views["hook"].serving["east"] != hook.side:
            assert "it is unknown" in views["hook"].problem or views["hook"].current is False
    assert boundary > 20


Step = tuple[str, int]

ORDERS = ["west", "north", "back", "commit", "watch", "killed"]
MISHAPS = ["fails", "hangs", "heals", "old map", "deleted", "answers late", "has answered"]


@example((True, True), False, [("answers late", 0), ("west", 0), ("deleted", 0), ("west", 0)])
@given(
    required=st.sampled_from([(True, True), (True, True), (True, False), (False, True), (False, False)]),
    mute=st.booleans(),
    steps=st.lists(
        st.tuples(st.sampled_from(MISHAPS), st.sampled_from(ORDERS), st.integers(0, 60)), min_size=2, max_size=7
    ).map(lambda drawn: [(step, number) for mishap, order, number in drawn for step in (mishap, order)]),
)
def test_whatever_sinks_do_they_never_name_two_and_once_calm_all_hold_the_current_map(
    required: tuple[bool, bool], mute: bool, steps: Sequence[Step]
) -> None:
    asyncio.run(live(required, mute, steps))


async def live(required: tuple[bool, bool], mute: bool, steps: Sequence[Step]) -> None:
    site = await Site.made()
    moods = Moods(site)
    for sink, each in zip(site.sinks, required, strict=True):
        sink.required, sink.on_change = each, partial(moods.check, sink)
    site.sinks[1].mute = mute
    epoch = 0
    for step, number in steps:
        await moods.take(step, number)
        assert (await site.fence()).epoch >= epoch
        epoch = (await site.fence()).epoch
    calm(site)
    await moods.answer()
    if (await site.side()).phase is Phase.SWITCHING:
        report = await site.roll_back(forced=frozenset({"sinks", "readiness"}))
        assert report.state in {"activated", "rolled_back"}, report.problems
    for result in await behind(site):
        assert result.status == "told", result
    active = (await site.side()).active
    assert [sink.side for sink in site.sinks] == [active, active]
    assert all(view.current for view in (await seen(site)).values())
    assert await behind(site) == ()


@dataclass
class Moods:
    """What happens to the sinks of a site, and what must hold whatever that is.

    Attributes:
        edited: the sinks that somebody else has written to, until they are published to again.
        since: from which of its maps on each sink was written to by Standby alone.
        late: what lets a sink answer at last, and the watch that waits for it.
    """

    site: Site
    edited: set[str] = field(default_factory=set)
    since: dict[str, int] = field(default_factory=dict)
    late: list[tuple[asyncio.Event, asyncio.Task[None]]] = field(default_factory=list)

    def check(self, sink: MemorySink) -> None:
        newest = max(each.heard[-1].epoch for each in self.site.sinks if each.heard)
        # What was sent before somebody emptied a sink may arrive there late, and no sink can refuse it then: such a
        # sink counts again from its next current map on.
        if sink.heard[-1].epoch == newest:
            self.edited.discard(sink.name)
        named = {each.side for each in self.site.sinks if each.required and each.name not in self.edited} - {None}
        assert len(named) <= 1, "two required sinks name different resources"
        epochs = [activation.epoch for activation in sink.heard[self.since.get(sink.name, 0) :]]
        assert epochs == sorted(epochs)

    async def take(self, step: str, number: int) -> None:
        site, sink = self.site, self.site.sinks[number % 2]
        match step:
            case "fails":
                sink.fails = True
            case "hangs":
                # Only what is given up in time may hang for ever here.
                sink.hangs = None if sink.required else asyncio.Event()
            case "heals":
                sink.fails, sink.hangs = False, None
            case "old map" if sink.heard and not sink.mute:
                self._edit(sink, [*sink.heard, sink.heard[number % len(sink.heard)]])
            case "deleted" if not sink.mute:
                self._edit(sink, [])
            case "answers late":
                await self._watch_waits(sink)
            case "has answered":
                await self.answer()
            case "killed":
                site.reaper.revive(number)
                await tried(lambda: site.fail_over("west"))
                site.reaper.revive()
            case "west" | "north":
                await tried(lambda: site.fail_over(step))
            case "back":
                await tried(site.roll_back)
            case "commit":
                await tried(site.commit)
            case "watch":
                await tried(lambda: behind(site))

    def _edit(self, sink: MemorySink, heard: list[Activation]) -> None:
        self.edited.add(sink.name)
        self.since[sink.name] = len(heard)
        sink.heard = heard

    async def _watch_waits(self, sink: MemorySink) -> None:
        """Let a watch publish to a sink that takes it only later, whatever is done until then."""
        if sink.mute:
            self.site.vault.files.pop("recovery/invoices/sinks.json", None)
        else:
            self._edit(sink, [])
        event = sink.hangs = asyncio.Event()
        sink.waiting = False
        watch = asyncio.create_task(tried(lambda: behind(self.site)))
        while not sink.waiting and not watch.done():
            await asyncio.sleep(0)
        sink.hangs = None
        self.late.append((event, watch))

    async def answer(self) -> None:
        while self.late:
            event, watch = self.late.pop()
            event.set()
            await watch


async def tried(run: Callable[[], Any]) -> None:
    """Do it; a refusal and a sink that is down are answers, too."""
    try:
        await run()
    except (GuardRefused, StandbyError, Killed):
        pass
    except BaseExceptionGroup as group:
        if group.split(Killed)[1] is not None:
            raise
