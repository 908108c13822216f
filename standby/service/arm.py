"""Azure's management plane, for what a Content Understanding resource does not say itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Generic, TypeVar

import httpx
from pydantic import OnErrorOmit, ValidatorFunctionWrapHandler, WrapValidator

from standby.clock import Clock
from standby.config.resource import EntraCredentials, Resource, cloud_of
from standby.document import oddity
from standby.service.auth import auth_for
from standby.service.calls import Call, Page, Tls
from standby.service.errors import NotAuthorized
from standby.service.models import Account, CatalogModel, Deployment
from standby.service.retries import HttpRetries
from standby.service.sender import Sender

API_VERSION = "2024-10-01"  # Of the provider Microsoft.CognitiveServices
CONNECTIONS = 2
MOST_PAGES = 100

E = TypeVar("E", Deployment, CatalogModel)


def _each(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    """Let an entry that cannot be read cost itself only: what needs it finds none."""
    read = handler([entry for entry in value if not oddity(entry)] if isinstance(value, list) else value)
    if value and not read:
        raise ValueError("no list of this kind")  # Rather than an empty one.
    return read


class _Page(Page, Generic[E]):
    value: Annotated[tuple[OnErrorOmit[E], ...], WrapValidator(_each)]


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
        self._resource = resource
        cloud = cloud_of(resource.arm_endpoint)
        self._sender = Sender(
            name=f"the management plane of {resource.name}",
            endpoint=resource.arm_endpoint,
            auth=auth_for(credentials, f"{cloud.arm}/.default", cloud),
            tls=tls,
            connections=CONNECTIONS,
            quota=None,
            retries=retries,
            clock=clock,
            transport=transport,
        )

    async def aclose(self) -> None:
        await self._sender.aclose()

    async def get_account(self) -> Account:
        """Read the resource: its id in Azure's own spelling, its region, its endpoints."""
        with self._as_reader():
            return (await self._sender.read(self._asked("", "the resource"), Account))[1]

    async def list_deployments(self) -> tuple[Deployment, ...]:
        """List the model deployments of the resource, over as many pages as there are."""
        return await self._list("deployments", _Page[Deployment])

    async def list_models(self) -> tuple[CatalogModel, ...]:
        """List the models that are offered to the resource, over as many pages as there are."""
        # A deployment does not say when its model ends; the `deprecation.inference` of this list does (provider's
        # specification, ModelDeprecationInfo). Inferred: that both spell model and version alike.
        return await self._list("models", _Page[CatalogModel])

    async def _list(self, what: str, kind: type[_Page[E]]) -> tuple[E, ...]:
        with self._as_reader():
            call = self._asked(f"/{what}", f"the list of {what}")
            return tuple([each async for _, page in self._sender.pages(call, kind, MOST_PAGES) for each in page.value])

    def _asked(self, below: str, kind: str) -> Call:
        query = {"api-version": API_VERSION}
        return Call("GET", f"{self._resource.resource_id}{below}", query, kind=kind, first=True)

    @contextmanager
    def _as_reader(self) -> Iterator[None]:
        try:
            yield
        except NotAuthorized as error:
            if error.status is not None:  # Else Entra gave no token: a role would not help.
                name = error.resource = self._resource.name
                error.next_action = (
                    f"Give the identity the role Reader on {name}, or set its arm_endpoint to an empty string"
                )
            raise
