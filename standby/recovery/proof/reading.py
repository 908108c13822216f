"""An analysis as digests: what was read of a document never leaves this module.

Live and stored results are compared alike. A digest is made with a salt, and with the content and the path of the
field: equal values of two fields or of two baselines cannot be seen to be equal.
"""

import asyncio
import hmac
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

from standby.clock import Clock
from standby.concurrency import do_for_each, to_its_end
from standby.document import JsonObject, JsonValue, canonical
from standby.recovery.proof.records import OpenResult, Proofs, Reading, note_open
from standby.service import errors
from standby.service.analysis import Analysis, AnalyzedField, Content
from standby.service.client import ContentUnderstandingClient
from standby.text import counted, utc
from standby.vault.errors import VaultError
from standby.vault.storage import Storage

log = logging.getLogger("standby.recovery")

AUTOMATIC = "automatic"  # The method of a field whose schema names none
DECIMALS = 6  # To so many a number is rounded
_EXACT = 2**53  # Integers beyond are compared as text: no number of canonical JSON holds all their digits
_DIGEST = 16  # Hex digits of a digest that are kept: enough to tell values apart
_DEEPEST = 20  # Levels of a schema that are looked at; one that refers to itself has no end


@dataclass(frozen=True)
class Expected:
    """What the definition of an analyzer lets expect of each of its readings."""

    # By category, "" for the analyzer itself, by path of a field: extract, classify, generate or AUTOMATIC.
    methods: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    categories: frozenset[str] = frozenset()  # which an analyzer of their own reads

    def method(self, content: str, path: str) -> str:
        """Give the method of a field of a content, by its key in a `Reading`."""
        return self.methods.get(category_of(content), {}).get(path, AUTOMATIC)

    def lacking(self, reading: Reading) -> frozenset[str]:
        """Name the categories that a router found, and whose analyzer did not answer."""
        return frozenset(
            category
            for key in reading.segments
            if (category := category_of(key)) in self.categories
            and not (reading.contents.get(key) if self.methods.get(category) else key in reading.contents)
        )


def category_of(content: str) -> str:
    """Give the category in the key of a content."""
    return content.partition(" ")[2]


def _key(path: str, category: str) -> str:
    return f"{path.replace(' ', '_')} {category}".rstrip()


def read_analysis(analysis: Analysis, salt: bytes) -> Reading:
    """Make digests of an analysis that succeeded: of two readings with the same salt, equal values have equal ones."""

    def digest(content: str, path: str, value: JsonValue) -> str:
        told = "\0".join((content, path)).encode() + b"\0" + canonical(value)
        return "" if value is None else hmac.digest(salt, told, "sha256").hex()[:_DIGEST]

    contents: dict[str, Mapping[str, str]] = {}
    for content in sorted(analysis.contents, key=lambda each: (each.path, each.category)):
        again = (f"{content.path}{f'#{number}' if number > 1 else ''}" for number in count(1))
        key = next(key for path in again if (key := _key(path, content.category)) not in contents)
        contents[key] = {path: digest(key, path, value) for path, value in _values(content)}
    of_all = [each for each in analysis.contents if not each.category and each.markdown]
    texts: list[JsonValue] = [[each.path, each.markdown] for each in sorted(of_all, key=lambda each: each.path)]
    segments = sorted(
        _key(f"{each.path}/{segment.segment_id}", segment.category)
        for each in analysis.contents
        for segment in each.segments
    )
    return Reading(layout=digest("", "", texts or None), contents=contents, segments=tuple(segments))


def _values(content: Content) -> Iterator[tuple[str, JsonValue]]:
    for name, read in content.fields.items():
        yield from ((f"{name}{path}", _normal(value)) for path, value in _columns(read).items())


def _columns(read: AnalyzedField) -> dict[str, JsonValue]:
    """Take a field apart: an object by member, and of an array's items each member by itself, in their order."""
    if read.members:
        return {f".{name}{path}": value for name, of in read.members.items() for path, value in _columns(of).items()}
    if read.items:
        rows = [_columns(each) for each in read.items]
        return {f"[]{path}": [row.get(path) for row in rows] for path in sorted({path for row in rows for path in row})}
    return {} if read.type in {"object", "array"} and read.value is None else {"": read.value}


def _normal(value: JsonValue) -> JsonValue:
    """Make alike what means the same; what is empty, or has only what is empty, is `None`."""
    if isinstance(value, str):
        return value.strip().casefold() or None
    if isinstance(value, list):
        items = [_normal(each) for each in value]
        return items if any(each is not None for each in items) else None
    if isinstance(value, dict):
        return {key: of for key, inner in value.items() if (of := _normal(inner)) is not None} or None
    if isinstance(value, bool) or value is None:
        return value
    return round(float(value), DECIMALS) if abs(value) < _EXACT else str(value)


