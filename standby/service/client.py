"""The calls of one Content Understanding resource, and those of Azure's management plane that say what it does not."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Generic, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import AfterValidator, OnErrorOmit, ValidatorFunctionWrapHandler, WrapValidator

from standby.clock import Clock, SystemClock
from standby.concurrency import side_by_side
from standby.config.resource import PREVIEW_2025, Credentials, EntraCredentials, Resource, cloud_of
from standby.document import JsonObject, JsonValue, oddity
from standby.service import errors, models
from standby.service.analysis import Analysis
from standby.service.auth import auth_for
from standby.service.calls import Answer, Call, Page, Tls, trusted_certificates
from standby.service.models import Analyzer, StartedOperation
from standby.service.redaction import code_of
from standby.service.retries import HttpRetries, Quota, Repeat
from standby.service.sender import Sender

BASE = "/contentunderstanding"
SPARE_CONNECTIONS = 4  # Connections beside those of the copies in flight: grants for other targets, listings, defaults
PAGES_AHEAD = 2  # How many pages of a list may wait to be read: as JSON they take much memory
AT_A_TIME = 10  # Entries of a page that are read in a row, in about a millisecond
MOST_EMPTY_PAGES = 10  # So many pages of a list in a row may hold nothing; more are taken for a list without an end
MOST_CONNECTIONS = 50  # At a third of a second a call, so many make use of the largest quota three times over
RESULT = "the result of an analysis"  # What calls about one are about: its URL names no analyzer
_NO_ID = "this entry of its list of analyzers has no id. Correct it there, and run again"


def _names_something(value: list[Any]) -> list[Any]:
    if value and not any(map(models.has_id, value)):
        raise ValueError("no list of analyzers")  # Rather than an empty one.
    return value


class _Page(Page):
    value: Annotated[list[Any], AfterValidator(_names_something)]

    def analyzers(self, before: int = 0) -> Iterator[Analyzer]:
        """Read each entry by itself; one without an id is told by its place in the whole list."""
        for place, entry in enumerate(self.value, before + 1):
            is_named = models.has_id(entry)
            yield Analyzer.model_validate(entry) if is_named else Analyzer.nameless(f"entry {place}", _NO_ID)


OnEach = Callable[[Analyzer], object]


async def _take(pages: asyncio.Queue[_Page | None], found: dict[str, Analyzer], on_each: OnEach) -> None:
    """Read the analyzers of pages, a few at a time: what the service answers meanwhile is not left waiting."""
    entries = 0
    while (page := await pages.get()) is not None:
        for place, analyzer in enumerate(page.analyzers(entries)):
            # One that was added meanwhile moves others on to the next page: they are listed once.
            if analyzer.analyzer_id not in found:
                found[analyzer.analyzer_id] = analyzer
                on_each(analyzer)
            if place % AT_A_TIME == 0:
                await asyncio.sleep(0)
        entries += len(page.value)


ARM_VERSION = "2024-10-01"  # Of the provider Microsoft.CognitiveServices
ARM_CONNECTIONS = 2
MOST_ARM_PAGES = 100
SUBSCRIPTIONS_VERSION = "2022-12-01"  # Of the list of subscriptions, which has one of its own
E = TypeVar("E", models.Deployment, models.CatalogModel, models.ListedAccount, models.Subscription)


def _each(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    """Let an entry that cannot be read cost itself only: what needs it finds none."""
    read = handler([entry for entry in value if not oddity(entry)] if isinstance(value, list) else value)
    if value and not read:
        raise ValueError("no list of this kind")  # Rather than an empty one.
    return read


class _ArmPage(Page, Generic[E]):
    value: Annotated[tuple[OnErrorOmit[E], ...], WrapValidator(_each)]


class ArmClient:
    """Questions to Azure's management plane, about one resource or about what there is."""

    def __init__(
        self, about: str, endpoint: str, credentials: Credentials, open_sender: Callable[..., Sender], path: str = ""
    ) -> None:
        """Prepare to ask about the resource that is named `about` and whose id is `path`."""
        self._about, self._path = about, path
        cloud = cloud_of(endpoint)
        self._sender = open_sender(
            name=f"the management plane of {about}",
            endpoint=endpoint,
            auth=auth_for(credentials, f"{cloud.arm}/.default", cloud),
            connections=ARM_CONNECTIONS,
            quota=None,
        )

    async def aclose(self) -> None:
        await self._sender.aclose()

    async def get_account(self) -> models.Account:
        """Read the resource: its id in Azure's own spelling, and its region."""
        with self._as_reader(self._about):
            return (await self._sender.read(_asked(self._path, "the resource"), models.Account))[1]

    async def list_deployments(self) -> tuple[models.Deployment, ...]:
        return await self._list(f"{self._path}/deployments", "deployments", _ArmPage[models.Deployment])

    async def list_models(self) -> tuple[models.CatalogModel, ...]:
        # A deployment does not say when its model ends; the `deprecation.inference` of this list does (provider's
        # specification, ModelDeprecationInfo). Inferred: that both spell model and version alike.
        return await self._list(f"{self._path}/models", "models", _ArmPage[models.CatalogModel])

    async def list_subscriptions(self) -> tuple[models.Subscription, ...]:
        kind = _ArmPage[models.Subscription]
        return await self._list("/subscriptions", "subscriptions", kind, version=SUBSCRIPTIONS_VERSION)

    async def list_accounts(self, subscription: str) -> tuple[models.ListedAccount, ...]:
        """List the resources of a subscription, of every kind that the provider has."""
        path = f"/subscriptions/{quote(subscription, safe='')}/providers/Microsoft.CognitiveServices/accounts"
        return await self._list(path, "resources", _ArmPage[models.ListedAccount], f"subscription {subscription}")

    async def find_account(self, resource_id: str) -> models.ListedAccount:
        """Read one resource by its id, as the list of its subscription has it."""
        with self._as_reader(f"the resource {resource_id}"):
            return (await self._sender.read(_asked(resource_id, "the resource"), models.ListedAccount))[1]

    async def _list(
        self, path: str, what: str, kind: type[_ArmPage[E]], about: str = "", version: str = ARM_VERSION
    ) -> tuple[E, ...]:
        with self._as_reader(about or self._about):
            pages = self._sender.pages(_asked(path, f"the list of {what}", version), kind, MOST_ARM_PAGES)
            return tuple([each async for _, page in pages for each in page.value])

    @contextmanager
    def _as_reader(self, about: str) -> Iterator[None]:
        try:
            yield
        except errors.NotAuthorized as error:
            if error.status is not None:  # Else Entra gave no token: a role would not help.
                error.resource = self._about
                error.next_action = f"Give the identity the role Reader on {about}"
                if self._path:
                    error.next_action += ", or set its arm_endpoint to an empty string"
            raise


