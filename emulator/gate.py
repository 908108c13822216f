"""The handling around every call: counters, latency, outages and faults."""

import re
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from http.client import responses
from typing import ClassVar, assert_never

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from standby.emulator import answers, faults, tokens
from standby.emulator.world import ResourceState, World

NOT_JSON = {
    "page": b"<html><body>Not what you asked for.</body></html>",
    "half": b'{"value":[{"analyzerId":"in',
    "gzip": b"{}",
}


@dataclass(frozen=True)
class Arrival:
    """A call as it came in; `id` is its `apim-request-id`."""

    kind: faults.CallKind
    request: Request
    body: bytes
    twist: faults.Twist | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True)
class Gate(ABC):
    """An ASGI application for one kind of call to one resource; outages and the quota are about the data plane."""

    world: World
    resource: str
    kind: faults.CallKind
    is_data: ClassVar[bool]

    @abstractmethod
    def answer(self, state: ResourceState, arrival: Arrival) -> answers.Answer:
        """Carry the call out, or raise a `Refusal`."""

    @abstractmethod
    def respond(self, state: ResourceState, arrival: Arrival, answer: answers.Answer) -> Response:
        """Put the headers of this plane around an answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        response = await self._response(Arrival(self.kind, request, body))
        await response(scope, receive, send)

    async def _response(self, arrival: Arrival) -> Response:
        state, request = self.world.resources[self.resource], arrival.request
        state.stats.called(self.kind, data_plane=self.is_data, now=tokens.TIME.monotonic())
        await answers.pause(state.settings.latency, request.receive)
        outage = self.world.outages[self.resource] if self.is_data else "none"
        if outage == "hang":
            return answers.Silence()
        if outage == "unavailable":
            # Inferred: the body of a 503.
            refusal = answers.Refusal(503, "ServiceUnavailable", "The service is temporarily unavailable.")
            return self._counted(arrival, refusal.answer())
        analyzer = request.path_params.get("analyzer")
        delay, instead, twist = self.world.faults.next(self.resource, self.kind, analyzer)
        await answers.pause(delay, request.receive)
        arrival = replace(arrival, twist=twist)
        if instead is None:
            return self._counted(arrival, self._answer(arrival))
        if instead.process:
            self._answer(arrival)
        return self._instead(arrival, instead)

    def _answer(self, arrival: Arrival) -> answers.Answer:
        state = self.world.resources[self.resource]
        state.settle()
        try:
            answer = self.answer(state, arrival)
        except answers.Refusal as refusal:
            return refusal.answer()
        twist = arrival.twist
        if isinstance(twist, faults.Rewritten) and (found := re.search(twist.pattern.encode(), answer.body)):
            begin, end = found.span(found.re.groups and 1)
            return replace(answer, body=answer.body[:begin] + twist.text.encode("latin-1") + answer.body[end:])
        return answer

    def _instead(self, arrival: Arrival, fault: faults.Replacement) -> Response:
        match fault:
            case faults.Drop():
                return answers.Hangup()
            case faults.Hang():
                return answers.Silence()
            case faults.Status():
                return self._counted(arrival, _status_answer(fault))
            case faults.Redirect():
                place = f"{fault.origin}{arrival.request.url.path}?{arrival.request.url.query}"
                return self._counted(arrival, answers.Answer(307, headers=(("Location", place),)))
            case faults.Malformed():
                coding: tuple[answers.Header, ...] = (("Content-Encoding", "gzip"),) if fault.body == "gzip" else ()
                return self._counted(arrival, answers.Answer(200, NOT_JSON.get(fault.body, b""), coding))
            case _:
                assert_never(fault)

    def _counted(self, arrival: Arrival, answer: answers.Answer) -> Response:
        state = self.world.resources[self.resource]
        state.stats.answered(answer.status, len(answer.body))
        return self.respond(state, arrival, answer)


def _status_answer(fault: faults.Status) -> answers.Answer:
    inner = (fault.inner_code, fault.message) if fault.inner_code else None
    headers: tuple[answers.Header, ...] = ()
    if fault.retry_after is not None:
        is_whole = isinstance(fault.retry_after, float) and fault.retry_after.is_integer()
        headers = (("Retry-After", str(int(fault.retry_after) if is_whole else fault.retry_after)),)
    code = fault.code or responses.get(fault.status, str(fault.status)).replace(" ", "").replace("-", "")
    return answers.Refusal(fault.status, code, fault.message, inner, headers).answer()
