"""The automations that notify people through Prefect's notification blocks: of failovers, and of what they rely on.

None of them starts a failover. When the watch is silent, people are notified and nothing else happens: it may be
the watch that is down, or the Prefect server's own network. Where no block is configured, that is still an event of
Prefect (`prefect.automation.triggered`), and `standby doctor` says that the watch is silent.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any, Literal
from uuid import UUID

import yaml
from prefect import get_client
from prefect.blocks import notifications as _types  # noqa: F401 - blocks of these types can then be loaded
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import DoNothing, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.exceptions import ObjectNotFound

from standby.config.configuration import Configuration
from standby.config.plan import RecoveryPlan
from standby.flows import bootstrap, errors, events, health
from standby.orchestrator import Health
from standby.recovery.failover.attendance import TOLD_EVERY

FILE = Path(__file__).with_suffix(".yaml")
PREFIX = "standby tells"  # What the names of these automations begin with
PAGE = 100
COMPARED = ("description", "trigger", "actions")  # What of an automation is ours; the server and people add to the rest


async def wanted_automations(configuration: Configuration) -> list[AutomationCore]:
    """Give the automations that notify by these blocks (or `NotificationBlockUnusable`), and that notice silence."""
    async with get_client() as client:
        blocks = {name: await _block(client, name) for name in configuration.notifications}
    made = [made for name, block in blocks.items() for made in _of_block(name, block)]
    plans = configuration.plans.values()
    return [*made, *(each for plan in plans for each in _of_silence(plan, list(blocks.values())))]


async def save_automations(wanted: list[AutomationCore], changes: list[str] | None = None) -> list[str]:
    """Create, change and remove what tells people; give a line for each change, in `changes` as soon as it is made.

    One that was disabled by hand stays disabled.
    """
    changes = [] if changes is None else changes
    async with get_client() as client:
        found = {automation.name: automation async for automation in read_automations(client)}
        for automation in wanted:
            there = found.pop(automation.name, None)
            if there is None:
                await client.create_automation(automation)
                changes.append(f"automation {automation.name} created")
            elif any(getattr(there, field) != getattr(automation, field) for field in COMPARED):
                # Whole: Prefect's client leaves out what was never set, without which the server refuses a trigger.
                kept = there.model_dump(mode="json", include={"name", "enabled", "tags"})
                kept |= automation.model_dump(mode="json", include={*COMPARED})
                await client.update_automation(there.id, AutomationCore.model_validate(kept))
                changes.append(f"automation {automation.name} changed")
        for name, left in found.items():
            await client.delete_automation(left.id)
            changes.append(f"automation {name} removed")
    return changes


def _described(of: Literal["block", "plan"], blocks: Collection[UUID], **values: object) -> Iterator[AutomationCore]:
    """Give what the file describes for a block or a plan; it notifies by some blocks."""
    described = yaml.safe_load(FILE.read_text(encoding="utf-8"))[of]
    for each in events.every_text(described, lambda text: Template(text).substitute(values)):
        words = {part: each.pop(part) for part in ("subject", "body")}
        notify = [SendNotification(block_document_id=block, **words) for block in blocks]
        # An automation has to do something; that it was triggered is an event of its own.
        yield AutomationCore(**each, actions=[*notify] or [DoNothing()])


def _of_block(name: str, block: UUID) -> Iterator[AutomationCore]:
    return _described("block", [block], block=name, outage=bootstrap.OUTAGE)


def _of_silence(plan: RecoveryPlan, blocks: Collection[UUID]) -> Iterator[AutomationCore]:
    """Notice that the watch of a plan no longer reports; each plan has a period of its own."""
    seconds = health.SILENCE * bootstrap.probe_period(plan)
    again, rounded = max(seconds, TOLD_EVERY.total_seconds()), f"{seconds:.0f}"
    of = {"plan": plan.name, "pool": bootstrap.RECOVERY_POOL, "seconds": rounded, "silence": seconds, "again": again}
    return _described("plan", blocks, **of)


TEST_SECONDS = 20.0  # How long a block may take to send one message
TEST = (
    "Test of Standby's notifications",
    "Standby can reach you here. Nothing is wrong; you do not need to act. Sent by standby doctor --notify.",
)


async def send_tests(references: Sequence[str]) -> dict[str, Health]:
    """Send a test message by each block; say of each whether it took it, and whether the server notifies by it."""
    async with get_client() as client:
        saved = {each.name async for each in read_automations(client) if each.enabled}
        sent = await asyncio.gather(*(_send_test(client, name, saved) for name in references), return_exceptions=True)
    return {name: _result(name, each) for name, each in zip(references, sent, strict=True)}


async def _send_test(client: PrefectClient, reference: str, saved: Collection[str]) -> Health:
    made = _of_block(reference, await _block(client, reference))
    async with asyncio.timeout(TEST_SECONDS):
        block: Any = await Block.aload(reference)
        with block.raise_on_failure():
            await block.notify(TEST[1], TEST[0])
    if {each.name for each in made} <= set(saved):
        return Health(True, "it took the test message; check that it arrived")
    detail = "it took the test message, but not every automation that notifies by it is on the server and enabled"
    action = "Run standby bootstrap, and enable what was disabled under Automations in the Prefect UI"
    return Health(False, detail, action)


def _result(reference: str, sent: Health | BaseException) -> Health:
    if isinstance(sent, Health):
        return sent
    if isinstance(sent, errors.NotificationBlockUnusable):
        return Health(False, sent.cause, sent.next_action)
    # Not in its own words: they may hold the URL, which is often a secret.
    status = getattr(getattr(sent, "response", None), "status_code", None)
    what = f"HTTP {status}" if status else type(sent).__name__
    return Health(False, f"it did not take the test message ({what})", f"Correct block {reference} in the Prefect UI")


async def _block(client: PrefectClient, reference: str) -> UUID:
    slug, name = reference.split("/", 1)
    try:
        document = await client.read_block_document_by_name(name, slug, include_secrets=False)
    except ObjectNotFound:
        raise errors.NotificationBlockUnusable(reference, "is not on the Prefect server") from None
    schema = document.block_schema
    if schema is None or "notify" not in schema.capabilities:
        raise errors.NotificationBlockUnusable(reference, "is not a notification block")
    return document.id


async def read_automations(client: PrefectClient, beginning: str | None = None) -> AsyncIterator[Automation]:
    """Read the automations whose name begins with these words; else those that notify people, and that end runs."""
    wanted = (f"{beginning or PREFIX} ", *([] if beginning else [health.STOPPED]))
    offset = 0
    while page := await client.read_automations(limit=PAGE, offset=offset):
        for automation in page:
            if automation.name.startswith(wanted):
                yield automation
        offset += len(page)
