"""The active endpoint map posted to an address, signed so that the receiver knows who sent it, and when.

It is signed as standardwebhooks says: HMAC-SHA-256 over id, timestamp and body, with dots between them. The headers
that earlier versions sent are sent as well. The receiver keeps the highest epoch of a plan, and answers 409 to a lower
one.
"""

import asyncio
import hmac
import logging
from base64 import b64encode
from urllib.parse import urlsplit

import httpx
import stamina
from pydantic import SecretStr

from standby import __version__
from standby.clock import Clock, SystemClock
from standby.config.sinks import WebhookSink, signing_key
from standby.document import digest_of
from standby.recovery.activation.sinks import Activation, SinkAhead, SinkFailed
from standby.service.calls import Route, route_to, trusted_certificates
from standby.service.failures import parse_retry_after
from standby.service.redaction import keep_secret
from standby.service.retries import HttpRetries

log = logging.getLogger("standby.recovery")

RETRIES = HttpRetries(attempts=4, total=15.0, wait_initial=0.5, wait_max=4.0, retry_after_cap=10.0)
"""A receiver that fails for longer needs another run: the other sinks wait meanwhile."""

ATTEMPT_SECONDS = 5.0  # What one attempt may take in all


class _Again(Exception):
    """An attempt that may be repeated, after `retry_after` seconds where the receiver says so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class WebhookActivation:
    def __init__(
        self,
        settings: WebhookSink,
        name: str = "",
        *,
        retries: HttpRetries = RETRIES,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name or webhook_name(settings)
        # Its address may be a secret; another address is another receiver, to which nothing was posted yet.
        self.id = f"{webhook_name(settings)} {digest_of(settings.url.encode())[:16]}"
        self.required = settings.required
        self.readable = False
        self._settings = settings
        self._retries = retries
        self._clock = clock or SystemClock()
        self._transport = transport

    async def publish(self, activation: Activation) -> None:
        """Post the map; the same one again has the same idempotency key."""
        body = activation.model_dump_json().encode()
        tls = trusted_certificates()
        route = Route() if self._transport else route_to(self._settings.url, tls)
        if route.problem:
            raise SinkFailed(self.name, route.problem)
        client = httpx.AsyncClient(
            timeout=ATTEMPT_SECONDS,
            follow_redirects=False,
            proxy=route.proxy,
            trust_env=False,
            verify=tls,
            transport=self._transport,
        )
        # httpx logs the address as it writes it.
        keep_secret(SecretStr(httpx.URL(self._settings.url).raw_path.decode("ascii")))
        async with client as http:
            try:
                await self._send(http, activation, body)
            except _Again as failure:
                by = f", through {route.words}" if route.words else ""
                raise SinkFailed(self.name, f"{failure.reason}{by}") from None

    async def read(self, plan: str) -> Activation | None:  # noqa: ARG002 - a receiver is never asked
        return None

    async def _send(self, http: httpx.AsyncClient, activation: Activation, body: bytes) -> None:
        begun = self._clock.monotonic()

        def hook(error: Exception) -> bool | float:
            if not isinstance(error, _Again):
                return False
            wait = min(error.retry_after or 0.0, self._retries.retry_after_cap)
            if self._clock.monotonic() - begun + wait > self._retries.total:
                return False
            return wait or True

        async for attempt in stamina.retry_context(
            on=hook,
            attempts=self._retries.attempts,
            timeout=None,
            wait_initial=self._retries.wait_initial,
            wait_max=self._retries.wait_max,
            wait_jitter=self._retries.wait_jitter,
        ):
            with attempt:
                await self._attempt(http, activation, body)

    async def _attempt(self, http: httpx.AsyncClient, activation: Activation, body: bytes) -> None:
        failure: Exception
        try:
            async with (
                asyncio.timeout(ATTEMPT_SECONDS),
                # Streamed and not read: only the status of the answer is needed.
                http.stream(
                    "POST", self._settings.url, content=body, headers=self._headers(activation, body)
                ) as response,
            ):
                return self._judge(response, activation)
        except httpx.TransportError as error:
            failure = _Again(_words(error))
        except httpx.HTTPError as error:
            failure = SinkFailed(self.name, type(error).__name__)
        except TimeoutError:
            failure = _Again(f"no answer within {ATTEMPT_SECONDS:.0f} s")
        log.debug("%s: %s", self.name, failure)
        # Raised here and not above: httpx's error holds the request, and with it the address.
        raise failure

    def _judge(self, response: httpx.Response, activation: Activation) -> None:
        status = response.status_code
        if response.is_success:
            return
        if status == 409:
            text = response.headers.get("x-standby-epoch", "")
            there = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
            raise SinkAhead(self.name, there, activation.epoch)
        if response.is_redirect:
            reason = f"it answers HTTP {status}, and redirects are not followed"
            raise SinkFailed(self.name, reason, "Give its final address, then run again")
        if status in {408, 425, 429} or response.is_server_error:
            said = response.headers
            wait = parse_retry_after(said.get("retry-after"), date=said.get("date"), now=self._clock.now())
            raise _Again(f"it answers HTTP {status}", wait)
        raise SinkFailed(self.name, f"it answers HTTP {status}")

    def _headers(self, activation: Activation, body: bytes) -> dict[str, str]:
        stamp = str(int(self._clock.now().timestamp()))
        key = self._settings.secret.get_secret_value().encode()
        switching = any(endpoint is None for endpoint in activation.sources.values())
        publication = f"{activation.plan}-{activation.epoch}-{'nobody' if switching else 'active'}"
        message = f"{publication}-{activation.meaning[:16]}"
        return {
            "Content-Type": "application/json",
            "User-Agent": f"standby/{__version__}",
            "webhook-id": message,
            "webhook-timestamp": stamp,
            "webhook-signature": standard_signature(signing_key(self._settings.secret), message, stamp, body),
            # Until every receiver reads the three above.
            "Idempotency-Key": publication,
            "X-Standby-Epoch": str(activation.epoch),
            "X-Standby-Timestamp": stamp,
            "X-Standby-Signature": f"sha256={signature(key, stamp, body)}",
        }


def webhook_name(settings: WebhookSink) -> str:
    """Name a webhook by its host: path and query of its address are often a secret."""
    parts = urlsplit(settings.url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"webhook {host}:{parts.port}" if parts.port else f"webhook {host}"


def signature(key: bytes, timestamp: str, body: bytes) -> str:
    """Sign a body and the time at which it is sent as earlier versions did, in hexadecimal."""
    return hmac.digest(key, timestamp.encode() + b"." + body, "sha256").hex()


def standard_signature(key: bytes, message: str, timestamp: str, body: bytes) -> str:
    """Sign a message as standardwebhooks does: its id, the time at which it is sent, and its body."""
    signed = hmac.digest(key, f"{message}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{b64encode(signed).decode()}"


def _words(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {ATTEMPT_SECONDS:.0f} s"
    if isinstance(error, httpx.ConnectError):
        return "no connection"
    return f"the connection failed ({type(error).__name__})"
