"""All resources of one emulator: what each holds, and how it changes as time goes by."""

import heapq
import random
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from standby.document import JsonObject, JsonValue
from standby.emulator import answers, definitions, faults
from standby.emulator.config import EmulatorConfig, OutageKind, ResourceConfig, Settings, SettingsChange
from standby.emulator.tokens import TIME, TokenGrant, TokenIssuer

WINDOW = 60.0  # Seconds of the sliding minute


class SlidingMinute:
    """How many calls there were within the last 60 seconds."""

    def __init__(self) -> None:
        self._moments: deque[float] = deque()

    def count(self, now: float) -> int:
        while self._moments and self._moments[0] <= now - WINDOW:
            self._moments.popleft()
        return len(self._moments)

    def add(self, now: float) -> int:
        """Add a call, and give the calls of the minute that ends with it."""
        self._moments.append(now)
        return self.count(now)

    def seconds_until_room(self, now: float) -> float:
        return self._moments[0] + WINDOW - now if self._moments else 0.0


@dataclass
class Stats:
    """Counters of one resource, as `/stats` shows them; operations in any 60 s count refused ones too."""

    calls: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    copies_in_flight: int = 0
    max_copies_in_flight: int = 0
    most_operations_in_a_minute: int = 0
    copies_accepted: Counter[str] = field(default_factory=Counter)
    copies_finished: int = 0
    copy_seconds: list[float] = field(default_factory=list)  # what each takes, in the order in which they began
    bytes: int = 0
    analyses: Counter[str] = field(default_factory=Counter)
    analyses_in_flight: int = 0
    max_analyses_in_flight: int = 0
    results: int = 0  # of analyses that are there
    _minute: SlidingMinute = field(default_factory=SlidingMinute)

    def called(self, kind: str, *, data_plane: bool, now: float) -> None:
        self.calls[kind] += 1
        if data_plane:
            self.most_operations_in_a_minute = max(self.most_operations_in_a_minute, self._minute.add(now))

    def answered(self, status: int, size: int) -> None:
        self.statuses[str(status)] += 1
        self.bytes += size

    def to_json(self) -> JsonObject:
        return {name: value for name, value in vars(self).items() if name != "_minute"}


@dataclass(frozen=True)
class Place:
    """Where a resource is; the same over every reset."""

    name: str
    endpoint: str
    region: str
    resource_id: str
    key: str


GrantKey = tuple[str, str, str]
"""The api-version, analyzer and target of a grant of the released protocol; case matters in the target's id (REFERENCE:
user)."""


