"""What the Prefect UI shows of readiness; no server is needed."""

from __future__ import annotations

from flows.check import readiness_page
from standby.recovery.readiness.judge import judge_readiness
from standby.replication.verdict import Verdict
from tests.standby.recovery.readiness.facts_at_hand import facts, good


def test_a_page_has_a_row_for_each_target_and_its_reasons() -> None:
    ready, missing = facts(good("invoice")), facts(good("invoice", verdict=Verdict.MISSING, status=None))

    text = readiness_page("p", [judge_readiness(ready), judge_readiness(missing)])

    assert text.startswith("# Readiness of p\n\n| primary | target | state |")
    assert "| east | west | **ready** | east serves. |" in text
    assert "## east → west: not ready\n\n- **missing_analyzer** (error): invoice is not at west. Run standby" in text
    assert text.count("## east → west") == 1
