"""The probe: one functional look at a resource's data plane, from wherever it runs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

import httpx

from standby.clock import Clock
from standby.concurrency import side_by_side
from standby.recovery.watch.observation import Check, Observation, observed
from standby.recovery.watch.tries import Limits, check
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import ServiceError
from standby.service.resource import Resource
from standby.service.retrying import HttpRetries
from standby.service.tls import Tls, trusted_certificates

ONCE = HttpRetries(attempts=1, total=0.0)
"""A probe counts its tries itself: the retries of a copy would hide an outage for minutes."""

LIMITS = Limits()

SIGN_IN_SECONDS = 20.0
"""What a token may take."""


def observer_here(part: str) -> str:
    """Name an observer of this machine, the same in every run.

    Args:
        part: what of us looks, such as `watch`.
    """
    return f"{part}@{socket.gethostname()}"


def probe_client(
    resource: Resource, tls: Tls, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
) -> ContentUnderstandingClient:
    """Make a client for probes: with a connection of its own, and a quota that no copy uses up."""
    return ContentUnderstandingClient(resource, tls=tls, retries=ONCE, clock=clock, transport=transport)


async def probe(
    client: ContentUnderstandingClient, observer: str, clock: Clock, limits: Limits = LIMITS
) -> Observation:
    """Look at a resource once: its defaults, and the first page of its analyzers.

    Signing in comes before, with a time limit of its own: a slow Entra is no outage of the resource.

    Args:
        client: made by `probe_client`.
        observer: who looks.
        clock: dates and measures.
        limits: how long each check may take, and how often it is tried.
    """
    refused = await _sign_in(client, clock)
    at, begun = clock.now(), clock.monotonic()
    checks = [refused] if refused is not None else await _checks(client, limits, clock)
    seconds = max(0.0, clock.monotonic() - begun)
    return observed(client.resource.name, observer, at, seconds, checks)


async def _sign_in(client: ContentUnderstandingClient, clock: Clock) -> Check | None:
    """Have a token ready; give a check only where none can be had."""
    begun = clock.monotonic()
    try:
        async with asyncio.timeout(SIGN_IN_SECONDS):
            await client.sign_in()
    except ServiceError as error:
        detail, code = error.cause, type(error).__name__
    except TimeoutError:
        detail, code = f"Entra gave no token within {SIGN_IN_SECONDS:g} s", "Timeout"
    else:
        return None
    seconds = max(0.0, clock.monotonic() - begun)
    return Check(name="sign-in", ok=None, detail=detail, seconds=seconds, code=code)


async def _checks(client: ContentUnderstandingClient, limits: Limits, clock: Clock) -> list[Check]:
    async with side_by_side() as group:
        tasks = [
            group.create_task(check("defaults", client.get_defaults, limits, clock)),
            group.create_task(check("listing", client.list_first_page, limits, clock)),
        ]
    return [task.result() for task in tasks]


async def look_at(
    resources: Iterable[Resource],
    observer: str,
    clock: Clock,
    *,
    tls: Tls | None = None,
    limits: Limits = LIMITS,
) -> dict[str, Observation]:
    """Look at several resources side by side.

    Args:
        resources: each with its own name.
        observer: who looks.
        clock: dates and measures.
        tls: which certificates are trusted; the machine's own, if left out.
        limits: of every check.

    Returns:
        Observations by the name of the resource.
    """
    trusted = tls or trusted_certificates()

    async def look(resource: Resource) -> Observation:
        async with probe_client(resource, trusted, clock) as client:
            return await probe(client, observer, clock, limits)

    async with side_by_side() as group:
        tasks = {resource.name: group.create_task(look(resource)) for resource in resources}
    return {name: task.result() for name, task in tasks.items()}
