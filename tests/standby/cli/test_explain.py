"""`standby explain`: a decision replayed from the vault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from standby.config.configuration import load_configuration
from standby.recovery.context import open_recovery
from standby.recovery.decision.guards import decide
from standby.recovery.decision.input import Outcome
from standby.recovery.decision.record import record_decision
from tests.standby.recovery.decision.cases import an_input, candidate

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace


def recorded(workspace: Workspace, outcome: Outcome | None = None, **given: Any) -> str:
    """Record a decision, as a run at this machine does; with another outcome, as by other rules."""

    async def record() -> str:
        configuration = load_configuration(workspace.file, workspace.environment)
        async with open_recovery(configuration, "invoices", actor="ada@desk", run_id="run-1") as context:
            made = an_input(**given)
            decision = decide(made)
            if outcome is not None:
                decision = decision.model_copy(update={"outcome": outcome})
            return (await record_decision(context, made, decision)).id

    return asyncio.run(record())


def test_shows_what_was_seen_and_what_each_guard_said(workspace: Workspace, cloud: Cloud) -> None:
    decision_id = recorded(workspace)

    ran = workspace.run("explain", decision_id)

    assert ran.status == 0
    assert ran.out.startswith(f"Decision {decision_id}: fail over from east to west.\n")
    assert "a probe every 30s, quorum 3, minimum outage 45s, cool-down 1h, staleness 1w." in ran.out
    assert "  Candidate west: healthy, ready, 1 copy.\n" in ran.out
    assert "03:13:01 (61 s before) watch@desk unhealthy: listing: HTTP 503 (Busy) (0.5 s)" in ran.out
    assert "    ok minimum-outage   unhealthy for 60 s from the first observation to the latest," in ran.out
    assert ran.out.endswith(
        "ok Replayed now: it leads to the same decision.\nok The record is unchanged: the audit log has its digest.\n"
    )
    assert cloud.calls() == set()


def test_shows_why_nothing_was_done(workspace: Workspace) -> None:
    blocked = (candidate(state="not_ready", reasons=("invoice is missing at west.",)),)

    ran = workspace.run("explain", recorded(workspace, candidates=blocked))

    assert ran.status == 0
    assert ": refuse; nothing was done.\n" in ran.out
    assert "    NO readiness        west is not ready: invoice is missing at west.\n" in ran.out


def test_names_a_record_that_was_changed(workspace: Workspace) -> None:
    decision_id = recorded(workspace)
    file = workspace.folder / f"vault/decisions/{decision_id}.json"
    file.write_text(file.read_text().replace('"quorum": 3', '"quorum": 9'))

    ran = workspace.run("explain", decision_id, "-q")

    assert ran.status == 1
    assert f"{decision_id}.json was changed after it was written" in ran.out
    assert "Replayed now, it leads to another decision: wait; nothing was done." in ran.out


def test_says_where_the_rules_are_others_now(workspace: Workspace) -> None:
    ran = workspace.run("explain", recorded(workspace, Outcome.WAIT))

    assert ran.status == 2
    assert "Replayed now, it leads to another decision: fail over" in ran.out


def test_gives_everything_as_json(workspace: Workspace) -> None:
    decision_id = recorded(workspace)

    document = workspace.run("--json", "explain", decision_id).document

    assert (document["same"], document["problems"]) == (True, [])
    assert document["record"]["decision"]["outcome"] == "act"
    assert document["again"] == document["record"]["decision"]
    assert len(document["record"]["case"]["observations"]) == 4


def test_knows_no_decision_that_was_never_made(workspace: Workspace) -> None:
    ran = workspace.run("explain", "invoices-20260102T030405Z-1a2b")

    assert ran.status == 1
    assert "No decision invoices-20260102T030405Z-1a2b is recorded" in ran.err


def test_takes_no_path_for_an_id(workspace: Workspace) -> None:
    assert workspace.run("explain", "../../standby").status == 1
