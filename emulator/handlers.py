"""The data plane's answers, both ways to copy among them.

The released API keeps the grant of a copy at the source, where the target's copy looks for it. In `2025-05-01-preview`
a token goes from the source to the target: rules and shapes are those of the product's disaster-recovery page.
Inferred throughout of the latter: the codes of refusals, that `models` names deployments, and that overrides of
models which the analyzer does not have mean nothing.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

from standby.document import JsonObject, JsonValue
from standby.emulator import answers, definitions, faults
from standby.emulator.answers import Answer, Header, json_answer
from standby.emulator.tokens import TokenGrant
from standby.emulator.world import ResourceState, World


@dataclass(frozen=True)
class Call:
    """A call that was let in; its `apim-request-id` also names the operation it may begin (recordings)."""

    now: datetime
    endpoint: str
    api_version: str
    query: Mapping[str, str]
    body: JsonObject
    id: str
    analyzer: str = ""
    operation: str = ""
    file: str = ""  # of a result
    content: bytes = b""  # what was sent, where it is a document, as `media_type`
    media_type: str = ""
    twist: faults.Twist | None = None

    @property
    def may_replace(self) -> bool:
        return self.query.get("allowReplace", "").lower() == "true"

    @property
    def origin(self) -> str:
        """Where links in the answer lead: here, unless a fault says otherwise."""
        return self.twist.origin if isinstance(self.twist, faults.ForeignLocation) else self.endpoint

    def operation_location(self, spelled: str) -> tuple[Header, ...]:
        """Give the header that says where the operation is; its spelling differs by call (REFERENCE)."""
        path = f"/contentunderstanding/analyzers/{self.analyzer}/operations/{self.id}"
        return ((spelled, f"{self.origin}{path}?api-version={self.api_version}"),)


def list_analyzers(_: World, state: ResourceState, call: Call) -> Answer:
    listing = state.listing(call.api_version)
    start = call.query.get("skip", "0")
    if not start.isdecimal():
        raise answers.invalid_request("InvalidParameter", "'skip' must be a number.")
    first = int(start)
    end = len(listing) if state.settings.page_size is None else first + state.settings.page_size
    parts = [b'{"value":[', b",".join(analyzer.encoded for _, analyzer in listing[first:end]), b"]"]
    loops = isinstance(call.twist, faults.LoopingNextLink)
    if loops or end < len(listing) or isinstance(call.twist, faults.ForeignLocation):
        query = f"api-version={quote(call.api_version)}&skip={first if loops else end}"
        parts += [b',"nextLink":"', f"{call.origin}/contentunderstanding/analyzers?{query}".encode(), b'"']
    return Answer(200, b"".join([*parts, b"}"]))


def get_analyzer(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `GET /analyzers/{id}` (recordings: get not found, grant copy)."""
    return Answer(200, state.get(call.api_version, call.analyzer).encoded)