def methods_of(definition: JsonObject, children: Mapping[str, JsonObject]) -> Expected:
    """Say what is expected of an analyzer's readings.

    Args:
        children: definitions by id of the custom analyzers that it refers to, at any depth; others may be there, too.
    """
    methods, categories = {"": _methods(definition, children)}, set[str]()

    def enter(router: JsonValue, depth: int) -> None:
        for name, category in _object(_object(_object(router).get("config")).get("contentCategories")).items():
            told = _object(category)
            child = told.get("analyzer") or children.get(str(told.get("analyzerId")))
            if (child or told.get("analyzerId")) and depth < _DEEPEST:
                categories.add(name)
                methods[name] = _methods(_object(child), children)
                enter(child, depth + 1)

    enter(definition, 0)
    return Expected(methods, frozenset(categories))


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _methods(definition: JsonObject, children: Mapping[str, JsonObject], depth: int = 0) -> dict[str, str]:
    """Give the methods of the fields that an analyzer has, with those of its custom base."""
    base = children.get(str(definition.get("baseAnalyzerId")))
    schema = _object(definition.get("fieldSchema"))
    shared = _object(schema.get("definitions")) | _object(schema.get("$defs"))
    own = {
        path: method
        for name, each in _object(schema.get("fields")).items()
        for path, method in _leaves(_object(each), name, "", shared, 0)
    }
    return {**(_methods(base, children, depth + 1) if base and depth < _DEEPEST else {}), **own}


def _leaves(node: JsonObject, path: str, method: str, shared: JsonObject, depth: int) -> Iterator[tuple[str, str]]:
    node = _object(shared.get(str(node.get("$ref")).rpartition("/")[2])) | node
    method, parts = str(node.get("method") or method), _object(node.get("properties"))
    inner = [(f"{path}.{name}", each) for name, each in parts.items()]
    inner += [(f"{path}[]", node["items"])] if isinstance(node.get("items"), dict) else []
    for place, each in inner if depth < _DEEPEST else ():
        yield from _leaves(_object(each), place, method, shared, depth + 1)
    if not inner:
        yield path, method or AUTOMATIC


@dataclass
class Spent:
    """What analyses took, and what the service still holds of them: true at any moment."""

    begun: int = 0
    deleted: int = 0  # results that the service confirmed to have deleted
    left: list[str] = field(default_factory=list)  # the URL of each other one, or what is known of it
    tokens: Counter[str] = field(default_factory=Counter)  # by model and direction
    tokens_of: Counter[tuple[str, str]] = field(default_factory=Counter)  # by resource and analyzer
    open: dict[str, str] = field(default_factory=dict)  # the resource of each result that is not deleted, by URL
    note: Callable[[], Awaitable[None]] | None = None  # keeps `open` where another run finds it


RESULTS = "/analyzerResults/"  # In the URL of each: nothing else is deleted, whatever the vault says
UNREAD = timedelta(minutes=1)  # How long after its deadline an analysis may need to delete its result
FORGOTTEN = timedelta(days=7)  # After so long it is not tried any more to delete a result that cannot be deleted


class Kept:
    """Keeps in the vault which results the service has: what a run leaves as it is killed, a later one deletes."""

    def __init__(self, storage: Storage, plan: str, clock: Clock, deadline: timedelta, spent: Spent) -> None:
        self._storage, self._plan, self._clock, self._deadline, self._spent = storage, plan, clock, deadline, spent
        self._noted: set[str] = set()
        self._writing = asyncio.Lock()
        self._at_the_end = False
        self.said = list[str]()  # what came of those of earlier runs
        spent.note = self.note

    async def note(self, *, at_the_end: bool = False) -> None:
        """Write down which results there are, once for all that came meanwhile; no analysis fails by it."""
        async with self._writing:
            is_open, until = dict(self._spent.open), self._clock.now() + self._deadline + UNREAD
            new = [
                OpenResult(resource=it, url=url, until=until) for url, it in is_open.items() if url not in self._noted
            ]
            ended = self._noted - is_open.keys()
            if (new or ended) and (at_the_end or not self._at_the_end):
                self._noted |= is_open.keys()  # Before the write: a cancellation may come after it.
                try:
                    await note_open(self._storage, self._plan, new, ended)
                except VaultError as error:
                    # No other analysis waits for a vault that does not answer.
                    self._at_the_end = True
                    self._noted -= {it.url for it in new}
                    log.warning("which results are open could not be kept: %s", error)
                else:
                    self._noted = set(is_open)

    async def delete_left(self, clients: Mapping[str, ContentUnderstandingClient]) -> None:
        """Delete what earlier runs left at these resources."""
        now, known = self._clock.now(), (await Proofs.read(self._storage, self._plan)).open
        due = [each for each in known if each.until <= now and each.resource in clients and RESULTS in each.url]
        failed = set[str]()

        async def delete(it: OpenResult) -> None:
            try:
                await clients[it.resource].delete_analysis(it.url)
            except errors.ServiceError:
                failed.add(it.url)
                self._spent.left.append(it.url.partition("?")[0])

        await do_for_each(due, delete, 4)
        ended = {it.url for it in due if it.url not in failed} | {it.url for it in known if it.until < now - FORGOTTEN}
        if ended:
            await note_open(self._storage, self._plan, (), ended)
        if gone := len(due) - len(failed):
            self.said.append(f"{counted(gone, 'result')} that an earlier run left at the service: deleted now")
        if waiting := [each.until for each in known if each.until > now]:
            cause = f"Another run has {counted(len(waiting), 'result')} at the service, or ended without deleting them"
            self.said.append(f"{cause}. To delete what is left, compare again after {utc(max(waiting))}")


