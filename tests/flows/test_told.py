"""What lessens the protection, as each flow finds it, and what becomes of it where the vault cannot keep it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from standby.flows import events
from standby.flows.check import old_snapshot, protection
from standby.flows.events import PlanEvent, tell_concerns, told_if_failing
from standby.flows.outage import lagging
from standby.flows.replicate import left_behind
from standby.recovery.activation.sinks import SinkResult
from standby.recovery.concerns import Concern, Concerns, Kind, Look, Severity
from standby.recovery.proof.records import Verdict as ByDocument
from standby.recovery.readiness.document import Readiness, Retirement
from standby.recovery.readiness.judge import judge_readiness
from standby.replication.items import Selection, Status
from standby.replication.report import Ended, ObjectivesReport, Report, ReportItem
from standby.replication.verdict import Action, Verdict
from standby.service.errors import Unreachable
from standby.vault.errors import Held, VaultUnavailable
from standby.vault.folder import LocalFolder
from standby.vault.storage import Storage
from tests.standby.recovery.readiness.facts_at_hand import DAY, NOW, a_plan, facts, good
from tests.standby.recovery.readiness.test_by_document import a_proof

REPLICATION = Concern(
    kind=Kind.REPLICATION, about="west", severity="warning", summary="It failed", next_action="Run it again"
)
FAILING = Look(frozenset({Kind.REPLICATION}), (REPLICATION,))
WELL = Look(frozenset({Kind.REPLICATION}))


class Told(list[tuple[Severity, str]]):
    """What was emitted, and is read back from Prefect."""

    last: tuple[Concerns, bool] = (Concerns(), True)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    made = Told()

    def emit(event: PlanEvent, summary: str) -> None:
        assert event.name == "standby.protection.changed"
        made.append((event.severity, summary))
        made.last = Concerns.model_validate(event.facts["known"]), bool(event.facts["kept"])

    async def last_told(_: str) -> tuple[Concerns, bool]:
        return made.last

    monkeypatch.setattr(PlanEvent, "emit", emit)
    monkeypatch.setattr(events, "_last_told", last_told)
    return made


class NoVault(AbstractAsyncContextManager[Storage]):
    async def __aenter__(self) -> Storage:
        raise VaultUnavailable("az://vault", "read", "it is away")

    async def __aexit__(self, *_: object) -> None:
        """Close nothing."""


async def test_one_event_for_each_change_and_none_for_a_look_without(told: Told, tmp_path: Path) -> None:
    vault = LocalFolder(tmp_path)
    for look in (WELL, FAILING, FAILING, WELL, WELL):
        await tell_concerns(nullcontext(vault), "p", look)
    assert told == [("warning", "It failed. Run it again."), ("info", "Resolved: It failed.")]


async def test_a_vault_that_cannot_be_used_is_told_once_silences_nothing_and_its_end_is_told(
    told: Told, tmp_path: Path
) -> None:
    vault = LocalFolder(tmp_path)
    places: Sequence[tuple[AbstractAsyncContextManager[Any], Look]] = (
        (NoVault(), WELL),
        (NoVault(), WELL),
        (NoVault(), FAILING),
        (nullcontext(vault), FAILING),
        (nullcontext(vault), FAILING),
    )
    for place, look in places:
        await tell_concerns(place, "p", look)
    assert [severity for severity, _ in told] == ["critical", "warning", "info"]
    assert "The vault of plan p cannot be used, so no failover can begin" in told[0][1]
    assert told[1][1] == "It failed. Run it again."
    assert told[2][1].startswith("Resolved: The vault of plan p")
    assert [each.concern for each in (await Concerns.read(vault, "p")).open] == [REPLICATION]


async def test_nothing_waits_to_last_where_the_vault_cannot_keep_since_when_it_is_so(told: Told) -> None:
    blip = Look(frozenset({Kind.REPLICATION}), (REPLICATION.model_copy(update={"lasting": timedelta(minutes=1)}),))
    for _ in range(2):
        await tell_concerns(NoVault(), "p", blip)
    ((severity, summary),) = told
    assert severity == "critical"
    assert "It failed" in summary


async def test_whatever_goes_wrong_with_telling_costs_only_itself(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(events, "_tell", fail)
    await tell_concerns(NoVault(), "p", FAILING)
    assert told == []


@pytest.mark.parametrize(
    ("error", "is_told"), [(VaultUnavailable("v", "read", "it is away"), True), (Held("v"), False)]
)
async def test_a_run_that_fails_is_told_unless_another_one_is_at_work(
    told: Told, tmp_path: Path, error: Exception, is_told: bool
) -> None:
    class Context:
        plan = a_plan()
        vault = LocalFolder(tmp_path)

    with pytest.raises(type(error)):
        async with told_if_failing(Context(), Kind.SNAPSHOT, "snapshot"):  # type: ignore[arg-type]
            raise error
    assert ["The last snapshot of plan p failed" in summary for _, summary in told] == [True] * is_told


def names(look: Look) -> dict[tuple[Kind, str], Severity]:
    return {each.subject: each.severity for each in look.found}


def judged(*standings: Any, target: str = "west", **more: Any) -> Readiness:
    return judge_readiness(facts(*standings, target=target, **more))


def test_a_target_that_is_not_ready_is_critical_unless_another_one_is() -> None:
    lost = judged(good(verdict=Verdict.MISSING, status=None))
    alone = protection([lost], a_plan())
    assert names(alone) == {(Kind.READINESS, "west"): "critical"}
    assert alone.found[0].summary.startswith("west could not take over: invoice is not at west")
    assert names(protection([lost, judged(target="north")], a_plan())) == {(Kind.READINESS, "west"): "warning"}
    assert protection([judged()], a_plan()).found == ()


def test_many_analyzers_are_one_concern() -> None:
    missing = [good(f"a{n}", verdict=Verdict.MISSING, status=None) for n in range(400)]
    (found,) = protection([judged(*missing)], a_plan()).found
    assert len(found.words) < 500


@pytest.mark.parametrize(("policy", "kinds"), [("refuse", [Kind.DRIFT]), ("replace", [Kind.READINESS])])
def test_what_is_foreign_is_drift_only_where_the_policy_leaves_it_alone(policy: str, kinds: list[Kind]) -> None:
    plan = a_plan(on_existing=policy)
    found = protection([judged(good(verdict=Verdict.FOREIGN), plan=plan)], plan).found
    assert [each.kind for each in found] == kinds


def test_what_was_edited_at_a_target_no_policy_resolves() -> None:
    plan = a_plan(on_existing="replace")
    assert [it.kind for it in protection([judged(good(verdict=Verdict.TARGET_AHEAD), plan=plan)], plan).found] == [
        Kind.DRIFT
    ]


def test_a_missed_recovery_point_and_a_model_that_ends_are_told_for_themselves() -> None:
    plan = a_plan(objectives={"rpo": "1h"})
    old = good(verdict=Verdict.SOURCE_AHEAD, source_changed=True, verified_at=NOW - DAY)
    ending = [
        Retirement(
            resource="west", deployment="gpt", model="gpt-4.1", version="1", retires_at=NOW + n * DAY, analyzers=("a",)
        )
        for n in (30, 90)
    ]
    look = protection([judged(old, plan=plan, retirements=tuple(ending))], plan)
    assert names(look) == {(Kind.RPO, "west"): "critical", (Kind.MODELS, "west"): "warning"}
    (models,) = (each for each in look.found if each.kind is Kind.MODELS)
    assert models.summary.count("gpt-4.1") == 1, "sixty days before, and not ninety"


def test_a_copy_that_answers_differently_is_told_and_nothing_else_than_a_proof_ends_that() -> None:
    plan = a_plan(objectives={"proof": "30d"})

    def look(verdict: ByDocument | None, days: int = 1) -> Look:
        proofs = {"invoice": a_proof(verdict=verdict, compared_at=NOW - days * DAY)} if verdict else {}
        return protection([judged(plan=plan, proofs=proofs, sampled=frozenset({"invoice"}))], plan)

    west = (Kind.PROOF, "west")
    assert names(look(ByDocument.DIFFERS)) == names(look(ByDocument.AGREES, days=31)) == {west: "warning"}
    agrees = look(ByDocument.AGREES)
    assert (agrees.found, agrees.settles(west)) == ((), True)
    for silent in (look(ByDocument.NO_VERDICT), look(ByDocument.TOO_FEW), look(None)):
        assert (silent.found, silent.settles(west)) == ((), False)
    # That a run of the comparison failed, only the next one settles.
    assert not agrees.settles((Kind.PROOF, ""))


def test_what_could_not_be_looked_at_is_neither_well_nor_wrong() -> None:
    away = Unreachable("west does not respond")
    look = protection([judged(target_failure=away)], a_plan())
    assert look.found == ()
    assert not any(look.settles((kind, "west")) for kind in (Kind.READINESS, Kind.RPO, Kind.DRIFT, Kind.MODELS))


def test_a_snapshot_is_told_once_it_is_older_than_the_plan_allows() -> None:
    plan = a_plan(snapshots={"max_age": "7h"})
    assert old_snapshot(plan, timedelta(hours=6)).found == ()
    (old,) = old_snapshot(plan, timedelta(hours=8)).found
    assert old.summary == "Plan p took its last snapshot 8h ago, and its policy allows 7h."
    (none,) = old_snapshot(plan, None).found
    assert "has no snapshot" in none.summary


def ended(*items: tuple[str, str, Status, str], unseen: dict[str, str] | None = None) -> Ended:
    made = tuple(
        ReportItem(
            source="east",
            target=target,
            analyzer=name,
            target_analyzer=name,
            verdict=Verdict.MISSING,
            action=Action.COPY,
            status=status,
            reason=reason,
            seconds=1.0,
            attempts=1,
            operation_id="",
            warnings=(),
        )
        for target, name, status, reason in items
    )
    none = ObjectivesReport(rpo_seconds=None, missed=())
    return Ended(
        Report(
            plan="p",
            run_id="r",
            via="prefect",
            seconds=1.0,
            totals={},
            objectives=none,
            items=made,
            unseen=unseen or {},
        )
    )


def test_a_replication_that_fails_is_one_concern_for_each_target_with_the_cause() -> None:
    report = ended(
        ("west", "child", Status.FAILED, "west refused it."),
        ("west", "parent", Status.BLOCKED, "child failed."),
        ("north", "child", Status.SUCCEEDED, ""),
        ("north", "other", Status.REFUSED, "It was edited there."),
    )
    look = left_behind(report, Selection(), a_plan())
    (west,) = look.found
    assert west.summary == "2 analyzers of plan p (child and parent) could not be copied to west: west refused it."
    assert look.settles((Kind.REPLICATION, "north"))
    assert look.settles((Kind.REPLICATION, ""))


def test_a_source_that_could_not_be_looked_at_is_a_concern_for_every_target() -> None:
    look = left_behind(ended(unseen={"east": "HTTP 401"}), Selection(), a_plan())
    assert set(names(look)) == {(Kind.REPLICATION, "west"), (Kind.REPLICATION, "north")}
    assert "east could not be read" in look.found[0].summary


def test_a_run_of_a_part_begins_a_concern_and_ends_none() -> None:
    for selection in (Selection(analyzers=("a*",)), Selection(targets=("west",))):
        look = left_behind(ended(("west", "a", Status.FAILED, "no.")), selection, a_plan())
        assert set(names(look)) == {(Kind.REPLICATION, "west")}
        assert not look.settles((Kind.REPLICATION, "north"))
        assert not look.settles((Kind.REPLICATION, ""))
    stopped = Ended(ended(("west", "a", Status.FAILED, "no.")).report, interrupted=True)
    assert left_behind(stopped, Selection(), a_plan()) == Look()


@pytest.mark.parametrize(("required", "severity"), [(True, "critical"), (False, "warning")])
def test_a_sink_that_lags_is_as_severe_as_the_plan_needs_it(required: bool, severity: str) -> None:
    left = SinkResult(name="file a", status="failed", told="", reason="It is read-only.", required=required)
    (found,) = lagging([left], a_plan()).found
    assert (found.about, found.severity) == ("file a", severity)
    assert "It is read-only. Correct that" in found.words


@pytest.mark.parametrize("kind", list(Kind))
def test_the_page_says_of_each_kind_when_it_is_told_and_what_to_do(kind: Kind) -> None:
    page = Path(__file__).parents[2] / "docs/reference/notifications.md"
    assert f"\n| `{kind}` | " in page.read_text(encoding="utf-8")
