"""One odd entry in a list of analyzers costs itself only, in every operation, and nothing is called well.

`claim` is odd at one of the resources, and `invoice` has nothing to do with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from standby.recovery.failback.failback import fail_back
from standby.recovery.readiness.assess import assess
from standby.recovery.readiness.document import State
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.recovery.snapshots.take import take_snapshot
from standby.replication.items import Selection, Status
from standby.replication.replicate import survey
from standby.replication.verdict import Verdict
from tests.conftest import SceneMaker
from tests.standby.recovery.stages import DirectStages
from tests.standby.recovery.test_broken_copies import Place, place

SAYS = '"description":"(Reads claim)"'
HAS = '"description":"Reads claim"()'

ODD: dict[str, tuple[str, str]] = {
    "half a surrogate pair": (SAYS, "Reads \\ud800"),
    "20,000 levels": (HAS, f',"deep":{"[" * 20_000}{"]" * 20_000}'),
    "a list as models": (r'"Reads claim".*?"models":(\{[^}]*\})', '["gpt-4.1"]'),
    "null as status": (r'"Reads claim".*?"status":("ready")', "null"),
    "an id that is none": (r'"analyzerId":("claim"),"desc', '"cl aim/\\u001b[31m"'),
    "no object": (r'(\{"analyzerId":"claim","desc.*?\}),\{"analyzerId"', "7"),
}
"""What the service says of `claim`: of which pattern, and what instead of its group.

Whatever else it may say is read in the same place: tests/standby/service/test_models.py and test_listing.py.
"""

NAMES = {"an id that is none": "cl aim/ [31m", "no object": "no id (entry 89)"}

each = pytest.mark.parametrize("odd", ODD)


async def make_odd(found: Place, odd: str, resource: str) -> None:
    pattern, text = ODD[odd]
    fault = {"kind": "rewritten", "pattern": pattern, "text": text}
    rules = [{"resource": resource, "call": call, "times": None, "fault": fault} for call in ("list", "get")]
    await found.scene.control("/faults", rules)


async def is_not_ready(found: Place, name: str) -> None:
    async with found.context() as context:
        readiness = await assess(context, "east", "west")
    assert readiness.state is State.NOT_READY
    assert any(name in reason.analyzers for reason in readiness.reasons), readiness.reasons


@each
async def test_one_at_the_source_is_blocked_by_name_and_its_last_definition_stays_in_the_snapshot(
    odd: str, make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    name = NAMES.get(odd, "claim")
    async with place(make_scene, make_analyzer, tmp_path) as found:
        await found.snapshot()
        await make_odd(found, odd, "east")
        async with found.context() as context:
            checked = {item.analyzer: item for item in (await survey(context.run, Selection())).items}
        report = await found.replicate()
        ends = {item.analyzer: item for item in report.items}
        async with found.context() as context:
            taken = await take_snapshot(context)
            kept = (await open_snapshot(context)).resources["east"].analyzers
        await is_not_ready(found, name)

    assert (checked[name].verdict, checked["invoice"].verdict) == (Verdict.BLOCKED, Verdict.IN_SYNC)
    assert (ends[name].status, ends["invoice"].status) == (Status.BLOCKED, Status.SKIPPED)
    assert not report.complete
    assert ends[name].reason.startswith("It cannot be read at east: ")
    assert any(problem.startswith(f"{name}: It cannot be read at east") for problem in taken.problems)
    if name == "claim":
        assert set(kept) == {"invoice", "claim", "mailroom"}


@each
async def test_one_at_the_target_is_blocked_by_name_and_left_out_of_a_failover(
    odd: str, make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path) as found:
        await make_odd(found, odd, "west")
        ends = {item.analyzer: item for item in (await found.replicate()).items}
        await is_not_ready(found, "claim")
        await found.dark()
        failover = await found.fail_over()

    assert (failover.state, failover.serving) == ("activated", "west")
    assert tuple(failover.missing) == ("claim", "mailroom")
    assert set(found.active.analyzers) == {"invoice"}
    assert not failover.complete
    if odd == "no object":
        assert any("It may be there: this entry" in warning for warning in ends["claim"].warnings)


async def test_one_at_the_primary_is_left_out_of_a_planned_failover_that_may_and_of_the_failback(
    make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path) as found:
        await found.snapshot()
        await make_odd(found, "half a surrogate pair", "east")
        found.allow("serve_rest")
        failover = await found.fail_over(planned=True)
        async with found.context() as context:
            back = await fail_back(context, "east", DirectStages())

    assert (failover.state, failover.serving) == ("activated", "west")
    assert "claim" in failover.missing
    assert "invoice" not in failover.missing
    assert not failover.complete
    assert (back.state, back.complete) == ("failed_back", False), back.problems
    assert "claim" in str(back)


@pytest.mark.parametrize("defaults", ["null", '{"modelDeployments":7}'])
async def test_defaults_that_cannot_be_read_cost_no_analyzer_at_a_source_and_block_copies_at_a_target(
    defaults: str, make_scene: SceneMaker, make_analyzer: Any, tmp_path: Path
) -> None:
    async with place(make_scene, make_analyzer, tmp_path) as found:
        await found.snapshot()
        fault = {"kind": "rewritten", "pattern": "(?s)(.*)", "text": defaults}
        rule = {"call": "get_defaults", "times": None, "fault": fault}
        await found.scene.control("/faults", [{"resource": "east", **rule}])
        async with found.context() as context:
            kept = await survey(context.run, Selection())
            taken = await take_snapshot(context)
            snapshot = (await open_snapshot(context)).resources["east"]
        report = await found.replicate()
        await found.scene.control("/faults", [{"resource": "west", **rule}])
        async with found.context() as context:
            blocked = await survey(context.run, Selection(force=("invoice",)))
            readiness = await assess(context, "east", "west")

    assert {item.verdict for item in kept.items} == {Verdict.IN_SYNC}
    assert report.complete
    assert [problem.partition(":")[0] for problem in taken.problems] == ["The snapshot lacks the defaults of east"]
    assert (set(snapshot.analyzers), snapshot.defaults) == ({"invoice", "claim", "mailroom"}, None)
    warned = {item.analyzer: (*item.warnings, item.reason) for item in blocked.items}
    assert all(any("at west: An answer of west lacks " in text for text in each) for each in warned.values())
    assert readiness.state is State.NOT_READY