LAST_ANSWER = 10.0  # Seconds for the answer to a document that was sent, once nobody waits for its result any more
FIRST_WAIT, LONGEST_WAIT = 0.2, 3.0  # Seconds between two questions about an analysis, which takes 4 s and more


async def analyze(
    client: ContentUnderstandingClient,
    clock: Clock,
    analyzer: str,
    document: tuple[bytes, str],
    salt: bytes,
    deadline: float,
    spent: Spent,
) -> Reading:
    """Have an analyzer read a document, and delete its result, also where this is cancelled.

    Args:
        document: its content and its media type.
        deadline: seconds that it may take.
        spent: is kept up to date.

    Raises:
        ServiceError: the analysis could not be made, failed or hung.
    """
    resource = client.resource.name
    spent.begun += 1
    # What is on its way as this is cancelled may be taken, and is kept by the service until it is deleted.
    starting = asyncio.ensure_future(client.start_analysis(analyzer, *document))
    try:
        url = await asyncio.shield(starting)
        spent.open[url] = resource
        if spent.note is not None:
            await spent.note()
        analysis = await _ended(client, clock, analyzer, url, deadline)
        spent.tokens.update(analysis.usage.tokens)
        spent.tokens_of[resource, analyzer] += sum(analysis.usage.tokens.values())
        if not analysis.succeeded:
            raise analysis.failure(resource, analyzer)
        return read_analysis(analysis, salt)
    finally:
        await to_its_end(_take_back(client, analyzer, starting, spent))


async def _ended(client: ContentUnderstandingClient, clock: Clock, analyzer: str, url: str, seconds: float) -> Analysis:
    end, wait = clock.monotonic() + seconds, FIRST_WAIT
    while True:
        await clock.sleep(min(wait, max(0.0, end - clock.monotonic())))
        try:
            analysis, retry_after = await client.get_analysis(url)
        except errors.AnalyzerNotFound:
            cause = f"The result of {analyzer} at {client.resource.name} was gone before it was read"
            raise errors.OperationHung(cause, "Compare again", resource=client.resource.name) from None
        if analysis.done:
            return analysis
        if clock.monotonic() >= end:
            cause = f"The analysis by {analyzer} at {client.resource.name} did not end within {seconds:.0f} s"
            raise errors.OperationHung(cause, "Compare again", resource=client.resource.name)
        wait = max(min(wait * 1.5, LONGEST_WAIT), retry_after or 0.0)


async def _take_back(
    client: ContentUnderstandingClient, analyzer: str, starting: asyncio.Future[str], spent: Spent
) -> None:
    """Delete the result of an analysis that was begun, or may have been."""
    await asyncio.wait({starting}, timeout=LAST_ANSWER)
    starting.cancel()
    try:
        url = await starting
    except (asyncio.CancelledError, errors.AnalysisOutcomeUnknown):
        spent.left.append(f"perhaps one of {analyzer} at {client.resource.name}, which did not answer")
        return
    except errors.ServiceError:
        return  # It was not taken.
    spent.open[url] = client.resource.name
    try:
        await client.delete_analysis(url)
    except errors.ServiceError as error:
        spent.left.append(url.partition("?")[0])
        log.warning("a result at %s could not be deleted: %s", client.resource.name, error)
    else:
        spent.deleted += 1
        del spent.open[url]
