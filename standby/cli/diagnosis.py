"""Whether a resource can be worked with: connection, permission, identity, defaults, deployments, clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from standby.cli.telling import cause_of
from standby.clock import Clock
from standby.replication.dependencies import PREBUILT
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import ArmUnavailable, NotAuthorized, ServiceError
from standby.service.models import Account
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
    """Look at one resource; where it cannot be reached or refuses us, only at what may be the cause."""
    name = client.resource.name
    try:
        analyzers = await client.list_analyzers()
    except NotAuthorized as error:
        if error.status is not None:
            yield _answers(client)
        yield Check(name, "permission", False, cause_of(error), error.next_action)
        # Entra refuses whoever is at another time.
        yield await _clock(client, clock)
        return
    except ServiceError as error:
        yield Check(name, "connection", False, cause_of(error), error.next_action)
        return
    own = sum(not analyzer.analyzer_id.startswith(PREBUILT) for analyzer in analyzers)
    yield _answers(client)
    yield Check(name, "permission", True, f"its {own} own analyzers can be listed")
    defaults = None
    if client.resource.api_version != SEED_PAGE_API_VERSION:
        defaults, check = await _defaults(client)
        yield check
    async for check in _management(client, defaults or {}):
        yield check
    yield await _clock(client, clock)


def _answers(client: ContentUnderstandingClient) -> Check:
    return Check(client.resource.name, "connection", True, f"{client.resource.endpoint} answers")


async def _defaults(client: ContentUnderstandingClient) -> tuple[Mapping[str, str] | None, Check]:
    name = client.resource.name
    try:
        defaults = (await client.get_defaults()).model_deployments
    except ServiceError as error:
        return None, Check(name, "defaults", False, cause_of(error), error.next_action)
    return defaults, Check(name, "defaults", True, f"{len(defaults)} model names lead to deployments")


async def _management(
    client: ContentUnderstandingClient, defaults: Mapping[str, str]
) -> AsyncIterator[Check]:
    name = client.resource.name
    try:
        yield _identity(client, await client.get_account())
        deployments = {deployment.name for deployment in await client.list_deployments()}
    except ArmUnavailable as error:
        yield Check(name, "deployments", None, cause_of(error), error.next_action)
        return
    except ServiceError as error:
        yield Check(name, "deployments", False, cause_of(error), error.next_action)
        return
    dangling = list(_dangling(defaults, deployments))
    if dangling:
        yield Check(
            name,
            "deployments",
            False,
            f"its defaults lead to deployments that it does not have: {', '.join(dangling)}",
            "Create them, or PATCH its /contentunderstanding/defaults to lead to others",
        )
    else:
        yield Check(name, "deployments", True, f"its {len(deployments)} deployments can be read")


def _dangling(defaults: Mapping[str, str], deployments: set[str]) -> Iterator[str]:
    for model, deployment in sorted(defaults.items()):
        # A deployment of a connected resource is not in this one's list (REFERENCE, *The analyzer*).
        if "/" not in deployment and deployment not in deployments:
            yield f"{model} to {deployment}"


def _identity(client: ContentUnderstandingClient, account: Account) -> Check:
    resource = client.resource
    # The service was seen to compare resource ids by case (REFERENCE): the spelling has to be Azure's own.
    if account.id != resource.resource_id:
        return Check(
            resource.name,
            "identity",
            False,
            "its resource_id is spelled differently in Azure, and the service compares it letter by letter",
            f"Write resource_id: {account.id}",
        )
    if _plain(account.location) != _plain(resource.region):
        return Check(
            resource.name,
            "identity",
            False,
            f"it is in {account.location}, not in {resource.region}",
            f"Write region: {_plain(account.location)}",
        )
    return Check(resource.name, "identity", True, f"resource id and region {resource.region} are right")


def _plain(region: str) -> str:
    return region.replace(" ", "").lower()


async def _clock(client: ContentUnderstandingClient, clock: Clock) -> Check:
    name = client.resource.name
    there = await _time_at(client)
    if there is None:
        return Check(
            name, "clock", None, "the service told no time", "Compare this machine's clock with another one"
        )
    skew = abs(clock.now() - there)
    if skew > TOLERATED_SKEW:
        return Check(
            name, "clock", False, f"this machine is {skew.total_seconds():.0f} s off", "Set its clock by NTP"
        )
    return Check(name, "clock", True, f"within {max(skew.total_seconds(), 1):.0f} s of the service")


async def _time_at(client: ContentUnderstandingClient) -> datetime | None:
    try:
        async with httpx.AsyncClient(timeout=10, verify=client.tls) as plain:
            # No credentials are needed, or sent: the refusal has a date, too.
            answer = await plain.get(client.resource.endpoint)
        return parsedate_to_datetime(answer.headers["Date"])
    except (httpx.HTTPError, KeyError, ValueError):
        return None
