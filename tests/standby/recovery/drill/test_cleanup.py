"""The clean-up: only what is the drill's is ever deleted, and complete is only what was seen to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.drill.cleanup import WAITS, CleanUp, DrillManifest, clean
from standby.replication.inventory import DRILL_TAG
from standby.service.client import ContentUnderstandingClient
from standby.service.retries import HttpRetries
from tests.standby.replication.world import START, FakeClock, certificates, resource

RUN = "abcdef123456"
PREFIX = "drill-abcdef123456-"


def manifest(**more: Any) -> DrillManifest:
    made = {"run_id": RUN, "home": "east", "to": "west", "scratch": None, "prefix": PREFIX, "actor": "ada"}
    return DrillManifest.model_validate({**made, "begun_at": START, **more})


def analyzer(name: str, run: str | None = RUN, status: str = "ready") -> dict[str, Any]:
    return {"analyzerId": name, "status": status, "tags": {} if run is None else {DRILL_TAG: run}}


@dataclass
class Service:
    """A resource in memory.

    Attributes:
        listed: by id.
        refuses: ids that it does not delete.
        lag: listings in which what was deleted is still there.
        later: analyzers that come to light after so many listings.
        down: numbers of listings that fail.
    """

    listed: dict[str, dict[str, Any]]
    refuses: frozenset[str] = frozenset()
    lag: int = 0
    later: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    down: Callable[[int], bool] = lambda _: False
    deleted: list[str] = field(default_factory=list)
    listings: int = 0
    going: dict[str, int] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        if request.method == "GET":
            return self._list()
        assert request.method == "DELETE"
        if name in self.refuses:
            error = {"code": "Conflict", "message": "It is in use."}
            return httpx.Response(409, json={"error": error})
        self.deleted.append(name)
        self.going.setdefault(name, self.lag)
        return httpx.Response(204)

    def _list(self) -> httpx.Response:
        self.listings += 1
        for found in self.later.pop(self.listings, []):
            self.listed[found["analyzerId"]] = found
        for name, left in list(self.going.items()):
            if left == 0:
                self.listed.pop(name, None)
            self.going[name] = left - 1
        if self.down(self.listings):
            return httpx.Response(403, json={"error": {"code": "Forbidden", "message": "No."}})
        return httpx.Response(200, json={"value": list(self.listed.values())})


def service(analyzers: Iterable[dict[str, Any]], **more: Any) -> Service:
    return Service({found["analyzerId"]: found for found in analyzers}, **more)


async def cleaned(made: Service, drill: DrillManifest | None = None) -> CleanUp:
    west = ContentUnderstandingClient(
        resource("west", max_concurrent_copies=3),
        tls=certificates(),
        retries=HttpRetries(attempts=1),
        transport=httpx.MockTransport(made),
    )
    async with west:
        return await clean(west, drill or manifest(), FakeClock())


ids = st.sampled_from(
    ["invoice", "receipt", f"{PREFIX}invoice", f"{PREFIX}receipt", "drill-other-invoice", f"x{PREFIX}a"]
)
runs = st.sampled_from([None, RUN, "another", "ABCDEF123456", ""])
lists = st.lists(st.builds(analyzer, ids, runs), max_size=6, unique_by=lambda found: str(found["analyzerId"]))
drills = st.one_of(
    st.just(manifest()),
    st.builds(lambda found: manifest(scratch="west", prefix="", found=found), st.frozensets(ids)),
)


@given(here=lists, refused=st.frozensets(ids), lag=st.integers(0, 3), later=lists, drill=drills)
async def test_nothing_but_the_drill_s_own_is_ever_deleted(
    here: list[dict[str, Any]],
    refused: frozenset[str],
    lag: int,
    later: list[dict[str, Any]],
    drill: DrillManifest,
) -> None:
    made = service(here, refuses=refused, lag=lag, later={2: later})
    others = {
        name: found
        for name, found in made.listed.items()
        if found["tags"].get(DRILL_TAG) != RUN
        or not name.startswith(drill.prefix)
        or (drill.scratch and name in drill.found)
    }

    told = await cleaned(made, drill)

    mine = {
        found["analyzerId"]
        for found in [*here, *later]
        if found["tags"].get(DRILL_TAG) == RUN
        and found["analyzerId"].startswith(drill.prefix)
        and found["analyzerId"] not in drill.found
    }
    assert set(made.deleted) <= mine - refused
    overwritten = {found["analyzerId"] for found in later}
    assert {name: made.listed.get(name) for name in others.keys() - overwritten} == {
        name: found for name, found in others.items() if name not in overwritten
    }
    # Proven means that nothing of the drill's is there; otherwise what is left is named.
    left = {name for name in mine if name in made.listed and made.listed[name]["tags"].get(DRILL_TAG) == RUN}
    assert told.proven == (not left)
    assert set(told.left) == left
    assert set(told.deleted) == set(told.created) - left


async def test_a_manifest_without_prefix_and_scratch_resource_owns_nothing() -> None:
    made = service([analyzer("invoice")])
    told = await cleaned(made, manifest(prefix=""))
    assert (made.deleted, told.proven) == ([], True)


async def test_what_is_deleted_and_still_listed_is_looked_for_again() -> None:
    made = service([analyzer(f"{PREFIX}a"), analyzer(f"{PREFIX}b", status="deleting")], lag=2)
    told = await cleaned(made)
    assert told.proven
    assert told.deleted == (f"{PREFIX}a", f"{PREFIX}b")
    assert (told.left, told.problem) == ((), "")


async def test_one_empty_listing_proves_nothing() -> None:
    made = service([], later={2: [analyzer(f"{PREFIX}late", status="creating")]})
    told = await cleaned(made)
    assert told.proven
    assert told.created == told.deleted == (f"{PREFIX}late",)


async def test_what_cannot_be_deleted_is_named_with_the_reason() -> None:
    names = [f"{PREFIX}{letter}" for letter in "abc"]
    made = service(map(analyzer, names), refuses=frozenset({names[1]}))
    told = await cleaned(made)
    assert not told.proven
    assert (told.left, told.deleted) == ((names[1],), (names[0], names[2]))
    assert told.problem.startswith(f"{names[1]}: ")
    assert "Conflict" in told.problem
    assert made.listings == len(WAITS) + 1


async def test_what_is_listed_for_ever_is_left() -> None:
    made = service([analyzer(f"{PREFIX}a")], lag=1000)
    told = await cleaned(made)
    assert (told.proven, told.left) == (False, (f"{PREFIX}a",))
    assert told.problem == "the resource still lists analyzers that it was asked to delete"


async def test_a_resource_that_does_not_list_proves_nothing() -> None:
    told = await cleaned(service([analyzer(f"{PREFIX}a")], down=lambda _: True))
    assert (told.proven, told.left, told.created) == (False, (), ())
    assert "Forbidden" in told.problem


async def test_a_resource_that_lists_again_is_cleaned() -> None:
    made = service([analyzer(f"{PREFIX}a")], down=lambda number: number in {1, 3})
    told = await cleaned(made)
    assert told.proven
    assert made.deleted == [f"{PREFIX}a"]
