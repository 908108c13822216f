"""What the tests of this folder build their worlds from: values, a clock, and a service in memory."""

from __future__ import annotations

import asyncio
import copy
import json
import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from standby.config.plan import RecoveryPlan
from standby.config.resource import Resource
from standby.replication.inventory import Connections, Inventory
from standby.replication.items import PlanItem
from standby.replication.ledger import read_ledger
from standby.replication.needs import Serving
from standby.replication.steps import RunContext
from standby.replication.verdict import Action, CopyRecord, Sighting, Verdict
from standby.service.calls import trusted_certificates
from standby.service.client import ContentUnderstandingClient
from standby.service.models import Analyzer, Deployment
from standby.service.retries import HttpRetries
from standby.vault.folder import LocalFolder
from standby.vault.storage import Storage

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RELEASED = "2025-11-01"
PREVIEW_2025 = "2025-05-01-preview"
GROUP = "/subscriptions/s-1/resourceGroups/group-1/providers/Microsoft.CognitiveServices/accounts"
MODELS = {"completion": "gpt-4.1", "embedding": "text-embedding-3-small"}
DEFAULTS = {"gpt-4.1": "gpt", "text-embedding-3-small": "emb"}


async def recorded(vault: Path | Storage, source: str, target: str) -> dict[str, CopyRecord]:
    """What the ledger of a pair says."""
    files = LocalFolder(vault) if isinstance(vault, Path) else vault
    return (await read_ledger(files, source, target, RELEASED)).records


class FakeClock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits: list[float] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


def resource(name: str, api_version: str = RELEASED, **fields: Any) -> Resource:
    return Resource.model_validate(
        {
            "name": name,
            "endpoint": f"https://{name}.services.ai.azure.com",
            "region": f"{name}us",
            "resource_id": f"{GROUP}/{name}",
            "api_version": api_version,
            "credentials": {"kind": "key", "key": "secret-key"},
            **fields,
        }
    )


def recovery_plan(source: str = "east", targets: Iterable[str] = ("west",), **fields: Any) -> RecoveryPlan:
    return RecoveryPlan.model_validate(
        {"name": "invoices", "pairs": [{"source": source, "targets": list(targets)}], **fields}
    )


def definition(name: str, *children: str, **fields: Any) -> dict[str, Any]:
    """An analyzer as a listing has it, which refers to its children."""
    config = {"contentCategories": {child: {"analyzerId": child} for child in children}}
    return {
        "analyzerId": name,
        "status": "ready",
        "createdAt": "2026-01-01T00:00:00Z",
        "lastModifiedAt": "2026-01-01T00:00:00Z",
        "baseAnalyzerId": "prebuilt-document",
        "description": f"what {name} is",
        **({"config": config} if children else {}),
        **fields,
    }


def labelled(name: str, changed_at: str = "2026-01-01T00:00:00Z", **fields: Any) -> dict[str, Any]:
    """An analyzer that labelled data shaped."""
    source = {"kind": "labeledData", "containerUrl": "https://x.blob.core.windows.net/l", "fileListPath": "f"}
    return definition(name, knowledgeSources=[source], lastModifiedAt=changed_at, **fields)


def deployment(name: str, model: str, version: str = "1") -> Deployment:
    return Deployment(name=name, model=model, version=version)


def serving(
    where: Resource,
    defaults: Mapping[str, str] | None = DEFAULTS,
    deployments: Iterable[Deployment] | None = None,
) -> Serving:
    known = None if deployments is None else {found.name: found for found in deployments}
    return Serving(where, defaults, known)


def inventory(where: str | Resource, *definitions: Mapping[str, Any], serves: Serving | None = None) -> Inventory:
    place = resource(where) if isinstance(where, str) else where
    analyzers = [Analyzer.model_validate(each) for each in definitions]
    return Inventory(
        serving=serves or serving(place),
        analyzers={analyzer.analyzer_id: analyzer for analyzer in analyzers},
    )


