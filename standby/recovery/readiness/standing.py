"""The state of analyzers where they would be needed: by what both resources hold, or by records."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from standby.config.globs import PLACE_OF_ID
from standby.config.plan import RecoveryPlan
from standby.config.resource import PREVIEW_2025
from standby.recovery.readiness.document import ModelFact, Retirement, Standing
from standby.recovery.runs import AnalyzerRun, PairRun
from standby.recovery.snapshots.id_mapping import LONG_AGO, trace
from standby.replication.fingerprint import fingerprint, same_meaning
from standby.replication.inventory import Inventory, is_protected
from standby.replication.items import PlanItem, Records
from standby.replication.needs import Finding, Serving, Severity, check_models, references
from standby.replication.report import RecoveryPoint
from standby.replication.verdict import (
    HOLDS_NOTHING,
    Action,
    CopyRecord,
    Sighting,
    Verdict,
    expected_definition,
    judge,
    sight,
    status_of,
)
from standby.service.models import UNREADABLE, CatalogModel


@dataclass(frozen=True)
class InSnapshot:
    seen_at: datetime  # when the source held it, UTC
    fingerprints: Mapping[str, str]


NO_SNAPSHOT = InSnapshot(LONG_AGO, {})  # Nothing is known from a snapshot


def surveyed(item: PlanItem, point: RecoveryPoint, last_run: AnalyzerRun | None, now: datetime) -> Standing:
    """Give the state of an analyzer from what a replication would do about it."""
    # A plan calls blocked what it cannot copy; whether what is there can serve is another question. Of what cannot be
    # read at the source nobody can say how what is there differs.
    is_known = item.verdict is Verdict.BLOCKED and item.expected.status != UNREADABLE
    verdict = judge(item.expected, item.found, item.last) if is_known else item.verdict
    if _has_the_original(item):
        verdict = Verdict.IN_SYNC
    moments = (point.verified_at, last_run.at if last_run and not last_run.behind and item.last else None)
    return Standing(
        analyzer=item.analyzer,
        target_analyzer=item.target_analyzer,
        verdict=verdict,
        status=item.found.status if item.found else None,
        verified_at=now if verdict is Verdict.IN_SYNC else _latest(*moments),
        source_changed=point.source_changed,
        explanation=item.reason,
        blocked=item.verdict is Verdict.BLOCKED and item.action is Action.REFUSE,
    )


def _has_the_original(item: PlanItem) -> bool:
    """Say whether the target has, as it was trained, what the source has only as it was rebuilt."""
    there, expected = item.found, item.expected
    if there is None or not there.has_training or not expected.rebuilt or there.status != "ready":
        return False
    return same_meaning(there.fingerprint, expected.fingerprint)


@dataclass(frozen=True)
class Recorded:
    """What is known of a pair without asking its source."""

    plan: RecoveryPlan
    now: datetime
    records: Records
    last_run: PairRun
    snapshot: InSnapshot

    def standings_at(self, target: Inventory) -> tuple[Standing, ...]:
        """Give the state of a source's analyzers at a target, where the source does not answer."""
        return tuple(self._standing(target, name, there) for name, there in sorted(self.names_at(target).items()))

    def failback_standings(self, primary: Inventory, active: Inventory | None) -> tuple[Standing, ...]:
        """Give the state of a primary's analyzers at itself, while another resource serves, or does not answer."""
        names = {name: name for name, found in primary.analyzers.items() if is_protected(self.plan, found, self.now)}
        if active is not None:
            names |= self.names_at(active)
        else:
            names |= {name: last_run.target_analyzer for name, last_run in self.last_run.analyzers.items()}
        return tuple(self._at_primary(primary, active, name, there) for name, there in sorted(names.items()))

    def gone_from(self, active: Inventory) -> tuple[str, ...]:
        """Name what a resource had that serves, and has no more, by id at the primary."""
        # A copy, a restore or a snapshot saw it there, and no later run or snapshot saw that it was removed.
        there = {name for name, each in active.analyzers.items() if each.status not in {"deleting"} | HOLDS_NOTHING}
        return tuple(sorted(name for name, at_active in self.names_at(active).items() if at_active not in there))

    def names_at(self, target: Inventory) -> dict[str, str]:
        """Give the id at the target by id at the primary: by the last runs, then the ledger, then a snapshot."""
        # The last run or snapshot of the whole plan says which analyzers there were then. Of other records only newer
        # ones count, because analyzers that were deleted at the primary stay in old records.
        whole = max(self.last_run.listed_at or LONG_AGO, self.snapshot.seen_at)
        traced = trace(self.plan, None, target, self.records, self.now).primary_ids
        names: dict[str, str] = {}
        if self.snapshot.seen_at == whole:
            for name in self.snapshot.fingerprints:
                renamed = self.plan.target_id.replace(PLACE_OF_ID, name)
                # What others refer to keeps its id.
                is_kept = renamed not in target.analyzers and name in target.analyzers
                names[name] = name if is_kept else renamed
        for there, record in sorted(self.records.items(), key=lambda entry: entry[1].copied_at):
            primary = record.analyzer or traced.get(there, there)
            if primary in names or record.copied_at > whole:
                names[primary] = there
        for primary, each in self.last_run.analyzers.items():
            if primary in names or each.at >= whole:
                names[primary] = each.target_analyzer
        return names

    def _standing(self, target: Inventory, name: str, there: str) -> Standing:
        analyzer, plan, snapshot = target.analyzers.get(there), self.plan, self.snapshot
        status = status_of(analyzer, self.now, plan.deadlines.poll) if analyzer else None
        if analyzer is None or status in {"deleting", "creating"} | HOLDS_NOTHING:
            kind = Verdict.CREATING if status == "creating" else Verdict.MISSING
            return Standing(analyzer=name, target_analyzer=there, verdict=kind, status=status, source_changed=True)
        found = sight(analyzer, target.definitions[there], plan.ignore)
        record, last_run = self.records.get(there), self.last_run.analyzers.get(name)
        if record is not None and record.target.created_at != found.created_at:
            record = None  # It is about an analyzer that was deleted since.
        expected = snapshot.fingerprints.get(name)
        verdict = _verdict_of(found, record, expected)
        is_behind = last_run is not None and last_run.behind and (record is None or record.copied_at <= last_run.at)
        as_copied = expected is not None and (record is None or same_meaning(record.source.fingerprint, expected))
        # A snapshot that was taken after the last copy may have something else than was copied.
        is_later = expected is not None and record is not None and snapshot.seen_at > record.copied_at
        # When source and target were known to be equal.
        moments = (
            record.copied_at if record else None,
            last_run.at if record and last_run and not last_run.behind else None,
            snapshot.seen_at if as_copied else None,
        )
        return Standing(
            analyzer=name,
            target_analyzer=there,
            verdict=verdict,
            status=found.status,
            verified_at=_latest(*moments) if verdict is Verdict.IN_SYNC else None,
            source_changed=True if is_behind or (is_later and not as_copied) else None,
        )

    def _at_primary(self, primary: Inventory, active: Inventory | None, name: str, there: str) -> Standing:
        analyzer, plan = primary.analyzers.get(name), self.plan
        serving = active.definitions.get(there) if active else None
        equal: bool | None = None
        if analyzer is not None and active is not None and serving is not None:
            resource = active.serving.resource
            overrides = plan.overrides(resource.name)
            expected = expected_definition(primary.definitions[name], resource, overrides, serving)
            equal = same_meaning(fingerprint(expected, plan.ignore), fingerprint(serving, plan.ignore))
        verdicts = {True: Verdict.IN_SYNC, False: Verdict.SOURCE_AHEAD, None: Verdict.IN_SYNC}
        return Standing(
            analyzer=name,
            target_analyzer=there,
            verdict=verdicts[equal] if analyzer is not None else Verdict.MISSING,
            status=status_of(analyzer, self.now, plan.deadlines.poll) if analyzer is not None else None,
            verified_at=self.now if equal else None,
            source_changed=None if equal is None else not equal,
        )


