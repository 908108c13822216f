"""The released API's copy: the source keeps the grant, and the target's copy looks for it."""

from __future__ import annotations

from datetime import timedelta

from emulator.analyzers import Stored, with_fraction
from emulator.answers import Answer, already_exists, invalid_request, json_answer, no_such_path, not_granted
from emulator.catalogue import PREVIEW_2025, same_region
from emulator.definitions import check_id, copied
from emulator.faults import ShortGrant, VoidGrant
from emulator.handlers import Call
from emulator.operations import ending_of
from emulator.state import GrantKey, ResourceState
from emulator.world import World
from standby.document import JsonObject

GRANT_SECONDS = 24 * 60 * 60.0


def grant(world: World, state: ResourceState, call: Call) -> Answer:
    """Answer `:grantCopyAuthorization`: no token, and no `source` either (recording: grant copy)."""
    if call.api_version == PREVIEW_2025:
        raise no_such_path()
    state.get(call.api_version, call.analyzer)
    target_id = call.body.get("targetAzureResourceId")
    if not isinstance(target_id, str) or not target_id:
        raise invalid_request("InvalidParameter", "'targetAzureResourceId' is required.")
    seconds = call.twist.seconds if isinstance(call.twist, ShortGrant) else GRANT_SECONDS
    expires_at = call.now + timedelta(seconds=seconds)
    if not isinstance(call.twist, VoidGrant) and _is_in_region(world, target_id, call):
        state.grant(GrantKey(call.api_version, call.analyzer, target_id), expires_at)
    named: JsonObject = {"targetAzureResourceId": target_id}
    if "targetRegion" in call.body:
        named["targetRegion"] = call.body["targetRegion"]
    return json_answer({**named, "expiresAt": with_fraction(expires_at)})


def copy(world: World, state: ResourceState, call: Call) -> Answer:
    """Answer `:copy` with 201 and the whole analyzer, `creating` (recording: grant copy).

    The resource needs no defaults for it (REFERENCE). Inferred: nor the analyzers that the copy refers to,
    and the source must be ready.
    """
    check_id(call.analyzer)
    source_analyzer = call.body.get("sourceAnalyzerId")
    if not isinstance(source_analyzer, str) or not source_analyzer:
        raise invalid_request("InvalidParameter", "'sourceAnalyzerId' is required.")
    if state.own(call.api_version, call.analyzer) is not None and not call.may_replace:
        raise already_exists(call.analyzer)
    source = _source(world, state, call, source_analyzer)
    if source.status != "ready":
        raise invalid_request(
            "ModelNotReady", f"The source analyzer '{source_analyzer}' is {source.status}, not ready."
        )
    body = copied(source.body, call.analyzer, call.now)
    operation = state.begin(call.id, call.api_version, body, is_copy=True, ending=ending_of(call.twist))
    return Answer(201, operation.analyzer.encoded, call.operation_location("operation-location"))


def _source(world: World, target: ResourceState, call: Call, analyzer_id: str) -> Stored:
    source_id = call.body.get("sourceAzureResourceId") or target.place.resource_id
    source = world.with_id(str(source_id))
    if source is None:
        raise not_granted(str(source_id), analyzer_id)
    region = call.body.get("sourceRegion")
    if region is not None and not same_region(str(region), source.place.region):
        # Inferred: nothing is found where it is looked for.
        raise not_granted(str(source_id), analyzer_id)
    source.settle()
    found = source.own(call.api_version, analyzer_id)
    if found is None:
        # A missing source is a 400 here, not a 404 (REFERENCE). Inferred: the inner code.
        raise invalid_request("ModelNotFound", f"The source analyzer '{analyzer_id}' was not found.")
    key = GrantKey(call.api_version, analyzer_id, target.place.resource_id)
    if source is not target and not source.has_granted(key):
        raise not_granted(str(source_id), analyzer_id)
    return found


def _is_in_region(world: World, target_id: str, call: Call) -> bool:
    # Inferred: a grant for a region where the target is not is of no use.
    region = call.body.get("targetRegion")
    target = world.with_id(target_id)
    return region is None or target is None or same_region(str(region), target.place.region)