def sighting(fingerprint: str = "same", **fields: Any) -> Sighting:
    values: dict[str, Any] = {
        "status": "ready",
        "created_at": START,
        "changed_at": START,
        "trained": False,
        **fields,
    }
    return Sighting(fingerprint=fingerprint, **values)


def record(source: Sighting, target: Sighting) -> CopyRecord:
    return CopyRecord(source, target, START)


def plan_item(analyzer: str, *needs: str, **fields: Any) -> PlanItem:
    """Something to copy, or whatever the fields make of it."""
    values: dict[str, Any] = {
        "source": "east",
        "target": "west",
        "target_analyzer": analyzer,
        "verdict": Verdict.MISSING,
        "action": Action.COPY,
        "reason": "west does not have it.",
        "needs": needs,
        "models": (),
        "expected": sighting(analyzer),
        "found": None,
        **fields,
    }
    return PlanItem(analyzer=analyzer, **values)


@dataclass
class Region:
    """What one resource of the service holds."""

    analyzers: dict[str, dict[str, Any]] = field(default_factory=dict)
    defaults: dict[str, str] | None = None
    grants: set[tuple[str, str]] = field(default_factory=set)
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)


Intervention = Callable[[str, httpx.Request], httpx.Response | None]
"""Gets `before` or `after` and the request, for each call; an answer of its own stands for the service's."""


