"""The data plane of a resource: its paths, and who is let in."""

import json
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from standby.document import JsonObject
from standby.emulator import analysis, answers, faults, gate, handlers, tokens
from standby.emulator.definitions import PREVIEW_2025, REGION_NAMES
from standby.emulator.world import ResourceState, World

BASE = "/contentunderstanding"
Handler = Callable[[World, ResourceState, handlers.Call], answers.Answer]
# Inferred: `2025-05-01-preview` answers 404; `api-supported-versions` on /defaults names only 2025-11-01 (recording).
SINCE_RELEASED: set[Handler] = {handlers.grant_copy, handlers.get_defaults, handlers.patch_defaults}
SINCE_RELEASED |= {analysis.analyze_binary, analysis.delete_result}
UNTIL_RELEASED: set[Handler] = {handlers.permit_copy}  # A live resource answers 404 since (REFERENCE: user)


@dataclass(frozen=True)
class DataPlane(gate.Gate):
    handler: Handler
    takes_document: bool = False  # Rather than JSON
    is_data = True

    def answer(self, state: ResourceState, arrival: gate.Arrival) -> answers.Answer:
        """Check key or token, quota and api-version, then do what was asked for."""
        check_permission(arrival, state.place.key, self.world.issuer)
        check_quota(state)
        query = arrival.request.query_params
        call = handlers.Call(
            now=tokens.TIME.now(),
            endpoint=state.place.endpoint,
            api_version=checked_api_version(state, query.get("api-version")),
            query=query,
            body={} if self.takes_document else parsed_object(arrival.body),
            analyzer=arrival.request.path_params.get("analyzer", ""),
            operation=arrival.request.path_params.get("operation", ""),
            file=arrival.request.path_params.get("file", ""),
            content=arrival.body if self.takes_document else b"",
            media_type=arrival.request.headers.get("content-type", ""),
            twist=arrival.twist,
            id=arrival.id,
        )
        if self.handler in (SINCE_RELEASED if call.api_version == PREVIEW_2025 else UNTIL_RELEASED):
            raise answers.no_such_path()
        return self.handler(self.world, state, call)

    def respond(self, state: ResourceState, arrival: gate.Arrival, answer: answers.Answer) -> Response:
        """Put the headers around an answer that every answer of the service has (recordings)."""
        is_defaults = arrival.kind in {"get_defaults", "patch_defaults"}
        # On /defaults `2025-05-01-preview` is not named (recording: update defaults).
        versions = sorted(version for version in state.api_versions if not (is_defaults and version == PREVIEW_2025))
        headers = (
            ("api-supported-versions", ",".join(versions)),
            ("apim-request-id", arrival.id),
            ("request-id", arrival.id),
            ("x-ms-request-id", arrival.id),
            ("x-ms-region", REGION_NAMES.get(state.place.region, state.place.region)),
        )
        return answers.data_plane_response(answer, headers)


def data_plane(world: World, resource: str) -> ASGIApp:
    def route(method: str, path: str, kind: faults.CallKind, handler: Handler) -> Route:
        plane = DataPlane(world, resource, kind, handler, takes_document=handler is analysis.analyze_binary)
        return Route(f"{BASE}{path}", plane, methods=[method])

    result = "/analyzerResults/{operation}"
    one = "/analyzers/{analyzer}"
    return Router(
        [
            route("GET", "/analyzers", "list", handlers.list_analyzers),
            route("POST", f"{one}:grantCopyAuthorization", "authorize", handlers.grant_copy),
            route("POST", f"{one}:getCopyAuthorization", "authorize", handlers.permit_copy),
            route("POST", f"{one}:copy", "copy", handlers.copy),
            route("GET", f"{one}/operations/{{operation}}", "poll", handlers.get_operation),
            route("POST", f"{one}:analyze", "analyze", analysis.analyze),
            route("POST", f"{one}:analyzeBinary", "analyze", analysis.analyze_binary),
            route("GET", result, "get_result", analysis.get_result),
            route("GET", f"{result}/files/{{file:path}}", "get_result", analysis.get_file),
            route("DELETE", result, "delete_result", analysis.delete_result),
            route("GET", one, "get", handlers.get_analyzer),
            route("PUT", one, "put", handlers.put_analyzer),
            route("PATCH", one, "patch", handlers.patch_analyzer),
            route("DELETE", one, "delete", handlers.delete_analyzer),
            route("GET", "/defaults", "get_defaults", handlers.get_defaults),
            route("PATCH", "/defaults", "patch_defaults", handlers.patch_defaults),
        ],
        redirect_slashes=False,
        default=_not_served,
    )


def check_permission(arrival: gate.Arrival, key: str, issuer: tokens.TokenIssuer) -> None:
    """Let in who has the key, or a token for the data plane."""
    # Missing rights are a 401 `PermissionDenied`, not a 403 (REFERENCE: user). Inferred: the words of other refusals.
    headers = arrival.request.headers
    sent = headers.get("ocp-apim-subscription-key")
    if sent is not None:
        if secrets.compare_digest(sent.encode(), key.encode()):
            return
        raise answers.Refusal(
            401,
            "401",
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a "
            "valid key for an active subscription and use a correct regional API endpoint for your resource.",
        )
    token = tokens.bearer_of(headers.get("authorization", ""))
    audience = issuer.audience(token) if token else None
    if audience is None:
        text = f"Access token is missing, invalid, audience is incorrect ({tokens.DATA_PLANE}), or have expired."
        raise answers.Refusal(401, "Unauthorized", text)
    if audience != tokens.DATA_PLANE:
        raise answers.Refusal(401, "PermissionDenied", "Principal does not have access to API/Operation.")


def check_quota(state: ResourceState) -> None:
    """Refuse more than the quota of a minute; refused calls do not count. Inferred: code and Retry-After."""
    now = tokens.TIME.monotonic()
    if state.admitted.count(now) < state.settings.operations_per_minute:
        state.admitted.add(now)
        return
    seconds = max(1, math.ceil(state.admitted.seconds_until_room(now)))
    text = f"Requests have exceeded the call rate limit of the resource. Please retry after {seconds} seconds."
    raise answers.Refusal(429, "429", text, headers=(("Retry-After", str(seconds)),))


def checked_api_version(state: ResourceState, sent: str | None) -> str:
    """Give the api-version of a call, which must have one that the resource offers. Inferred: the codes."""
    if not sent:
        raise answers.invalid_request("MissingApiVersionParameter", "The query parameter 'api-version' is required.")
    if not state.offers(sent):
        raise answers.invalid_request("InvalidApiVersionParameter", f"The api-version '{sent}' is not supported.")
    return sent


def parsed_object(body: bytes) -> JsonObject:
    """Read a body, which is a JSON object or nothing. Inferred: the code."""
    if not body:
        return {}
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise answers.invalid_request("InvalidJson", "The request body is not a JSON object.")
    return value


async def _not_served(scope: Scope, receive: Receive, send: Send) -> None:
    await answers.data_plane_response(answers.no_such_path().answer(), ())(scope, receive, send)
