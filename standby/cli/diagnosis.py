"""Whether a resource can be worked with: connection, permission, identity, defaults, deployments, clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime

import httpx

from standby.clock import Clock
from standby.replication.dependencies import PREBUILT
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import ArmUnavailable, ServiceError
from standby.service.resource import SEED_PAGE_API_VERSION

TOLERATED_SKEW = timedelta(minutes=5)
"""Entra refuses tokens on clocks that differ by more."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        well: `None` where it could not be told.
        next_action: the one thing to do; empty where all is well.
    """

    subject: str
    name: str
    well: bool | None
    detail: str
    next_action: str = ""


async def diagnose(client: ContentUnderstandingClient, clock: Clock) -> AsyncIterator[Check]:
    """Look at one resource; the first failed call ends it, because the others would say the same."""
    name, endpoint = client.resource.name, client.resource.endpoint
    try:
        analyzers = await client.list_analyzers()
    except ServiceError as error:
        yield Check(name, "connection", False, error.cause, error.next_action)
        return
    own = sum(not analyzer.analyzer_id.startswith(PREBUILT) for analyzer in analyzers)
    yield Check(name, "connection", True, f"{endpoint} answers")
    yield Check(name, "permission", True, f"{own} analyzers of its own can be listed")
    if client.resource.api_version != SEED_PAGE_API_VERSION:
        yield await _defaults(client)
    async for check in _management(client):
        yield check
    yield await _clock(client, clock)


async def _defaults(client: ContentUnderstandingClient) -> Check:
    name = client.resource.name
    try:
        defaults = (await client.get_defaults()).model_deployments
    except ServiceError as error:
        return Check(name, "defaults", False, error.cause, error.next_action)
    return Check(name, "defaults", True, f"{len(defaults)} model names lead to deployments")


async def _management(client: ContentUnderstandingClient) -> AsyncIterator[Check]:
    resource = client.resource
    try:
        account = await client.get_account()
        deployments = await client.list_deployments()
    except ArmUnavailable as error:
        yield Check(resource.name, "deployments", None, error.cause, error.next_action)
        return
    except ServiceError as error:
        yield Check(resource.name, "deployments", False, error.cause, error.next_action)
        return
    # The service was seen to compare resource ids by case (REFERENCE): the spelling has to be Azure's own.
    if account.id != resource.resource_id:
        yield Check(
            resource.name,
            "identity",
            False,
            "its resource_id is spelled differently in Azure",
            f"Write resource_id: {account.id}",
        )
    elif account.location.replace(" ", "").lower() != resource.region.replace(" ", "").lower():
        yield Check(
            resource.name,
            "identity",
            False,
            f"it is in {account.location}, not in {resource.region}",
            f"Write region: {account.location}",
        )
    else:
        yield Check(resource.name, "identity", True, f"resource id and region {resource.region} are right")
    yield Check(resource.name, "deployments", True, f"{len(deployments)} deployments can be read")


async def _clock(client: ContentUnderstandingClient, clock: Clock) -> Check:
    name = client.resource.name
    try:
        async with httpx.AsyncClient(timeout=10, verify=client.tls, trust_env=False) as plain:
            # No credentials are needed, or sent: the refusal has a date, too.
            answer = await plain.get(client.resource.endpoint)
        there = parsedate_to_datetime(answer.headers["Date"])
    except (httpx.HTTPError, KeyError, ValueError):
        return Check(name, "clock", None, "the service told no time")
    skew = abs(clock.now() - there)
    if skew > TOLERATED_SKEW:
        return Check(
            name, "clock", False, f"this machine is {skew.total_seconds():.0f} s off", "Set its clock by NTP"
        )
    return Check(name, "clock", True, f"within {max(skew.total_seconds(), 1):.0f} s of the service")
