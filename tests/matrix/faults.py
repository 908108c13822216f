"""What may go wrong between us and the service, or in it: each a small declared value."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from functools import cache
from typing import Any

import httpx

from standby.emulator.faults import (
    AnalyzerFails,
    FaultRule,
    ForeignLocation,
    LoopingNextLink,
    OperationFails,
    OperationHangs,
    OperationVanishes,
    ShortGrant,
    VoidGrant,
)
from standby.emulator.faults import (
    Fault as Twist,
)
from tests.matrix.regions import SOURCE, TARGET, Regions

FOREVER = 1e9

READS = frozenset({"list", "next page", "get", "defaults", "poll"})
"""Calls that only ask: repeated whatever happened to their answer."""

STARTS = frozenset({"copy", "put"})
EVERY = READS | STARTS | {"grant", "delete"}
LISTS = frozenset({"list", "next page"})


@dataclass(frozen=True)
class Exchange:
    """A call that is on its way."""

    regions: Regions
    request: httpx.Request
    carry_out: Callable[[], httpx.Response]

    def later(self, **delta: float) -> str:
        """Write a time as a header does."""
        return format_datetime(self.regions.time.now() + timedelta(**delta), usegmt=True)

    def twisted(self, twist: Twist) -> httpx.Response:
        """Have the service carry it out, and do so wrongly."""
        self.regions.service.faults.add([FaultRule(fault=twist)])
        return self.carry_out()

    def with_json(self, change: Callable[[Any], Any]) -> httpx.Response:
        """Have it carried out, and its answer changed."""
        answer = self.carry_out()
        return _with_body(answer, json.dumps(change(json.loads(answer.content))).encode())


Happens = Callable[[Exchange], httpx.Response | float]


@dataclass(frozen=True)
class Fault:
    """What may happen to a call.

    Attributes:
        times: how often in a row; `None` is for as long as it is not ended.
        to: the calls it can happen to.
        spreads: from then on it happens to every call to the same region.
        passes: a run goes on as if nothing had been: whoever asks again is answered.
        copies: how often the target may take the copy in all: once, but where the service itself fails to make it.
        within: seconds after which a run has ended, where that is not the deadline of the call.
        stays: what it did to the service is not over when nothing else happens: the next run says so, too.
    """

    name: str
    happens: Happens
    times: int | None = 1
    to: frozenset[str] = EVERY
    spreads: bool = False
    passes: bool = False
    copies: int = 1
    within: float = 0.0
    stays: bool = False


def _raised(error: type[httpx.TransportError], words: str) -> Happens:
    def happens(exchange: Exchange) -> httpx.Response:
        raise error(words, request=exchange.request)

    return happens


def _lost(error: type[httpx.TransportError], words: str) -> Happens:
    """The call is carried out, and its answer never comes."""

    def happens(exchange: Exchange) -> httpx.Response:
        exchange.carry_out()
        raise error(words, request=exchange.request)

    return happens


def _silent(exchange: Exchange) -> float:
    del exchange
    return FOREVER


def _silent_after(exchange: Exchange) -> float:
    exchange.carry_out()
    return FOREVER


def _status(status: int, code: str = "", inner: str = "", **headers: str) -> Happens:
    error: dict[str, Any] = {"code": code or str(status), "message": "Injected."}
    if inner:
        error["innererror"] = {"code": inner, "message": "Injected."}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx.Response(status, json={"error": error}, headers=named)


def _body(content: bytes, **headers: str) -> Happens:
    """The call is carried out, and something else comes back."""

    def happens(exchange: Exchange) -> httpx.Response:
        answer = exchange.carry_out()
        return httpx.Response(answer.status_code, headers=_plain(answer) | headers, stream=_Bytes(content))

    return happens


class _Bytes(httpx.AsyncByteStream):
    """A body that comes in pieces, of which the last may be an error."""

    def __init__(self, *pieces: bytes | Exception, waits: Callable[[], Any] | None = None) -> None:
        self._pieces = pieces
        self._waits = waits

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if self._waits is not None:
                await self._waits()
            if isinstance(piece, Exception):
                raise piece
            yield piece


def _plain(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in {"content-length", "content-encoding"}}


def _with_body(answer: httpx.Response, content: bytes) -> httpx.Response:
    return httpx.Response(answer.status_code, headers=_plain(answer), content=content)


def _cut(exchange: Exchange) -> httpx.Response:
    answer = exchange.carry_out()
    return _with_body(answer, answer.content[: len(answer.content) * 2 // 3])


def _reset_in_body(exchange: Exchange) -> httpx.Response:
    answer = exchange.carry_out()
    half = answer.content[: len(answer.content) // 2]
    error = httpx.ReadError("connection reset by peer", request=exchange.request)
    return httpx.Response(answer.status_code, headers=_plain(answer), stream=_Bytes(half, error))


def _drip(exchange: Exchange) -> httpx.Response:
    answer = exchange.carry_out()
    pieces = [answer.content[place : place + 1] for place in range(len(answer.content))]
    waits = exchange.regions.time.sleep
    return httpx.Response(answer.status_code, headers=_plain(answer), stream=_Bytes(*pieces, waits=lambda: waits(5.0)))


def _location(spelled: Callable[[str], str | None]) -> Happens:
    """`Operation-Location` says something else."""

    def happens(exchange: Exchange) -> httpx.Response:
        answer = exchange.carry_out()
        if (right := answer.headers.pop("operation-location", None)) is None:
            return answer
        if (wrong := spelled(right)) is not None:
            answer.headers["operation-location"] = wrong
        return answer

    return happens


def _page(change: Callable[[dict[str, Any]], Any]) -> Happens:
    return lambda exchange: exchange.with_json(change)


def _linked(link: Any) -> Happens:
    return _page(lambda page: {**page, "nextLink": link})


def _endless(exchange: Exchange) -> httpx.Response:
    """Each page has names of its own, and leads to another."""
    if not exchange.request.url.path.endswith("/analyzers"):
        return exchange.carry_out()
    number = int(exchange.request.url.params.get("skip", "0")) + 1
    link = exchange.request.url.copy_merge_params({"skip": str(number)})
    entry = {"analyzerId": f"page-{number}", "status": "ready", "baseAnalyzerId": "prebuilt-document"}
    return httpx.Response(200, json={"value": [entry], "nextLink": str(link)})


def _empty_pages(exchange: Exchange) -> httpx.Response:
    if not exchange.request.url.path.endswith("/analyzers"):
        return exchange.carry_out()
    link = exchange.request.url.copy_merge_params({"skip": str(int(exchange.request.url.params.get("skip", "0")) + 1)})
    return httpx.Response(200, json={"value": [], "nextLink": str(link)})


def _twice(exchange: Exchange) -> httpx.Response:
    """Something on the way sends the request twice, and gives the second answer."""
    exchange.carry_out()
    return exchange.carry_out()


def _twist(twist: Twist) -> Happens:
    return lambda exchange: exchange.twisted(twist)


def _meanwhile(deed: Callable[[Regions], None]) -> Happens:
    """Somebody does something, just before the call is carried out."""

    def happens(exchange: Exchange) -> httpx.Response:
        deed(exchange.regions)
        return exchange.carry_out()

    return happens


def _poll(**fields: Any) -> Happens:
    return lambda exchange: exchange.with_json(lambda said: {**said, **fields})


def _shown(**fields: Any) -> Happens:
    """An analyzer that is read shows something else."""
    return lambda exchange: exchange.with_json(lambda said: {**said, **fields})


def _dated(**delta: float) -> Happens:
    def happens(exchange: Exchange) -> httpx.Response:
        answer = exchange.carry_out()
        answer.headers["date"] = exchange.later(**delta)
        return answer

    return happens


def _retry_date(exchange: Exchange) -> httpx.Response:
    return httpx.Response(429, json={"error": {"code": "429"}}, headers={"retry-after": exchange.later(seconds=8)})


@cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b" " * 1_000_000
    return b"".join([packer.compress(b'{"value": "'), *(packer.compress(zeros) for _ in range(100)), packer.flush()])


DEEP = b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def _bombed(exchange: Exchange) -> httpx.Response | float:
    return _body(_bomb(), **{"content-encoding": "gzip"})(exchange)


def _slow(exchange: Exchange) -> httpx.Response:
    settings = exchange.regions.service.resources[TARGET].settings
    usual, settings.service_time = settings.service_time, 2400.0
    answer = exchange.carry_out()
    settings.service_time = usual
    return answer


def _elsewhere(url: str) -> str:
    return str(httpx.URL(url).copy_with(host="elsewhere.invalid"))


def _delete(where: str, name: str) -> Callable[[Regions], None]:
    return lambda regions: regions.remove(where, name)


def _edit(regions: Regions) -> None:
    regions.edit("invoice", description="edited in the middle of a run")


def _defaults(where: str) -> Callable[[Regions], None]:
    def vanish(regions: Regions) -> None:
        regions.service.resources[where].settings.defaults = None

    return vanish


def both(name: str, happens: Happens, **options: Any) -> tuple[Fault, Fault]:
    """Make what happens once, and what happens for as long as nobody ends it."""
    once: dict[str, Any] = {"passes": True, **options}
    return Fault(f"{name}, once", happens, **once), Fault(f"{name}, for ever", happens, None, **options)


CONNECTIONS = (
    *both("connection refused", _raised(httpx.ConnectError, "[Errno 111] Connection refused")),
    *both("name not resolved", _raised(httpx.ConnectError, "[Errno -2] Name or service not known")),
    *both("no connection in time", _raised(httpx.ConnectTimeout, "")),
    Fault(
        "wrong authority", _raised(httpx.ConnectError, "[SSL: CERTIFICATE_VERIFY_FAILED] unable to get issuer"), None
    ),
    *both("reset before the call", _raised(httpx.ReadError, "connection reset by peer")),
    *both("reset, and the call was taken", _lost(httpx.ReadError, "connection reset by peer")),
    *both("closed without an answer", _lost(httpx.RemoteProtocolError, "Server disconnected")),
    *both("reset in the body", _reset_in_body),
    *both("drips a byte every 5 s", _drip, passes=False),
    *both("hangs", _silent, passes=False),
    *both("hangs, and the call was taken", _silent_after, passes=False),
)

BODIES = (
    *both("truncated", _cut),
    *both("HTML", _body(b"<html><body>Sign in to the network</body></html>", **{"content-type": "text/html"})),
    *both("empty", _body(b"")),
    *both("broken gzip", _body(b"\x1f\x8b\x08\x00 not gzip at all", **{"content-encoding": "gzip"})),
    *both("invalid UTF-8", _body(b'{"value": "\xff\xfe"}'), passes=False),
    Fault("100 MB in a small gzip", _bombed, None),
    Fault("100,000 levels", _body(DEEP), None),
    *both("null", _body(b"null")),
    *both("a list", _body(b"[]")),
)

STATUSES = (
    *both("408", _status(408)),
    *both("429", _status(429)),
    *both("429, Retry-After 0", _status(429, retry_after="0")),
    *both("429, Retry-After -5", _status(429, retry_after="-5")),
    Fault("429, Retry-After 1e9", _status(429, retry_after="1e9"), passes=True),
    Fault("429, Retry-After 1000000000", _status(429, retry_after="1000000000"), passes=True, within=800.0),
    Fault("429, Retry-After a date", _retry_date, passes=True),
    Fault("429, Retry-After words", _status(429, retry_after="soon"), passes=True),
    *both("500", _status(500, "InternalServerError")),
    *both("502", _status(502)),
    *both("503", _status(503, "ServiceUnavailable")),
    Fault("503, three times", _status(503, "ServiceUnavailable"), 3, EVERY - STARTS, passes=True),
    Fault("503, three times, to what begins", _status(503, "ServiceUnavailable"), 3, STARTS),
    *both("504", _status(504)),
    *both("400", _status(400, "InvalidRequest"), passes=False),
    *both("401", _status(401, "Unauthorized"), passes=False),
    *both("403", _status(403, "Forbidden"), passes=False),
    *both("404", _status(404, "NotFound", "ModelNotFound"), passes=False),
    *both("409", _status(409, "Conflict", "ModelExists"), passes=False),
    Fault("410", _status(410, "ApiVersionRetired"), None),
    Fault(
        "redirected elsewhere", lambda _: httpx.Response(307, headers={"location": "https://elsewhere.invalid/"}), None
    ),
    Fault("redirected to itself", lambda e: httpx.Response(307, headers={"location": str(e.request.url)}), None),
)

GRANT, COPY, POLL, GET = frozenset({"grant"}), frozenset({"copy"}), frozenset({"poll"}), frozenset({"get"})

WORK = (
    Fault("grants nothing", _twist(VoidGrant()), None, GRANT),
    Fault("grants nothing, once", _twist(VoidGrant()), 1, GRANT),
    Fault("grant is over", _twist(ShortGrant(seconds=-10)), None, GRANT),
    Fault("grant is over, once", _twist(ShortGrant(seconds=-10)), 1, GRANT),
    Fault("grant ends in 20 s", _twist(ShortGrant(seconds=20)), None, GRANT),
    Fault("operation never ends", _twist(OperationHangs()), None, STARTS, copies=2, within=800.0, stays=True),
    Fault("operation takes 40 minutes", _slow, None, STARTS, within=800.0),
    Fault("operation fails", _twist(OperationFails()), None, STARTS, copies=2),
    Fault("operation is not found", _twist(OperationVanishes()), None, STARTS, passes=True),
    Fault("analyzer ends as failed", _twist(AnalyzerFails()), None, STARTS, copies=2),
    Fault("Operation-Location elsewhere", _twist(ForeignLocation()), None, STARTS),
    Fault("Operation-Location missing", _location(lambda _: None), None, STARTS),
    Fault("Operation-Location empty", _location(lambda _: ""), None, STARTS),
    Fault("Operation-Location relative", _location(lambda url: str(httpx.URL(url).raw_path, "ascii")), None, STARTS),
    Fault("Operation-Location without TLS", _location(lambda url: url.replace("https:", "http:")), None, STARTS),
    Fault("Operation-Location no URL", _location(lambda _: "https://[::1"), None, STARTS),
    Fault("Operation-Location with a user", _location(lambda url: url.replace("//", "//u:p@")), None, STARTS),
    Fault("Operation-Location of another host, same words", _location(_elsewhere), None, STARTS),
    Fault("says Running for ever", _poll(status="Running"), None, POLL),
    Fault("says something unknown", _poll(status="Resting"), None, POLL),
    Fault("says no status", _poll(status=None), None, POLL),
    Fault("says Failed, though it is made", _poll(status="Failed"), None, POLL),
    Fault("succeeded but creating, for a while", _shown(status="creating"), 3, GET, passes=True),
    Fault("succeeded but creating", _shown(status="creating"), None, GET),
    Fault("succeeded but failed", _shown(status="failed"), None, GET),
    Fault("succeeded but different", _shown(description="not what was copied"), None, GET),
    Fault("succeeded but 404, five times", _status(404, "NotFound", "ModelNotFound"), 5, GET, passes=True),
    Fault("sent twice on the way", _twice, 1, passes=True, copies=2),
    Fault("clock two days ahead", _dated(days=2), None, passes=True),
    Fault("clock two days behind", _dated(days=-2), None, passes=True),
)

PAGES = (
    Fault("next page is itself", _twist(LoopingNextLink()), None, LISTS),
    Fault("next page elsewhere", _twist(ForeignLocation()), None, LISTS),
    Fault("next page a number", _linked(5), None, LISTS),
    Fault(
        "next page without TLS",
        _page(lambda page: {**page, "nextLink": "http://east.services.ai.azure.com/"}),
        None,
        LISTS,
    ),
    Fault("pages without an end", _endless, None, frozenset({"next page"}), spreads=True, within=240.0),
    Fault("empty pages without an end", _empty_pages, None, LISTS, spreads=True),
    Fault("no value", _page(lambda page: {"nextLink": None}), None, LISTS),
    Fault("value is null", _page(lambda page: {**page, "value": None}), None, LISTS),
    Fault("value is an object", _page(lambda page: {**page, "value": {}}), None, LISTS),
    Fault("each entry twice", _page(lambda page: {**page, "value": page["value"] * 2}), None, LISTS, passes=True),
    Fault(
        "a null among the entries",
        _page(lambda page: {**page, "value": [*page["value"], None]}),
        None,
        LISTS,
    ),
    Fault(
        "an entry without an id",
        _page(lambda page: {**page, "value": [*page["value"], {"status": "ready"}]}),
        None,
        LISTS,
    ),
)

PEOPLE = (
    Fault("source edited meanwhile", _meanwhile(_edit), 1, stays=True),
    Fault("source deleted meanwhile", _meanwhile(_delete(SOURCE, "invoice")), 1, stays=True),
    Fault("target deleted meanwhile", _meanwhile(_delete(TARGET, "invoice")), 1, copies=2),
    Fault("defaults of the target vanish", _meanwhile(_defaults(TARGET)), 1, spreads=True),
)

DEATHS = (
    Fault("region dies: refused", _raised(httpx.ConnectError, "[Errno 111] Connection refused"), None, spreads=True),
    Fault("region dies: hangs", _silent, None, spreads=True, within=800.0),
    Fault("region dies: 503", _status(503, "ServiceUnavailable"), None, spreads=True),
)

GROUPS: Mapping[str, tuple[Fault, ...]] = {
    "Connections": CONNECTIONS,
    "Bodies": BODIES,
    "Statuses": STATUSES,
    "The service's own work": WORK,
    "Lists": PAGES,
    "People, meanwhile": PEOPLE,
    "A region dies": DEATHS,
}

FAULTS = tuple(fault for group in GROUPS.values() for fault in group)
