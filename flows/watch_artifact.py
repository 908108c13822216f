"""What the watch saw, for people: kept only when it saw something else than the time before."""

from __future__ import annotations

from collections.abc import Iterable

from prefect import get_client
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey

from standby.recovery.watch.observation import Observation


async def leave_picture(plan: str, picture: str, seen: Iterable[Observation]) -> None:
    """Leave a table, unless the last one says the same: a watch runs thousands of times a day.

    Args:
        plan: name of the plan.
        picture: what tells two pictures apart.
        seen: the observations.
    """
    key = f"watch-{plan}"
    description = f"Plan **{plan}**: {picture}."
    if await _last(key) == description:
        return
    await acreate_table_artifact(
        key=key,
        table=[
            {
                "resource": observation.resource,
                "healthy": {True: "yes", False: "no", None: "cannot be told"}[observation.healthy],
                "evidence": observation.summary,
                "seen": observation.at.isoformat(timespec="seconds"),
                "by": observation.observer,
            }
            for observation in sorted(seen, key=lambda each: (each.healthy is True, each.resource))
        ],
        description=description,
    )


async def _last(key: str) -> str | None:
    async with get_client() as client:
        found = await client.read_latest_artifacts(
            artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key])), limit=1
        )
    return found[0].description if found else None