class ResourceState:
    """One resource. Operations end when somebody looks, dated to when they were due."""

    def __init__(self, place: Place, config: ResourceConfig, settings: Settings) -> None:
        self.place = place
        self.api_versions = config.api_versions
        self.settings = settings
        self.stats = Stats()
        self.admitted = SlidingMinute()
        self._chance = random.Random(place.name)  # noqa: S311 - no secret
        sent = {str(each["analyzerId"]): each for each in config.analyzers}
        self._registrations: dict[str, dict[str, definitions.Stored]] = {
            version: {name: _seed(each, sent, version, settings) for name, each in sent.items()}
            for version in config.api_versions
        }
        self._operations: dict[str, definitions.Operation] = {}
        self.results: dict[str, definitions.Result] = {}  # of analyses, until they are deleted
        self.analysed: Counter[tuple[object, ...]] = Counter()  # by seed, place, analyzer and document
        self._due: list[tuple[float, str]] = []
        self.grants: dict[GrantKey, datetime] = {}
        # What is still shown of analyzers whose latest work is shown late, and until when.
        self._before: dict[tuple[str, str], tuple[float, definitions.Stored | None]] = {}

    def settle(self) -> None:
        now = TIME.monotonic()
        while self._due and self._due[0][0] <= now:
            moment, operation_id = heapq.heappop(self._due)
            self._end(self._operations[operation_id], TIME.now() - timedelta(seconds=now - moment))

    def get(self, api_version: str, analyzer_id: str) -> definitions.Stored:
        """Give an analyzer, prebuilt or not; a `Refusal` where there is none."""
        found = self.find(api_version, analyzer_id)
        if found is None:
            raise answers.analyzer_not_found()
        return found

    def find(self, api_version: str, analyzer_id: str) -> definitions.Stored | None:
        return self._shown(api_version, analyzer_id) or definitions.PREBUILT_ANALYZERS.get(analyzer_id)

    def base_of(self, api_version: str, definition: JsonObject) -> Mapping[str, JsonValue]:
        """Give the analyzer whose configuration a definition inherits; nothing where it is not there."""
        base = str(definition.get("baseAnalyzerId"))
        found = self.own(api_version, base) or definitions.PREBUILT_ANALYZERS.get(base)
        return found.body if found else {}

    def offers(self, api_version: str) -> bool:
        return api_version in self._registrations

    def listing(self, api_version: str) -> list[tuple[str, definitions.Stored]]:
        """Give all analyzers: prebuilt ones first, each part alphabetical (REFERENCE)."""
        held = sorted(self._registrations[api_version])
        shown = ((name, self._shown(api_version, name)) for name in held)
        return [*definitions.PREBUILT_ANALYZERS.items(), *((name, there) for name, there in shown if there is not None)]

    def own(self, api_version: str, analyzer_id: str) -> definitions.Stored | None:
        """Give an analyzer that is not prebuilt."""
        return self._registrations[api_version].get(analyzer_id) if self.offers(api_version) else None

    def _shown(self, api_version: str, analyzer_id: str) -> definitions.Stored | None:
        until, before = self._before.get((api_version, analyzer_id), (0.0, None))
        return before if TIME.monotonic() < until else self.own(api_version, analyzer_id)

    def keep(self, api_version: str, analyzer_id: str, analyzer: definitions.Stored) -> None:
        self._registrations[api_version][analyzer_id] = analyzer

    def remove(self, api_version: str, analyzer_id: str) -> None:
        """Forget an analyzer, and with it the grants to copy it. Inferred: that the grants go."""
        self._registrations[api_version].pop(analyzer_id, None)
        for key in [key for key in self.grants if key[:2] == (api_version, analyzer_id)]:
            del self.grants[key]

    def begin(
        self,
        operation_id: str,
        api_version: str,
        body: JsonObject,
        *,
        is_copy: bool,
        twist: faults.Twist | None,
        warnings: tuple[JsonValue, ...] = (),
        training: str = "",
    ) -> definitions.Operation:
        """Begin to build an analyzer, whose place it takes at once; one that is `ready` ends its operation at once."""
        analyzer_id = str(body["analyzerId"])
        analyzer = definitions.Stored(body, operation_id, training)
        operation = definitions.Operation(
            operation_id, analyzer_id, api_version, analyzer, is_copy, twist, warnings=warnings
        )
        if analyzer.status == "ready":
            operation = replace(operation, status="Succeeded")
        elif not isinstance(twist, faults.OperationHangs):
            spread = self.settings.service_spread
            seconds = self.settings.service_time * self._chance.uniform(1 - spread, 1 + spread)
            heapq.heappush(self._due, (TIME.monotonic() + seconds, operation_id))
            if is_copy:
                self.stats.copy_seconds.append(seconds)
        if isinstance(twist, faults.ShownLate):
            before = self.own(api_version, analyzer_id)
            self._before[api_version, analyzer_id] = TIME.monotonic() + twist.seconds, before
        self.keep(api_version, analyzer_id, analyzer)
        self._operations[operation_id] = operation
        if is_copy:
            stats = self.stats
            stats.copies_accepted[analyzer_id] += 1
            stats.copies_in_flight += 1
            stats.max_copies_in_flight = max(stats.max_copies_in_flight, stats.copies_in_flight)
        return operation

    def operation(self, api_version: str, analyzer_id: str, operation_id: str) -> definitions.Operation:
        found, asked = self._operations.get(operation_id), (api_version, analyzer_id)
        if found is None or isinstance(found.twist, faults.OperationVanishes):
            raise answers.operation_not_found()
        if (found.api_version, found.analyzer_id) != asked:
            raise answers.operation_not_found()
        return found

    def keep_result(self, operation_id: str, analyzer_id: str, result: definitions.Result) -> None:
        self.results[operation_id] = result
        self.stats.analyses[analyzer_id] += 1
        self.count_results()

    def count_results(self) -> None:
        now, stats = TIME.monotonic(), self.stats
        stats.results = len(self.results)
        stats.analyses_in_flight = sum(result.due > now for result in self.results.values())
        stats.max_analyses_in_flight = max(stats.max_analyses_in_flight, stats.analyses_in_flight)

    def result(self, api_version: str, operation_id: str) -> definitions.Result:
        found = self.results.get(operation_id)
        if found is None or found.api_version != api_version:
            raise answers.operation_not_found()
        return found

    def has_granted(self, key: GrantKey) -> bool:
        return key in self.grants and TIME.now() < self.grants[key]

    def _end(self, operation: definitions.Operation, moment: datetime) -> None:
        # Inferred: an operation whose analyzer was deleted or replaced meanwhile ends without touching it, and one that
        # failed leaves its analyzer behind, as `failed`.
        place = self._registrations[operation.api_version]
        current = place.get(operation.analyzer_id)
        is_current = current is not None and current.operation_id == operation.id
        status = "failed" if isinstance(operation.twist, faults.AnalyzerFails | faults.OperationFails) else "ready"
        ended = (current if current is not None and is_current else operation.analyzer).changed(
            status=status, lastModifiedAt=definitions.whole_seconds(moment)
        )
        if is_current:
            place[operation.analyzer_id] = ended
        self._operations[operation.id] = replace(
            operation,
            status="Failed" if isinstance(operation.twist, faults.OperationFails) else "Succeeded",
            analyzer=ended,
        )
        if operation.is_copy:
            self.stats.copies_in_flight -= 1
            self.stats.copies_finished += 1


