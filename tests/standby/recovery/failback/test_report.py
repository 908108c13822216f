"""How a failback ended, in the words that terminal, Prefect and JSON readers share."""

from __future__ import annotations

from typing import Any

import pytest

from standby.recovery.failback.report import WORDS, Divergence, DivergenceReport, FailbackReport
from tests.standby.replication.world import START


def report(**changed: Any) -> FailbackReport:
    made = {"plan": "invoices", "run_id": "r", "via": "direct", "epoch": 2, "home": "east", "standby": "west"}
    nothing = dict.fromkeys(("divergence", "sync", "failover", "commit", "forward"))
    return FailbackReport.model_validate({**made, **nothing, "state": "failed_back", "seconds": 0.4, **changed})


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("failed_back", "east serves again, and that is committed (plan invoices, epoch 2), after 0.4 s."),
        ("at_home", "east serves already; there is nothing to fail back (plan invoices, epoch 2)."),
        ("refused", "Not failed back to east: west still serves (plan invoices, epoch 2)."),
        ("incomplete", "Not failed back to east: west still serves (plan invoices, epoch 2)."),
        ("unfinished", "The failback to east has not ended (plan invoices, epoch 2)."),
        ("interrupted", "The failback to east was interrupted (plan invoices, epoch 2)."),
    ],
)
def test_says_how_it_ended_what_went_wrong_and_what_to_do(state: str, said: str) -> None:
    ended = report(state=state, problems=("west is not up to date with a",), next_action="Run again")

    assert ended.ending == said
    assert ended.message == f"{said} west is not up to date with a. Run again."


def test_every_divergence_has_words_that_name_the_resources() -> None:
    found = DivergenceReport(plan="p", primary="east", standby="west", epoch=1, compared_at=START, items=())

    assert set(WORDS) == set(Divergence)
    assert found.what_became(Divergence.EDITED_AT_BOTH) == "edited at east and at west"
    assert found.what_is_kept(Divergence.EDITED_AT_BOTH, None) == "not decided"
    assert found.what_is_kept(Divergence.EDITED_AT_BOTH, "home") == "the version at east is kept"
    assert found.what_is_kept(Divergence.NEW_AT_STANDBY, "home") == "stays at west only"
