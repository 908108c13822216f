"""The global off switch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from standby.recovery.audit import verify_audit
from standby.recovery.decision.automation import (
    AUTOMATION_PATH,
    AutomationNotRecorded,
    AutomationUnreadable,
    read_automation,
    set_automation,
)
from standby.vault.folder import LocalFolder
from tests.standby.recovery.bare import CONFIGURATION, bare_context
from tests.standby.vault.world import HandClock


async def test_is_on_where_nobody_touched_it(tmp_path: Path) -> None:
    automation = await read_automation(LocalFolder(tmp_path))

    assert (automation.on, automation.changed_at) == (True, None)
    assert await LocalFolder(tmp_path).read(AUTOMATION_PATH) is None


async def test_says_who_switched_it_off_and_why(tmp_path: Path) -> None:
    context = bare_context(LocalFolder(tmp_path), HandClock())

    await set_automation([context], on=False, reason="maintenance of east")
    automation = await read_automation(context.vault)

    assert (automation.on, automation.by, automation.reason) == (False, "ada@desk", "maintenance of east")
    assert automation.changed_at == context.clock.now()


async def test_is_noted_in_the_log_of_every_plan(tmp_path: Path) -> None:
    one = bare_context(LocalFolder(tmp_path), HandClock())
    named = CONFIGURATION.plan("p").model_copy(update={"name": "q"})
    other = replace(one, run=replace(one.run, recovery_plan=named))

    await set_automation([one, other], on=False, reason="a test")
    await set_automation([one, other], on=True, reason="")

    for plan in ("p", "q"):
        lines = (await verify_audit(one.vault, plan, None)).lines
        assert [(line.action, line.facts["on"]) for line in lines] == [
            ("automation.switched", False),
            ("automation.switched", True),
        ]


async def test_is_off_even_where_that_cannot_be_noted(tmp_path: Path) -> None:
    context = bare_context(LocalFolder(tmp_path), HandClock())
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/p.jsonl").write_text("this is no log\n")

    with pytest.raises(
        AutomationNotRecorded, match="Automation is off now, but that could not be recorded in the audit log: "
    ) as caught:
        await set_automation([context], on=False, reason="")

    assert "standby audit verify" in caught.value.next_action
    assert not (await read_automation(context.vault)).on


@pytest.mark.parametrize("content", ["", "{", '{"on": "perhaps"}', "[]"])
async def test_assumes_nothing_where_it_cannot_be_read(tmp_path: Path, content: str) -> None:
    vault = LocalFolder(tmp_path)
    await vault.write(AUTOMATION_PATH, content.encode())

    with pytest.raises(AutomationUnreadable, match=r"automation\.json"):
        await read_automation(vault)