def _inherited(sent: JsonObject, others: Mapping[str, JsonObject]) -> JsonObject:
    """Merge the configurations of the bases that an analyzer has in the file, the nearest last."""
    config: JsonObject = {}
    below = [sent]
    while (base := others.get(str(below[-1].get("baseAnalyzerId")))) is not None and base not in below:
        config = {**definitions.as_object(base.get("config")), **config}
        below.append(base)
    return {"config": config}


def _seed(
    sent: JsonObject, others: Mapping[str, JsonObject], api_version: str, settings: Settings
) -> definitions.Stored:
    name, base = str(sent["analyzerId"]), _inherited(sent, others)
    body = definitions.completed(name, sent, base, api_version=definitions.RELEASED, now=TIME.now(), status="ready")
    if api_version == definitions.PREVIEW_2025 and "models" in body:
        # Inferred: an analyzer made under `2025-05-01-preview` names a deployment where others name a model.
        # What was only filled in, and leads to no deployment, is left out again.
        models, own, defaults = definitions.models_of(body), definitions.models_of(sent), settings.defaults or {}
        known = {role: defaults.get(name, name) for role, name in models.items() if role in own or name in defaults}
        body["models"] = {role: models[role] if models[role] in settings.deployed else it for role, it in known.items()}
    # What the file says about an analyzer's past is believed.
    past = ("createdAt", "lastModifiedAt", "status", "warnings")
    return definitions.Stored(body | {key: sent[key] for key in past if key in sent})


class World:
    """Everything that a reset puts back."""

    def __init__(self, config: EmulatorConfig, places: Mapping[str, Place]) -> None:
        self._config = config
        self._places = places
        self.issuer = TokenIssuer(config.token_seconds, config.identity_header)
        self.reset()

    def reset(self) -> None:
        """Put everything back to what the file says; keys, ports and the identity stay."""
        self.resources: dict[str, ResourceState] = {}
        for name, place in self._places.items():
            config = self._config.resources[name]
            given = {**dict(self._config), **dict(config)}
            settings = Settings(**{setting: given[setting] for setting in Settings.model_fields})
            self.resources[name] = ResourceState(place, config, settings)
        self.faults = faults.FaultBook(self._config.faults)
        self.outages: dict[str, OutageKind] = dict.fromkeys(self._places, "none")
        self.outages.update({outage.resource: outage.kind for outage in self._config.outages})
        # What the copy tokens stand for; the real ones are encrypted, as the product's page says.
        self.copy_tokens: dict[str, TokenGrant] = {}
        self.issuer.seconds = self._config.token_seconds

    def with_id(self, resource_id: str) -> ResourceState | None:
        """Give the resource of an id, compared by case as the service was seen to do (REFERENCE: user)."""
        return next((state for state in self.resources.values() if state.place.resource_id == resource_id), None)

    def change(self, change: SettingsChange) -> None:
        for name in [change.resource] if change.resource else list(self.resources):
            for changed in change.model_fields_set & Settings.model_fields.keys():
                setattr(self.resources[name].settings, changed, getattr(change, changed))
        if "token_seconds" in change.model_fields_set:
            self.issuer.seconds = change.token_seconds
        if change.revoke_tokens:
            self.issuer.revoke_all()
