"""The report page on a phone, on a desk, in the dark and on paper: readable, and usable without eyes or a mouse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Page

from standby.errors import StandbyError
from standby.fencing import Assignment, Fence
from standby.recovery.activation.seen import SinkView
from standby.recovery.audit import AuditCheck
from standby.recovery.chain import FIRST, AuditLine
from standby.recovery.concerns import Concern, Kind, Tracked
from standby.recovery.failover.attendance import Told
from standby.recovery.page import PageContent, render_page
from standby.recovery.readiness.document import Facts, LastStates, Readiness, Sample, Standing, State
from standby.recovery.readiness.judge import judge_readiness
from standby.recovery.snapshots.snapshot import SnapshotEntry
from standby.recovery.witnesses import Evidence, judge
from standby.replication.verdict import Verdict
from tests.browser.conftest import Screenshot
from tests.standby.recovery.readiness.facts_at_hand import DAY, NOW, a_drill, a_finding, a_plan, facts, good

HOUR = timedelta(hours=1)
NAME = "invoices-of-the-subsidiaries"
LONG = "invoice-extraction.subsidiary_{:03}-with-the-longest-id-of-them-all.v2"
REFUSED = (
    "the policy of the plan is refuse, and west has another analyzer with this id that was not copied by Standby and "
    "would be overwritten"
)


def content(plan: str, *found: Readiness, **more: Any) -> PageContent:
    """What is known of a plan for which nothing is wrong, but for what a test adds."""
    named = a_plan(objectives={"rpo": "1h", "rto": "15m"}).model_copy(update={"name": plan})
    fence = Fence(plan=plan, epoch=3, assignments={"east": Assignment(active="east")})
    audit = AuditCheck("vault/audit/p.jsonl", tuple(lines(3)))
    evidence = Evidence(plan, ("east",), fence, "vault/fence.json", (), audit=audit)
    given = {
        "plan": named,
        "made_at": NOW,
        "actor": "operator@laptop",
        "regions": {"east": "eastus", "west": "westus3", "north": "northeurope"},
        "fence": fence,
        "finding": judge(evidence),
        "readiness": found,
        "last": LastStates(),
        "concerns": (),
        "told": {},
        "snapshots": (snapshot(0),),
        "replica": None,
        "sinks": (
            SinkView(
                name="file active.json", required=True, readable=True, epoch=3, serving={"east": "east"}, current=True
            ),
        ),
        "problems": (),
    }
    return PageContent(**{**given, **more})


def lines(count: int) -> Iterator[AuditLine]:
    told = [
        ("snapshot.taken", {"id": "20260504T020003Z-9c9395"}),
        ("failover.activated", {"home": "east", "to": "west", "reason": "a test of the whole team"}),
        ("failover.rolled_back", {"home": "east", "to": "east", "reason": "the test is over"}),
    ]
    for number in range(count):
        action, given = told[number % 3]
        at = NOW - (count - number) * HOUR
        line = {"sequence": number + 1, "at": at, "plan": "p", "deed": action, "actor": "operator@laptop-of-the-team"}
        line |= {"via": "direct", "run_id": "f2b030db7564", "epoch": 3, "facts": given, "previous": FIRST, "digest": ""}
        yield AuditLine.model_validate(line)


def snapshot(number: int) -> SnapshotEntry:
    at = NOW - number * 6 * HOUR
    signed = {
        "size": 81234,
        "signed": True,
        "problems": ("The manifest is missing in the second store",) * (number == 3),
    }
    return SnapshotEntry(
        id=f"{at:%Y%m%dT%H%M%SZ}-9c9395", taken_at=at, resources={"east": 400}, analyzers=400, **signed
    )


def history(behind: bool) -> tuple[Sample, ...]:
    samples = []
    for number in range(240, 0, -1):
        at, age = NOW - number * HOUR, timedelta(minutes=(number * 17) % 55)
        if behind and 60 < number < 75:
            age = (75 - number) * HOUR / 3
        unknown = behind and 20 < number < 30
        met = None if unknown else age <= HOUR
        samples.append(Sample(at=at, state=State.READY, oldest_point=None if unknown else at - age, met=met))
    return tuple(samples)


def large(plan: str = NAME, analyzers: int = 400) -> PageContent:
    """Two targets and hundreds of analyzers, much of it wrong."""
    allowed = a_plan(objectives={"rpo": "1h", "rto": "15m"})
    ids = [LONG.format(number) for number in range(analyzers)]

    def standing(number: int, name: str) -> Standing:
        if number % 5 == 0:
            text = f"{REFUSED}: {name}" if number % 10 else REFUSED
            return good(name, status=None, verdict=Verdict.FOREIGN, blocked=True, explanation=text)
        if number % 7 == 0:
            at = NOW - timedelta(hours=number)
            return good(name, verdict=Verdict.SOURCE_AHEAD, source_changed=True, verified_at=at)
        return good(name, target_analyzer=f"{name}-dr")

    def judged(target: str, *standings: Standing, **more: Any) -> Readiness:
        given: Facts = facts(*standings, plan=allowed)
        return judge_readiness(replace(given, target=target, **more)).model_copy(update={"plan": plan})

    north = judged(
        "north", *(standing(number, name) for number, name in enumerate(ids)), models=(a_finding(),), drill=None
    )
    west = judged("west", *(good(name) for name in ids))
    concerns = (
        Concern(kind=Kind.READINESS, about="north", severity="critical", summary="north cannot take over",
                next_action=f"See standby status {plan}"),
        Concern(kind=Kind.ACCESS, about="east", severity="critical", summary="east refuses its key for 42 s",
                next_action="Renew the key of east, then save the block again with standby bootstrap"),
        Concern(kind=Kind.REPLICATION, about="north", severity="warning", summary="The last replication copied a part",
                next_action=f"Run standby replicate {plan} --target north"),
    )  # fmt: skip
    return content(
        plan,
        west,
        north,
        last=LastStates(history={"east/west": history(behind=False), "east/north": history(behind=True)}),
        concerns=tuple(
            Tracked(concern=each, since=NOW - DAY, told_at=NOW, loudest=each.severity, is_told=True)
            for each in concerns
        ),
        told={
            "east": Told(what="a", at=NOW, text="east is down since 03:02 UTC; a failover to west waits for approval")
        },
        snapshots=tuple(map(snapshot, range(30))),
        finding=judge(damaged()),
    )


def damaged() -> Evidence:
    where = f"az://standby-vault-of-the-team/production/audit/{NAME}.jsonl"
    fence = Fence(plan=NAME, epoch=3, assignments={"east": Assignment(active="east")})
    wrong = AuditCheck(
        where, tuple(lines(140)), ("Line 141: it was changed after it was written",), ("Line 7: no key",)
    )
    return Evidence(NAME, ("east",), fence, "vault/fence.json", (), audit=wrong)


def small(plan: str = "receipts") -> PageContent:
    ready = judge_readiness(facts(good(), plan=a_plan(objectives={"rpo": "1h"}), drill=a_drill()))
    return content(plan, ready, last=LastStates(history={"east/west": history(behind=False)[:30]}))


PAGES = {
    "large": lambda: render_page([large()], NOW),
    "small": lambda: render_page([small()], NOW),
    "all": lambda: render_page(
        [small(), large("invoices", 20)],
        NOW,
        {"contracts": StandbyError("The vault did not answer", "Check the network")},
    ),
}

BROKEN_WORDS = r"""() => {
  const broken = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    for (const found of walker.currentNode.data.matchAll(/[\p{L}\p{N}]+/gu)) {
      const range = document.createRange();
      range.setStart(walker.currentNode, found.index);
      range.setEnd(walker.currentNode, found.index + found[0].length);
      const tops = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
      if (tops.size > 1) broken.push(found[0]);
    }
  }
  return broken;
}"""


SEEN = [
    ("large", (400, 800)), ("small", (400, 800)), ("small", (1400, 1000)),
    *(("all", size) for size in ((400, 800), (800, 1000), (1400, 1000))),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "viewport"), SEEN, ids=[f"{kind}-{size[0]}" for kind, size in SEEN])
async def test_is_readable(kind: str, viewport: tuple[int, int], page: Page, screenshot: Screenshot) -> None:
    await page.set_content(PAGES[kind]())
    for look in ("light", "dark", "print"):
        media: Literal["print", "screen"] = "print" if look == "print" else "screen"
        await page.emulate_media(media=media, color_scheme="light" if look == "light" else "dark")
        await screenshot(f"report-{kind}-{viewport[0]}-{look}")
    await page.emulate_media(media="screen", color_scheme="light")
    await page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    for media in ("screen", "print"):
        await page.emulate_media(media=media)
        assert await page.evaluate("document.documentElement.scrollWidth") <= viewport[0]
        assert await page.evaluate(BROKEN_WORDS) == []


@pytest.mark.parametrize("viewport", [(400, 800)], ids=["400"])
@pytest.mark.parametrize("kind", ["small", "all"])
async def test_is_usable_without_eyes_or_a_mouse(kind: str, page: Page) -> None:
    await page.set_content(PAGES[kind]())
    await page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    looks: dict[Literal["light", "dark"], dict[str, Any]] = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
    for look, options in looks.items():
        await page.emulate_media(color_scheme=look)
        found = await Axe().run(page, options={"resultTypes": ["violations"], **options})
        assert found.violations_count == 0, f"{look}: {found.generate_report()}"
    levels = await page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5')].map(each => +each.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


async def test_what_can_be_opened_is_reached_by_the_keyboard(page: Page) -> None:
    await page.set_content(PAGES["all"]())
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.getAttribute('href')") == "#plans"
    await page.locator("summary").first.focus()
    await page.keyboard.press("Enter")
    assert await page.locator("details").first.evaluate("each => each.open")