def _verdict_of(found: Sighting, record: CopyRecord | None, expected: str | None) -> Verdict | None:
    if expected is not None and same_meaning(found.fingerprint, expected):
        return Verdict.IN_SYNC
    if record is not None:
        is_as_copied = same_meaning(found.fingerprint, record.target.fingerprint)
        return Verdict.IN_SYNC if is_as_copied else Verdict.TARGET_AHEAD
    return None if expected is None else Verdict.FOREIGN


def with_children(standings: Iterable[Standing], names: Mapping[str, str], there: Inventory) -> Iterator[Standing]:
    """Add what analyzers refer to where they would be needed, and what of that is not ready, or needs what is not."""
    needed = {name: references(definition) for name, definition in there.definitions.items()}
    usable = {name for name, analyzer in there.analyzers.items() if analyzer.status == "ready"}
    while lost := {name for name in usable if not needed[name] <= usable}:
        usable -= lost
    for each in standings:
        children = needed.get(names[each.analyzer], frozenset())
        unusable = tuple(sorted(children - usable))
        yield replace(each, children=tuple(sorted(children)), unusable_children=unusable)


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


Needed = Mapping[str, tuple[tuple[str, str], ...]]
"""Role and name of every model, by the id at the primary of the analyzer that needs it."""


def model_facts(plan: RecoveryPlan, needed: Needed, source: Serving, there: Serving) -> tuple[ModelFact, ...]:
    """Follow every model to a deployment; give each finding once with all analyzers that it is about."""
    same: dict[Finding, dict[str, None]] = {}
    for analyzer, models in sorted(needed.items()):
        for finding in check_models(models, source, there, plan.overrides(there.resource.name)):
            # Where no management plane is configured, that it was not asked is not a finding.
            if finding.severity is not Severity.UNKNOWN or there.resource.arm_endpoint:
                # What is unknown is said of every model in the same words.
                of_all = replace(finding, role="", model="", deployment=None)
                same.setdefault(of_all if finding.severity is Severity.UNKNOWN else finding, {})[analyzer] = None
    ignored = plan.missing_defaults == "ignore"
    return tuple(ModelFact(each, tuple(names), forgiven=each.missing and ignored) for each, names in same.items())


def retirements(
    plan: RecoveryPlan, needed: Needed, there: Serving, models: Iterable[CatalogModel]
) -> tuple[Retirement, ...]:
    """Give when the models end that analyzers use, as far as Azure says it."""
    ends = {(model.name, model.version): model.retires_at for model in models}
    users: dict[str, list[str]] = {}
    for analyzer, roles in sorted(needed.items()):
        for called in sorted({_deployment(plan, there, role, name) for role, name in roles} - {""}):
            users.setdefault(called, []).append(analyzer)
    found: list[Retirement] = []
    for name, analyzers in users.items():
        deployment = (there.deployments or {}).get(name)
        retires_at = ends.get((deployment.model, deployment.version)) if deployment else None
        if deployment is not None and retires_at is not None:
            found.append(
                Retirement(
                    resource=there.resource.name,
                    deployment=name,
                    model=deployment.model,
                    version=deployment.version,
                    retires_at=retires_at,
                    analyzers=tuple(analyzers),
                )
            )
    return tuple(found)


def _deployment(plan: RecoveryPlan, there: Serving, role: str, name: str) -> str:
    if there.resource.api_version == PREVIEW_2025:
        return plan.overrides(there.resource.name).of(role) or name
    return (there.defaults or {}).get(name, "")
