"""The control: how a test, a drill or a demonstration plays with the emulator."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from standby.document import JsonObject
from standby.emulator import config, definitions, faults, tokens
from standby.emulator.management import Management
from standby.emulator.world import World

T = TypeVar("T")

Impose = Callable[[], Awaitable[None]]  # Opens and closes ports, so that they fit the outages of the world


class Refused(Exception):
    """A body of the control is wrong; the message is the sentence that is answered."""


class Control:
    def __init__(self, world: World, impose: Impose) -> None:
        self._world = world
        self._impose = impose

    def app(self) -> ASGIApp:
        """Make the application that serves the control, the identity endpoint and the management plane."""

        def route(method: str, path: str, call: Callable[[Request], Awaitable[JsonObject | None]]) -> Route:
            async def explained(request: Request) -> Response:
                try:
                    return JSONResponse(await call(request) or {})
                except Refused as refused:
                    return JSONResponse({"error": f"{refused}."}, 400)

            return Route(path, explained, methods=[method])

        return Router(
            [
                route("GET", "/stats", self.stats),
                route("POST", "/reset", self.reset),
                route("POST", "/settings", self.settings),
                route("POST", "/outages", self.outages),
                route("POST", "/faults", self.add_faults),
                route("DELETE", "/faults", self.remove_faults),
                route("POST", "/edit", self.edit),
                Route("/identity", self._world.issuer.endpoint, methods=["GET"]),
                Route("/{path:path}", Management(self._world), methods=["GET"]),
            ],
            redirect_slashes=False,
        )

    async def stats(self, _: Request) -> JsonObject:
        for state in self._world.resources.values():
            state.settle()
            state.count_results()
        return {"resources": {name: state.stats.to_json() for name, state in self._world.resources.items()}}

    async def reset(self, _: Request) -> None:
        self._world.reset()
        await self._impose()

    async def settings(self, request: Request) -> None:
        change = _read(config.SettingsChange, await request.body())
        self._known(change.resource)
        self._world.change(change)

    async def outages(self, request: Request) -> None:
        outage = _read(config.Outage, await request.body())
        self._known(outage.resource)
        self._world.outages[outage.resource] = outage.kind
        await self._impose()

    async def add_faults(self, request: Request) -> None:
        body = await request.body()
        rules = _read(list[faults.FaultRule], body if body.lstrip().startswith(b"[") else b"[%b]" % body)
        for rule in rules:
            self._known(rule.resource)
        self._world.faults.add(rules)

    async def remove_faults(self, _: Request) -> None:
        self._world.faults = faults.FaultBook()

    async def edit(self, request: Request) -> None:
        order = _read(config.Edit, await request.body())
        self._known(order.resource)
        state = self._world.resources[order.resource]
        state.settle()
        versions = [order.api_version] if order.api_version else list(state.api_versions)
        found = [(version, state.own(version, order.analyzer)) for version in versions]
        now = {"lastModifiedAt": definitions.whole_seconds(tokens.TIME.now())}
        if not any(analyzer for _, analyzer in found):
            raise Refused(f"{order.resource} has no analyzer {order.analyzer}")
        for version, analyzer in found:
            if analyzer is not None:
                body = definitions.merged({**analyzer.body, **now}, order.changes)
                training = str(uuid4()) if order.retrained else analyzer.training
                state.keep(version, order.analyzer, definitions.Stored(body, analyzer.operation_id, training))

    def _known(self, resource: str | None) -> None:
        if resource is not None and resource not in self._world.resources:
            names = ", ".join(self._world.resources)
            raise Refused(f"{resource} is not one of the resources, which are {names}")


def _read(kind: type[T], body: bytes) -> T:
    try:
        return TypeAdapter(kind).validate_json(body)
    except ValidationError as error:
        raise Refused(config.problems(error)) from None