def put_analyzer(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `PUT /analyzers/{id}` (recordings: create with labels, classifier, grant copy)."""
    definitions.check_id(call.analyzer)
    definitions.check_definition(call.body)
    if state.own(call.api_version, call.analyzer) is not None and not call.may_replace:
        raise answers.already_exists(call.analyzer)
    # Inferred: `2025-05-01-preview` knows no defaults, so it cannot miss them.
    if call.body.get("models") and state.settings.defaults is None and call.api_version != definitions.PREVIEW_2025:
        raise answers.defaults_not_set()
    status = "creating" if definitions.takes_time(call.body) or isinstance(call.twist, faults.OfOperation) else "ready"
    base = state.base_of(call.api_version, call.body)
    body = definitions.completed(
        call.analyzer, call.body, base, api_version=call.api_version, now=call.now, status=status
    )
    training = call.id if call.body.get("knowledgeSources") else ""
    operation = state.begin(call.id, call.api_version, body, is_copy=False, twist=call.twist, training=training)
    # Inferred: 201 on replace, too.
    return Answer(201, operation.analyzer.encoded, call.operation_location("Operation-Location"))


def patch_analyzer(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `PATCH /analyzers/{id}`: only description and tags take effect (recording: patch)."""
    definitions.check_definition(call.body)
    current = state.own(call.api_version, call.analyzer)
    if current is None:
        raise answers.analyzer_not_found()
    patch: JsonObject = {key: call.body[key] for key in ("description", "tags") if key in call.body}
    body = definitions.merged(current.body, patch) | {"lastModifiedAt": definitions.whole_seconds(call.now)}
    definitions.check_tags(definitions.as_object(body.get("tags")))
    state.keep(call.api_version, call.analyzer, replace(current, body=body))
    return json_answer(definitions.echoed(call.analyzer, call.body))


def delete_analyzer(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `DELETE /analyzers/{id}`: 204, whether or not it was there (recording: delete)."""
    definitions.check_id(call.analyzer)
    state.remove(call.api_version, call.analyzer)
    return Answer(204)


def get_operation(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer a poll (recording: grant copy)."""
    return Answer(200, state.operation(call.api_version, call.analyzer, call.operation).encoded)


def get_defaults(_: World, state: ResourceState, __: Call) -> Answer:
    """Answer `GET /defaults` (recording: update defaults)."""
    if state.settings.defaults is None:
        raise answers.defaults_not_set()
    return json_answer({"modelDeployments": dict(state.settings.defaults)})


def patch_defaults(_: World, state: ResourceState, call: Call) -> Answer:
    """Answer `PATCH /defaults`, a merge patch (recording: update defaults)."""
    sent = call.body.get("modelDeployments") or {}
    if not isinstance(sent, dict):
        raise answers.invalid_request("InvalidParameter", "'modelDeployments' must be an object.")
    for name, deployment in sent.items():
        if deployment is not None and not isinstance(deployment, str):
            raise answers.invalid_request("InvalidParameter", f"'modelDeployments.{name}' must be a string.")
    after = definitions.merged(dict(state.settings.defaults or {}), sent)
    state.settings.defaults = {name: str(deployment) for name, deployment in after.items()}
    return json_answer({"modelDeployments": after})


PERMITTED_SECONDS = 24 * 60 * 60.0  # How long a grant or a token lasts, unless a fault says otherwise


def grant_copy(world: World, state: ResourceState, call: Call) -> Answer:
    """Answer `:grantCopyAuthorization`: no token, and no `source` either (recording: grant copy)."""
    state.get(call.api_version, call.analyzer)
    target_id = _required_text(call.body, "targetAzureResourceId")
    expires_at = _end_of_permission(call)
    region, target = call.body.get("targetRegion"), world.with_id(target_id)
    # Inferred: a grant for a region where the target is not is of no use.
    in_region = region is None or target is None or definitions.same_region(str(region), target.place.region)
    if not isinstance(call.twist, faults.VoidGrant) and in_region:
        state.grants[call.api_version, call.analyzer, target_id] = expires_at
    named: JsonObject = {"targetAzureResourceId": target_id}
    if "targetRegion" in call.body:
        named["targetRegion"] = call.body["targetRegion"]
    return json_answer({**named, "expiresAt": definitions.with_fraction(expires_at)})


def copy(world: World, state: ResourceState, call: Call) -> Answer:
    """Answer `:copy` with 201 and the whole analyzer, `creating` (recording: grant copy)."""
    if call.api_version == definitions.PREVIEW_2025:
        return _copy_permitted(world, state, call)
    # The resource needs no defaults for it (REFERENCE). Inferred: nor the analyzers that the copy refers to, and the
    # source must be ready.
    definitions.check_id(call.analyzer)
    source_analyzer = _required_text(call.body, "sourceAnalyzerId")
    if state.own(call.api_version, call.analyzer) is not None and not call.may_replace:
        raise answers.already_exists(call.analyzer)
    source = _granted_source(world, state, call, source_analyzer)
    if source.status != "ready":
        text = f"The source analyzer '{source_analyzer}' is {source.status}, not ready."
        raise answers.invalid_request("ModelNotReady", text)
    body = definitions.copied(source.body, call.analyzer, call.now)
    operation = state.begin(call.id, call.api_version, body, is_copy=True, twist=call.twist, training=source.training)
    return Answer(201, operation.analyzer.encoded, call.operation_location("operation-location"))


def _granted_source(world: World, target: ResourceState, call: Call, analyzer_id: str) -> definitions.Stored:
    source_id = call.body.get("sourceAzureResourceId") or target.place.resource_id
    source = world.with_id(str(source_id))
    if source is None:
        raise answers.not_granted(str(source_id), analyzer_id)
    region = call.body.get("sourceRegion")
    if region is not None and not definitions.same_region(str(region), source.place.region):
        # Inferred: nothing is found where it is looked for.
        raise answers.not_granted(str(source_id), analyzer_id)
    source.settle()
    found = source.own(call.api_version, analyzer_id)
    if found is None:
        # A missing source is a 400 here, not a 404 (REFERENCE). Inferred: the inner code.
        raise answers.invalid_request("ModelNotFound", f"The source analyzer '{analyzer_id}' was not found.")
    key = call.api_version, analyzer_id, target.place.resource_id
    if source is not target and not source.has_granted(key):
        raise answers.not_granted(str(source_id), analyzer_id)
    return found


def _end_of_permission(call: Call) -> datetime:
    seconds = call.twist.seconds if isinstance(call.twist, faults.ShortGrant) else PERMITTED_SECONDS
    return call.now + timedelta(seconds=seconds)


OVERRIDES = {"completion": "chatCompletion", "embedding": "embedding"}  # Role of a model, and its name in `deployments`


def permit_copy(world: World, state: ResourceState, call: Call) -> Answer:
    """Answer `:getCopyAuthorization` with a token."""
    state.get(call.api_version, call.analyzer)
    permitted = TokenGrant(
        resource=state.place.name,
        analyzer_id=call.analyzer,
        source=_url(state, call.analyzer),
        target=_optional_url(call.body, "target"),
        encryption_key=_optional_text(call.body, "encryptionKey"),
        expires_at=_end_of_permission(call),
    )
    token = secrets.token_urlsafe(96)
    if not isinstance(call.twist, faults.VoidGrant):
        world.copy_tokens[token] = permitted
    expires = definitions.with_fraction(permitted.expires_at)
    answer: JsonObject = {"source": permitted.source, "authorizationToken": token, "expiresAt": expires}
    return json_answer(answer if permitted.target is None else {**answer, "target": call.body["target"]})


def _copy_permitted(world: World, state: ResourceState, call: Call) -> Answer:
    """Answer `:copy` with 200, `creating` and warnings where there are any; nothing is ever replaced."""
    definitions.check_id(call.analyzer)
    if state.own(call.api_version, call.analyzer) is not None:
        raise answers.already_exists(call.analyzer)
    source, found = _permitted_source(world, state, call)
    models = _target_models(definitions.models_of(found.body), call.body.get("deployments"))
    warnings = _check_models(source, state, definitions.models_of(found.body), models)
    body = definitions.copied(found.body, call.analyzer, call.now)
    if models:
        body["models"] = dict(models)
    state.begin(
        call.id, call.api_version, body, is_copy=True, twist=call.twist, warnings=warnings, training=found.training
    )
    answer: JsonObject = {"analyzerId": call.analyzer, "status": "creating"}
    if warnings:
        answer["warnings"] = list(warnings)
    return json_answer(answer, 200, call.operation_location("Operation-Location"))


def _permitted_source(world: World, target: ResourceState, call: Call) -> tuple[ResourceState, definitions.Stored]:
    url = _optional_url(call.body, "source")
    if url is None:
        raise answers.invalid_request("InvalidParameter", "'source' is required.")
    token = _optional_text(call.body, "authorizationToken")
    # Inferred: the emulator's resources have no role on each other, so a copy without a token is not granted.
    permitted = world.copy_tokens.get(token) if token else None
    if permitted is None or not permitted.opens(url, _url(target, call.analyzer)):
        raise answers.not_granted(url, url.rpartition("/")[2])
    if permitted.encryption_key != _optional_text(call.body, "decryptionKey"):
        raise answers.invalid_request(
            "InvalidDecryptionKey", "The authorization token cannot be decrypted with the key given."
        )
    source = world.resources[permitted.resource]
    source.settle()
    found = source.own(definitions.PREVIEW_2025, permitted.analyzer_id)
    if found is None:
        raise answers.invalid_request("ModelNotFound", f"The source analyzer '{permitted.analyzer_id}' was not found.")
    if found.status != "ready":
        raise answers.invalid_request("ModelNotReady", f"The source analyzer is {found.status}, not ready.")
    return source, found


def _target_models(models: Mapping[str, str], sent: JsonValue) -> dict[str, str]:
    if sent is None:
        return dict(models)
    if not isinstance(sent, dict):
        raise answers.invalid_request("InvalidParameter", "'deployments' must be an object.")
    return {role: _optional_text(sent, OVERRIDES.get(role, role)) or name for role, name in models.items()}


def _check_models(
    source: ResourceState, target: ResourceState, at_source: Mapping[str, str], at_target: Mapping[str, str]
) -> tuple[JsonValue, ...]:
    warnings: list[JsonValue] = []
    for role, name in at_target.items():
        deployment = target.settings.deployed.get(name)
        if deployment is None:
            text = f"The deployment '{name}' was not found in the target resource."
            raise answers.invalid_request("DeploymentNotFound", text)
        original = source.settings.deployed.get(at_source[role])
        if original is None or original.model == deployment.model:
            continue
        differ = f"model '{deployment.model}' differs from the source's '{original.model}'."
        if role == "embedding":
            raise answers.invalid_request("EmbeddingModelMismatch", f"The target's embedding {differ}")
        warnings.append({"code": "ChatCompletionModelMismatch", "message": f"The target's chat completion {differ}"})
    return tuple(warnings)


def _url(state: ResourceState, analyzer_id: str) -> str:
    return f"{state.place.endpoint}/contentunderstanding/analyzers/{quote(analyzer_id)}"


def _required_text(body: Mapping[str, JsonValue], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise answers.invalid_request("InvalidParameter", f"'{key}' is required.")
    return value


def _optional_text(body: Mapping[str, JsonValue], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise answers.invalid_request("InvalidParameter", f"'{key}' must be a string.")
    return value or None


def _optional_url(body: Mapping[str, JsonValue], key: str) -> str | None:
    value = _optional_text(body, key)
    if value is None:
        return None
    try:
        is_url = bool(urlsplit(value).netloc)
    except ValueError:
        is_url = False
    if not is_url:
        raise answers.invalid_request("InvalidParameter", f"'{key}' must be a URL.")
    return value
