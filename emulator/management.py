"""The management plane (ARM), as far as it knows subscriptions, their resources, and the deployments of these."""

from dataclasses import dataclass
from datetime import UTC

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from standby.document import JsonObject
from standby.emulator import answers, config, faults, gate, tokens
from standby.emulator.definitions import whole_seconds
from standby.emulator.world import Place, ResourceState, World

DEPLOYMENTS = "/deployments"
MODELS = "/models"
TYPE = "Microsoft.CognitiveServices/accounts"
SUBSCRIPTIONS = "/subscriptions"
_KINDS: dict[str, faults.CallKind] = {
    DEPLOYMENTS: "arm_deployments",
    MODELS: "arm_models",
    f"/providers/{TYPE.lower()}": "arm_accounts",
}


@dataclass(frozen=True)
class ManagementPlane(gate.Gate):
    """Answers about a resource to callers with a token of the right audience; a key is not enough (REFERENCE)."""

    is_data = False

    def answer(self, state: ResourceState, arrival: gate.Arrival) -> answers.Answer:
        """Give the resource, its deployments or its models, or list resources. Inferred: the words of refusals."""
        token, resources = (
            tokens.bearer_of(arrival.request.headers.get("authorization", "")),
            self.world.resources.values(),
        )
        if token is None or self.world.issuer.audience(token) != tokens.MANAGEMENT:
            raise answers.Refusal(401, "AuthenticationFailed", "Authentication failed.")
        if not arrival.request.query_params.get("api-version"):
            raise answers.Refusal(
                400, "MissingApiVersionParameter", "The api-version query parameter is required for all requests."
            )
        if arrival.kind == "arm_resource":
            return answers.json_answer(account(state.place))
        if arrival.kind == "arm_subscriptions":
            known = dict.fromkeys(subscription_of(each.place) for each in resources)
            return answers.json_answer({"value": [{"subscriptionId": each, "state": "Enabled"} for each in known]})
        if arrival.kind == "arm_accounts":
            places, here = [each.place for each in resources], subscription_of(state.place)
            beside = [account(place) for place in places if subscription_of(place) == here]
            return _paged(arrival, beside, state.settings.page_size)
        deployments = state.settings.deployed.values()
        if arrival.kind == "arm_models":
            return answers.json_answer({"value": [_model(found) for found in deployments]})
        return answers.json_answer({"value": [_deployment(state.place, found) for found in deployments]})

    def respond(self, _: ResourceState, arrival: gate.Arrival, answer: answers.Answer) -> Response:
        return management_response(answer, arrival.id)


@dataclass(frozen=True)
class Management:
    """An ASGI application that finds the resource of a path, whose case does not matter.

    A list of resources is answered, and can be made to fail, by the first resource of its subscription.
    """

    world: World

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope["path"]).rstrip("/").lower()
        kind: faults.CallKind = next((kind for end, kind in _KINDS.items() if path.endswith(end)), "arm_resource")
        kind = "arm_subscriptions" if path == SUBSCRIPTIONS else kind
        about = path.removesuffix(DEPLOYMENTS).removesuffix(MODELS)
        for name, state in self.world.resources.items():
            listed = f"{SUBSCRIPTIONS}/{subscription_of(state.place)}/providers/{TYPE}".lower()
            if about in {SUBSCRIPTIONS, listed, state.place.resource_id.lower()}:
                await ManagementPlane(self.world, name, kind)(scope, receive, send)
                return
        refusal = answers.Refusal(404, "ResourceNotFound", "The resource was not found.")
        await management_response(refusal.answer(), "")(scope, receive, send)


def management_response(answer: answers.Answer, call_id: str) -> Response:
    headers = (("x-ms-request-id", call_id), ("Content-Length", str(len(answer.body))))
    return answers.SpelledResponse(
        answer.status, answer.body, (*headers, ("Content-Type", "application/json; charset=utf-8"), *answer.headers)
    )


def subscription_of(place: Place) -> str:
    return place.resource_id.split("/")[2]


def _paged(arrival: gate.Arrival, entries: list[JsonObject], size: int | None) -> answers.Answer:
    """Give one page of a list, with the link to the next. Inferred: the name of what goes on there."""
    first = int(arrival.request.query_params.get("$skiptoken", "0"))
    end = len(entries) if size is None else first + size
    page: JsonObject = {"value": [*entries[first:end]]}
    if end < len(entries):
        page["nextLink"] = str(arrival.request.url.include_query_params(**{"$skiptoken": end}))
    return answers.json_answer(page)


def account(place: Place) -> JsonObject:
    """Give a resource as ARM shows it, in its right spelling."""
    url = f"{place.endpoint}/"
    return {
        "id": place.resource_id,
        "name": place.name,
        "type": TYPE,
        "kind": "AIServices",
        "location": place.region,
        "sku": {"name": "S0"},
        "properties": {
            "customSubDomainName": place.name,
            "publicNetworkAccess": "Enabled",
            "endpoint": url,
            "endpoints": {"AI Foundry API": url, "Content Understanding": url},
            "provisioningState": "Succeeded",
        },
    }


def _model(deployment: config.Deployment) -> JsonObject:
    # Of the real list, which has hundreds, only what is deployed here.
    ends = deployment.retires_at
    return {
        "format": "OpenAI",
        "name": deployment.model,
        "version": deployment.version,
        "lifecycleStatus": "GenerallyAvailable",
        "deprecation": {"inference": whole_seconds(ends.astimezone(UTC))} if ends else {},
    }


def _deployment(place: Place, deployment: config.Deployment) -> JsonObject:
    return {
        "id": f"{place.resource_id}{DEPLOYMENTS}/{deployment.name}",
        "type": f"{TYPE}{DEPLOYMENTS}",
        "name": deployment.name,
        "sku": {"name": "GlobalStandard", "capacity": deployment.capacity},
        "properties": {
            "model": {"format": "OpenAI", "name": deployment.model, "version": deployment.version},
            "provisioningState": "Succeeded",
        },
    }