def _asked(path: str, kind: str, version: str = ARM_VERSION) -> Call:
    return Call("GET", path, {"api-version": version}, kind=kind, first=True)


@asynccontextmanager
async def open_arm(endpoint: str, retries: HttpRetries) -> AsyncIterator[ArmClient]:
    """Give what asks the management plane of a cloud, as whoever runs this is signed in."""
    made = partial(Sender, tls=trusted_certificates(), retries=retries, clock=SystemClock())
    arm = ArmClient("Azure", endpoint, EntraCredentials(), made)
    try:
        yield arm
    finally:
        await arm.aclose()


class ContentUnderstandingClient:
    """One resource over one connection pool and one quota. It is its own context manager."""

    def __init__(
        self,
        resource: Resource,
        *,
        tls: Tls | None = None,
        retries: HttpRetries | None = None,
        silence: float | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare; `silence` is how long it may answer no call of a kind, where not as long as usual."""
        self.resource = resource
        cloud = cloud_of(resource.endpoint)
        self.tls = tls or trusted_certificates()
        retries = retries or HttpRetries()
        if silence is not None:
            retries = replace(retries, silence=silence)
        open_sender = partial(Sender, tls=self.tls, retries=retries, clock=clock or SystemClock(), transport=transport)
        self._sender = open_sender(
            name=resource.name,
            endpoint=resource.endpoint,
            auth=auth_for(resource.credentials, cloud.scope, cloud),
            connections=min(resource.max_concurrent_copies + SPARE_CONNECTIONS, MOST_CONNECTIONS),
            quota=Quota(resource.operations_per_minute),
        )
        may_ask = resource.arm_endpoint and isinstance(resource.credentials, EntraCredentials)
        asked = (resource.name, resource.arm_endpoint, resource.credentials, open_sender, resource.resource_id)
        self._arm = ArmClient(*asked) if may_ask else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._sender.aclose()
        finally:
            if self._arm is not None:
                await self._arm.aclose()

    async def sign_in(self) -> None:
        """Have a token ready, where one is needed, so that it takes nothing of the time of the next call."""
        await self._sender.sign_in()

    async def list_analyzers(self) -> tuple[Analyzer, ...]:
        """List every analyzer, prebuilt ones too; `ForeignOrigin` or `ProtocolError` where its pages lead astray."""
        found, trouble = await self._listed()
        if trouble is not None:
            raise trouble
        return tuple(analyzer for analyzer in found if not analyzer.is_nameless)

    async def list_readable(self, on_each: OnEach = lambda _: None) -> tuple[Analyzer, ...]:
        """List what can be read; an entry without an id, and pages that lead astray, are `nameless` ones in it."""
        found, trouble = await self._listed(on_each)
        if trouble is None:
            return found
        if not found:
            raise trouble
        return (*found, Analyzer.nameless(f"all after the first {len(found)}", f"the list continues, but {trouble}"))

    async def list_first_page(self) -> tuple[Analyzer, ...]:
        """List what the first page holds, in one call: whether listing works at all."""
        _, page = await self._sender.read(self._asked_first("analyzers", "the list of analyzers"), _Page)
        return tuple(page.analyzers())

    async def get_analyzer(self, analyzer: str) -> Analyzer:
        """Read one analyzer; `AnalyzerNotFound` where there is none under this api-version."""
        return (await self._sender.read(self._about(analyzer, "GET"), Analyzer))[1]

    async def put_analyzer(
        self, analyzer: str, definition: Mapping[str, JsonValue], *, allow_replace: bool = False
    ) -> StartedOperation:
        """Start to build an analyzer from its definition; `Conflict` where it exists, and may not be replaced."""
        params = self.version | ({"allowReplace": "true"} if allow_replace else {})
        repeat = Repeat.ALWAYS if allow_replace else Repeat.IF_NOT_TAKEN
        call = Call("PUT", self.path(analyzer), params, definition, analyzer=analyzer, repeat=repeat, kind="a build")
        answer = await self._sender.send(call)
        return self.started(answer, answer.read(Analyzer))

    async def delete_analyzer(self, analyzer: str) -> None:
        """Delete an analyzer; one that never existed is no error (recording)."""
        await self._sender.send(self._about(analyzer, "DELETE"))

    async def get_defaults(self) -> models.Defaults:
        """Read which deployment serves which model name; `DefaultsNotSet` where none was set, as on a new resource."""
        return (await self._sender.read(self._asked_first("defaults", "the defaults"), models.Defaults))[1]

    async def patch_defaults(self, model_deployments: Mapping[str, str]) -> models.Defaults:
        """Add or change model names in the defaults; others are left as they are."""
        body: dict[str, JsonValue] = {"modelDeployments": dict(model_deployments)}
        call = Call("PATCH", f"{BASE}/defaults", self.version, body, merge_patch=True, kind="a change of defaults")
        return (await self._sender.read(call, models.Defaults))[1]

    async def post(self, call: Call) -> Answer:
        return await self._sender.send(call)

    async def ask_for_grant(self, analyzer: str, action: str, body: JsonObject) -> tuple[Answer, models.Grant]:
        call = Call("POST", self.path(analyzer, action), self.version, body, analyzer=analyzer, kind="a grant")
        return await self._sender.read(call, models.Grant)

    async def poll(self, operation_url: str, analyzer: str | None = None) -> models.PollAnswer:
        """Look at an operation once; `AnalyzerNotFound` where it is unknown by now, `ForeignOrigin` if elsewhere."""
        call = Call("GET", operation_url, analyzer=analyzer or "the operation", kind="an operation")
        answer, operation = await self._sender.read(call, models.Operation)
        return models.PollAnswer(operation, answer.retry_after)

    async def start_analysis(self, analyzer: str, document: bytes, media_type: str) -> str:
        """Have it read a document, and give the URL of the result, to be deleted; else `AnalysisOutcomeUnknown`."""
        if self.resource.api_version == PREVIEW_2025:
            # Inferred: `:analyzeBinary` came with the released version, and `inputs` is understood here, too.
            data = b64encode(document).decode()
            content = json.dumps({"inputs": [{"data": data, "mimeType": media_type}]}).encode()
            action, media_type = ":analyze", "application/json"
        else:
            action, content = ":analyzeBinary", document
        path, repeat = self.path(analyzer, action), Repeat.IF_NOT_TAKEN
        call = Call("POST", path, self.version, analyzer=analyzer, repeat=repeat, kind="an analysis")
        call = replace(call, content=content, media_type=media_type)
        with errors.taken_or_not(errors.AnalysisOutcomeUnknown, self.resource.name, analyzer):
            return self._location(await self._sender.send(call))

    async def get_analysis(self, url: str) -> tuple[Analysis, float | None]:
        """Look at an analysis once, and give the seconds to wait as well, where the answer names any."""
        answer, analysis = await self._sender.read(Call("GET", url, analyzer=RESULT, kind="a result"), Analysis)
        return analysis, answer.retry_after

    async def delete_analysis(self, url: str) -> None:
        """Delete the result of an analysis; one that is gone is no error, but where results cannot be deleted."""
        try:
            await self._sender.send(Call("DELETE", url, analyzer=RESULT, kind="a result"))
        except errors.AnalyzerNotFound:
            # Deleting came with the released version (specification), so the same answer means nothing before it.
            if self.resource.api_version == PREVIEW_2025:
                raise

    @property
    def arm(self) -> ArmClient:
        """Azure's management plane for this resource; `ArmUnavailable` if not configured, or there is only a key."""
        if self._arm is None:
            name = self.resource.name
            what = "it does not accept a key" if self.resource.arm_endpoint else "arm_endpoint is empty"
            raise errors.ArmUnavailable(f"Azure's management plane is not used for {name}: {what}", resource=name)
        return self._arm

    @property
    def version(self) -> dict[str, str]:
        return {"api-version": self.resource.api_version}

    def path(self, analyzer: str, action: str = "") -> str:
        """Give the path of an analyzer, or of an action on it such as `:copy`; `InvalidRequest` if it leads away."""
        if analyzer in {"", ".", ".."}:
            cause = f"'{analyzer}' is not a valid analyzer id"
            raise errors.InvalidRequest(cause, resource=self.resource.name, analyzer=analyzer)
        return f"{BASE}/analyzers/{quote(analyzer, safe='')}{action}"

    def started(self, answer: Answer, analyzer: Analyzer, warnings: tuple[str, ...] = ()) -> StartedOperation:
        """Read where what was begun is; `ProtocolError` where nothing says so, `ForeignOrigin` if elsewhere."""
        url = self._location(answer)
        operation_id = code_of(url.partition("?")[0].rpartition("/")[2]) or ""
        return StartedOperation(operation_url=url, operation_id=operation_id, analyzer=analyzer, warnings=warnings)

    def _location(self, answer: Answer) -> str:
        location = answer.headers.get("operation-location")
        if not location:
            raise answer.protocol_error(f"{self.resource.name} started an operation and its answer does not name it")
        return self._sender.absolute(location, answer.analyzer)

    def _asked_first(self, what: str, kind: str) -> Call:
        return Call("GET", f"{BASE}/{what}", self.version, kind=kind, first=True)

    def _about(self, analyzer: str, method: str) -> Call:
        return Call(method, self.path(analyzer), self.version, analyzer=analyzer)

    async def _listed(
        self, on_each: OnEach = lambda _: None
    ) -> tuple[tuple[Analyzer, ...], errors.ServiceError | None]:
        """List the analyzers as far as the pages can be read, and say why that is not to their end."""
        found: dict[str, Analyzer] = {}
        pages: asyncio.Queue[_Page | None] = asyncio.Queue(PAGES_AHEAD)
        trouble: errors.ServiceError | None = None
        async with side_by_side() as group:
            # While a page is read, the next one is on its way.
            group.create_task(_take(pages, found, on_each))
            try:
                async for page in self._pages():
                    await pages.put(page)
            except errors.ServiceError as error:
                trouble = error
            await pages.put(None)
        astray, over = errors.ProtocolError | errors.ForeignOrigin, errors.InvalidRequest | errors.ResourceNotFound
        if trouble and not isinstance(trouble, astray) and not (found and isinstance(trouble, over)):
            raise trouble
        return tuple(found.values()), trouble

    async def _pages(self) -> AsyncIterator[_Page]:
        seen: set[str] = set()
        empty = 0
        async for answer, page in self._sender.pages(self._asked_first("analyzers", "the list of analyzers"), _Page):
            yield page
            names = {str(entry["analyzerId"]) for entry in page.value if models.has_id(entry)}
            empty = 0 if names else empty + 1
            if page.next_link and ((names and names <= seen) or empty > MOST_EMPTY_PAGES):
                raise answer.protocol_error(f"The pages of the list of analyzers of {self.resource.name} repeat")
            seen |= names
