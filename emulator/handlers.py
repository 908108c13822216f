"""The data plane's answers to all calls but copies."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from emulator import answers
from emulator.analyzers import Ending, Stored, ending_of, merged, whole_seconds
from emulator.answers import Answer, Header, json_answer
from emulator.definitions import PREVIEW_2025, check_definition, check_id, check_tags, completed, echoed, takes_time
from emulator.faults import CallKind, ForeignLocation, LoopingNextLink, Twist
from emulator.world import ResourceState, World
from standby.document import JsonObject


@dataclass(frozen=True)
class Call:
    """A call that was let in; its `apim-request-id` also names the operation it may begin (recordings)."""

    kind: CallKind
    now: datetime
    endpoint: str
    api_version: str
    query: Mapping[str, str]
    body: JsonObject
    analyzer: str = ""
    operation: str = ""
    twist: Twist | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def may_replace(self) -> bool:
        """Whether an analyzer of the same id may be replaced."""
        return self.query.get("allowReplace", "").lower() == "true"

    @property
    def origin(self) -> str:
        """Where links in the answer lead: here, unless a fault says otherwise."""
        return self.twist.origin if isinstance(self.twist, ForeignLocation) else self.endpoint

    def operation_location(self, spelled: str) -> tuple[Header, ...]:
        """Give the header that says where the operation is; its spelling differs by call (REFERENCE)."""
        path = f"/contentunderstanding/analyzers/{self.analyzer}/operations/{self.id}"
        return ((spelled, f"{self.origin}{path}?api-version={self.api_version}"),)


def list_analyzers(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `GET /analyzers`, one page of it."""
    listing = state.listing(call.api_version)
    start = call.query.get("skip", "0")
    if not start.isdecimal():
        raise answers.invalid_request("InvalidParameter", "'skip' must be a number.")
    first = int(start)
    end = len(listing) if state.settings.page_size is None else first + state.settings.page_size
    link = _next_link(call, first, end, len(listing))
    parts = [b'{"value":[', b",".join(analyzer.encoded for _, analyzer in listing[first:end]), b"]"]
    if link:
        parts += [b',"nextLink":"', link.encode(), b'"']
    return Answer(200, b"".join([*parts, b"}"]))


def get_analyzer(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `GET /analyzers/{id}` (recordings: get not found, grant copy)."""
    return Answer(200, state.get(call.api_version, call.analyzer).encoded)


def put_analyzer(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `PUT /analyzers/{id}` (recordings: create with labels, classifier, grant copy)."""
    check_id(call.analyzer)
    check_definition(call.body)
    if state.own(call.api_version, call.analyzer) is not None and not call.may_replace:
        raise answers.already_exists(call.analyzer)
    # Inferred: `2025-05-01-preview` knows no defaults, so it cannot miss them.
    if call.body.get("models") and state.settings.defaults is None and call.api_version != PREVIEW_2025:
        raise answers.defaults_not_set()
    ending = ending_of(call.twist)
    status = "creating" if takes_time(call.body) or ending != Ending() else "ready"
    base = state.base_of(call.api_version, call.body)
    body = completed(call.analyzer, call.body, base, api_version=call.api_version, now=call.now, status=status)
    operation = state.begin(call.id, call.api_version, body, is_copy=False, ending=ending)
    # Inferred: 201 on replace, too.
    return Answer(201, operation.analyzer.encoded, call.operation_location("Operation-Location"))


def patch_analyzer(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `PATCH /analyzers/{id}`: only description and tags take effect (recording: patch)."""
    check_definition(call.body)
    current = state.own(call.api_version, call.analyzer)
    if current is None:
        raise answers.analyzer_not_found()
    patch: JsonObject = {key: call.body[key] for key in ("description", "tags") if key in call.body}
    body = merged(current.body, patch) | {"lastModifiedAt": whole_seconds(call.now)}
    tags = body.get("tags")
    check_tags(tags if isinstance(tags, dict) else {})
    state.keep(call.api_version, call.analyzer, Stored(body, current.operation_id))
    return json_answer(echoed(call.analyzer, call.body))


def delete_analyzer(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `DELETE /analyzers/{id}`: 204, whether or not it was there (recording: delete)."""
    check_id(call.analyzer)
    state.remove(call.api_version, call.analyzer)
    return Answer(204)


def get_operation(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer a poll (recording: grant copy)."""
    operation = state.operation(call.api_version, call.analyzer, call.operation)
    if operation is None:
        raise answers.operation_not_found()
    return Answer(200, operation.encoded)


def get_defaults(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `GET /defaults` (recording: update defaults)."""
    _refuse_defaults_of_the_preview(call)
    if state.settings.defaults is None:
        raise answers.defaults_not_set()
    return json_answer({"modelDeployments": dict(state.settings.defaults)})


def patch_defaults(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `PATCH /defaults`, a merge patch (recording: update defaults)."""
    _refuse_defaults_of_the_preview(call)
    sent = call.body.get("modelDeployments") or {}
    if not isinstance(sent, dict):
        raise answers.invalid_request("InvalidParameter", "'modelDeployments' must be an object.")
    for name, deployment in sent.items():
        if deployment is not None and not isinstance(deployment, str):
            raise answers.invalid_request("InvalidParameter", f"'modelDeployments.{name}' must be a string.")
    after = merged(dict(state.settings.defaults or {}), sent)
    state.settings.defaults = {name: str(deployment) for name, deployment in after.items()}
    return json_answer({"modelDeployments": after})


def _next_link(call: Call, first: int, end: int, total: int) -> str | None:
    if isinstance(call.twist, LoopingNextLink):
        next_page = first
    elif end < total or isinstance(call.twist, ForeignLocation):
        next_page = end
    else:
        return None
    version = quote(call.api_version)
    return f"{call.origin}/contentunderstanding/analyzers?api-version={version}&skip={next_page}"


def _refuse_defaults_of_the_preview(call: Call) -> None:
    # Inferred: 404, as for other paths a version lacks; `api-supported-versions` on /defaults names only
    # 2025-11-01 (recording: update defaults).
    if call.api_version == PREVIEW_2025:
        raise answers.no_such_path()
