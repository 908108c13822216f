"""What the Prefect UI shows of readiness; no server is needed."""

from __future__ import annotations

from standby.fencing import Assignment, Fence, Phase
from standby.flows.check import readiness_page
from standby.recovery.activation.seen import SinkView
from standby.recovery.readiness.judge import judge_readiness
from standby.replication.verdict import Verdict
from tests.standby.recovery.readiness.facts_at_hand import facts, good


def test_a_page_has_a_row_for_each_target_and_its_reasons() -> None:
    ready, missing = facts(good("invoice")), facts(good("invoice", verdict=Verdict.MISSING, status=None))

    text = readiness_page("p", [judge_readiness(ready), judge_readiness(missing)])

    assert text.startswith("# Readiness of p\n\n| primary | target | state |")
    assert "| east | west | **ready** | east serves. |" in text
    assert "## east → west: not ready\n\n- **missing analyzer** (error): invoice is not at west. Run standby" in text
    assert text.count("## east → west") == 1


def test_a_page_says_what_the_applications_of_each_sink_see() -> None:
    views = [
        SinkView(name="file a.json", required=True, readable=True, epoch=2, serving={"east": None}),
        SinkView(
            name="webhook b", required=False, readable=False, epoch=1, serving={"east": "east"}, problem="HTTP 500"
        ),
    ]
    under_way = Assignment(active="east", phase=Phase.SWITCHING, target="west")
    fence = Fence(plan="p", epoch=2, assignments={"east": under_way})

    text = readiness_page("p", [judge_readiness(facts(good("invoice")))], views, fence)

    assert (
        "## What applications see\n\n"
        "- The failover of east to west has not ended. Applications were told that nobody serves (file a.json); "
        "webhook b, by its last acknowledgement, still names east.\n"
        "- file a.json: nobody serves for east (epoch 2).\n"
        "- webhook b: east serves for east (epoch 1, not required); HTTP 500."
    ) in text