@dataclass
class Service:
    """The released API in memory, as far as copying goes.

    Attributes:
        polls: how often a copy is found unfinished, by its operation or itself, before it is over.
        accepted: copies that were begun, by resource and analyzer.
        shows_results: whether an operation shows the analyzer, as the service does (recording of GrantCopyAuth).
        is_here: whether the resources are emulated on this machine, on a port each.
        intervene: may answer, change the world, or raise.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    regions: dict[str, Region] = field(default_factory=dict)
    polls: int = 1
    accepted: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    shows_results: bool = True
    is_here: bool = False
    intervene: Intervention = lambda _when, _request: None

    def region(self, name: str) -> Region:
        return self.regions.setdefault(name, Region())

    def hold(self, where: str, *definitions: Mapping[str, Any]) -> None:
        """Put analyzers into a resource."""
        for each in definitions:
            self.region(where).analyzers[each["analyzerId"]] = copy.deepcopy(dict(each))

    def count(self, method: str, action: str) -> int:
        return sum(call[1] == method and call[2].endswith(action) for call in self.calls)

    def client(self, name: str, **fields: Any) -> ContentUnderstandingClient:
        self.region(name)
        here = {"endpoint": f"http://127.0.0.1:{1 + list(self.regions).index(name)}"} if self.is_here else {}
        return ContentUnderstandingClient(
            resource(name, **here, **fields),
            tls=certificates(),
            retries=HttpRetries(attempts=1),
            clock=self.clock,
            transport=self.transport(),
        )

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def context(self, plan: RecoveryPlan, vault: Path | Storage, **fields: Any) -> RunContext:
        files = LocalFolder(vault) if isinstance(vault, Path) else vault
        clients = {name: self.client(name, **fields) for name in plan.resources}
        return RunContext(plan, Connections(clients, clock=self.clock), files, self.clock)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        where = list(self.regions)[(url.port or 0) - 1] if self.is_here else url.host.partition(".")[0]
        path = request.url.path.removeprefix("/contentunderstanding")
        self.calls.append((where, request.method, path))
        answer = self.intervene("before", request)
        if answer is None:
            answer = self._serve(self.region(where), where, request, path)
            answer = self.intervene("after", request) or answer
        return answer

    def _serve(self, region: Region, where: str, request: httpx.Request, path: str) -> httpx.Response:
        body = json.loads(request.content or b"{}")
        if path == "/defaults":
            return self._defaults(region, request.method, body)
        if path == "/analyzers":
            return httpx.Response(200, json={"value": list(region.analyzers.values())})
        name, _, rest = path.removeprefix("/analyzers/").partition("/operations/")
        if rest:
            return self._operation(region, rest)
        name, _, action = name.partition(":")
        if action == "copy":
            return self._copy(region, where, name, request, body)
        if name not in region.analyzers:
            return refusal(404, "NotFound", "ModelNotFound", "The requested model was not found.")
        if action == "grantCopyAuthorization":
            region.grants.add((name, body["targetAzureResourceId"]))
            return httpx.Response(200, json={**body, "expiresAt": expiry(self.clock, hours=24)})
        answer = httpx.Response(200, json=region.analyzers[name])
        for known in region.operations.values():
            if known["analyzer"] == name:
                self._advance(region, known)
        return answer

    def _defaults(self, region: Region, method: str, body: dict[str, Any]) -> httpx.Response:
        if method == "PATCH":
            region.defaults = {**(region.defaults or {}), **body["modelDeployments"]}
        if region.defaults is None:
            return refusal(400, "InvalidRequest", "DefaultsNotSet", "Defaults are not set.")
        return httpx.Response(200, json={"modelDeployments": region.defaults})

    def _copy(
        self, region: Region, where: str, name: str, request: httpx.Request, body: dict[str, Any]
    ) -> httpx.Response:
        if name in region.analyzers and "allowReplace" not in request.url.params:
            return refusal(409, "Conflict", "ModelExists", "It exists.")
        # Within one resource nothing but the id is sent, and no grant is needed (REFERENCE).
        origin = self.region(body.get("sourceAzureResourceId", where).rpartition("/")[2])
        if origin is not region and (body["sourceAnalyzerId"], f"{GROUP}/{where}") not in origin.grants:
            return void_grant()
        made = copy.deepcopy(origin.analyzers[body["sourceAnalyzerId"]])
        stamp = f"{self.clock.now():%Y-%m-%dT%H:%M:%SZ}"
        made |= {"analyzerId": name, "status": "creating", "createdAt": stamp, "lastModifiedAt": stamp}
        region.analyzers[name] = made
        self.accepted[where, name] += 1
        operation = f"op-{sum(self.accepted.values())}"
        region.operations[operation] = {"left": self.polls, "analyzer": name, "over": False}
        location = f"{request.url.copy_with(query=None, path='/contentunderstanding/analyzers/')}{name}"
        headers = {"operation-location": f"{location}/operations/{operation}?api-version={RELEASED}"}
        return httpx.Response(201, json=made, headers=headers)

    def _operation(self, region: Region, operation: str) -> httpx.Response:
        known = region.operations[operation]
        over = self._advance(region, known)
        made = region.analyzers.get(known["analyzer"])
        result = {"result": made} if made and self.shows_results else {}
        return operation_answer("Succeeded" if over else "Running", operation, **result)

    def _advance(self, region: Region, known: dict[str, Any]) -> bool:
        known["left"] -= 1
        if known["left"] < 0 and not known["over"]:
            known["over"] = True
            region.analyzers[known["analyzer"]]["status"] = "ready"
        return bool(known["over"])

    def settle(self) -> None:
        """Let the service finish what it has begun, as it does without being asked."""
        for region in self.regions.values():
            for known in region.operations.values():
                known["left"] = 0
                self._advance(region, known)


@cache
def certificates() -> ssl.SSLContext:
    """One context for all clients: to make one takes a while."""
    return trusted_certificates()


def expiry(clock: FakeClock, **delta: float) -> str:
    return (clock.now() + timedelta(**delta)).isoformat()


def operation_answer(status: str, operation: str = "op-1", **fields: Any) -> httpx.Response:
    return httpx.Response(200, json={"id": operation, "status": status, **fields})


def refusal(status: int, code: str, inner: str, message: str) -> httpx.Response:
    return httpx.Response(
        status,
        json={"error": {"code": code, "message": "No.", "innererror": {"code": inner, "message": message}}},
    )


def void_grant() -> httpx.Response:
    words = "The resource 'x' has not granted the necessary permissions for the source analyzer 'y'"
    return refusal(404, "NotFound", "ModelNotFound", f"{words} to copy to the target resource.")
