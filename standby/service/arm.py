"""Azure's management plane, as far as it knows what a Content Understanding resource does not tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, TypeVar

import httpx
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from standby.clock import Clock
from standby.config.resource import EntraCredentials, Resource
from standby.service.auth import ARM_SCOPE, auth_for
from standby.service.calls import Answer, Call, Tls
from standby.service.errors import NotAuthorized
from standby.service.models import Account, CatalogModel, Deployment, Timestamp
from standby.service.retries import HttpRetries
from standby.service.sender import Sender

API_VERSION = "2024-10-01"
"""Of the provider Microsoft.CognitiveServices."""

CONNECTIONS = 2

MOST_PAGES = 100

Absent = BeforeValidator(lambda value: {} if value is None else value)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class _Model(_Part):
    name: str = ""
    version: str | None = None


class _DeploymentProperties(_Part):
    model: Annotated[_Model, Absent] = _Model()
    provisioning_state: str | None = Field(None, alias="provisioningState")


class _Sku(_Part):
    capacity: int | None = None


class _Deployment(_Part):
    name: str
    properties: Annotated[_DeploymentProperties, Absent] = _DeploymentProperties()
    sku: Annotated[_Sku, Absent] = _Sku()


class _Deployments(_Part):
    value: tuple[_Deployment, ...]
    next_link: str | None = Field(None, alias="nextLink")


class _Deprecation(_Part):
    inference: Timestamp = None


class _CatalogModel(_Part):
    name: str = ""
    version: str | None = None
    deprecation: Annotated[_Deprecation, Absent] = _Deprecation()


class _Catalog(_Part):
    value: tuple[_CatalogModel, ...]
    next_link: str | None = Field(None, alias="nextLink")


class _AccountProperties(_Part):
    endpoints: Annotated[dict[str, str], Absent] = Field(default_factory=dict)


class _Account(_Part):
    id: str
    location: str
    properties: Annotated[_AccountProperties, Absent] = _AccountProperties()


P = TypeVar("P", _Deployments, _Catalog)


class ArmClient:
    """Questions about one resource."""

    def __init__(
        self,
        resource: Resource,
        credentials: EntraCredentials,
        tls: Tls,
        retries: HttpRetries,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            resource: what is asked about, and where.
            credentials: its own; a key is of no use here.
            tls: which certificates are trusted.
            retries: how hard to try.
            clock: dates what is dated.
            transport: instead of the network, in tests.
        """
        self._resource = resource
        self._sender = Sender(
            name=f"the management plane of {resource.name}",
            endpoint=resource.arm_endpoint,
            auth=auth_for(credentials, ARM_SCOPE),
            tls=tls,
            connections=CONNECTIONS,
            limiter=None,
            retries=retries,
            clock=clock,
            transport=transport,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._sender.__aexit__()

    async def get_account(self) -> Account:
        """Read the resource: its id in Azure's own spelling, its region, its endpoints."""
        found = (await self._get(self._path())).read(_Account)
        return Account(id=found.id, location=found.location, endpoints=found.properties.endpoints)

    async def list_deployments(self) -> tuple[Deployment, ...]:
        """List the model deployments of the resource, over as many pages as there are."""
        pages = self._pages("deployments", _Deployments)
        return tuple([_deployment(entry) async for page in pages for entry in page.value])

    async def list_models(self) -> tuple[CatalogModel, ...]:
        """List the models that are offered to the resource, over as many pages as there are.

        A deployment does not tell when its model ends; the `deprecation.inference` of this list does
        (provider's specification, ModelDeprecationInfo). Inferred: that both spell model and version alike.
        """
        pages = self._pages("models", _Catalog)
        return tuple(
            [
                CatalogModel(entry.name, entry.version or "", entry.deprecation.inference)
                async for page in pages
                for entry in page.value
            ]
        )

    async def _pages(self, what: str, kind: type[P]) -> AsyncIterator[P]:
        answer = await self._get(self._path(f"/{what}"))
        for _ in range(MOST_PAGES):
            page = answer.read(kind)
            yield page
            if not page.next_link:
                return
            answer = await self._get(page.next_link, params={})
        raise answer.protocol_error(f"The list of {what} of {self._resource.name} does not end")

    def _path(self, below: str = "") -> str:
        return f"{self._resource.resource_id}{below}"

    async def _get(self, url: str, params: dict[str, str] | None = None) -> Answer:
        call = Call("GET", url, {"api-version": API_VERSION} if params is None else params)
        try:
            return await self._sender.send(call)
        except NotAuthorized as error:
            if error.status is None:
                # Entra gave no token: a role would not help.
                raise
            raise NotAuthorized(
                error.cause,
                f"Give the identity the role Reader on {self._resource.name}, "
                "or set its arm_endpoint to an empty string",
                status=error.status,
                code=error.code,
                inner_code=error.inner_code,
                request_id=error.request_id,
                resource=self._resource.name,
            ) from None


def _deployment(found: _Deployment) -> Deployment:
    return Deployment(
        name=found.name,
        model=found.properties.model.name,
        version=found.properties.model.version or "",
        capacity=found.sku.capacity,
        state=found.properties.provisioning_state or "",
    )
