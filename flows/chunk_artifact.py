"""How a chunk run hands its report to its parent: results of flow runs are not kept, artifacts are."""

from __future__ import annotations

import logging
from uuid import UUID

from prefect.artifacts import Artifact
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact as Kept
from prefect.client.schemas.sorting import ArtifactSort
from pydantic import ValidationError

from flows.publishing import PROGRESS
from standby.config.explanation import summary
from standby.replication.chunk_report import ChunkReport

log = logging.getLogger("standby.flows")

KEY = "replication-chunk"


async def leave_report(report: ChunkReport) -> None:
    """Leave a report with the flow run that is running."""
    # Prefect writes the data as JSON text.
    await Artifact(
        type="json",
        key=KEY,
        description="For the run that sent this chunk.",
        data=report.model_dump(mode="json"),
    ).acreate()


async def read_report(client: PrefectClient, flow_run_id: UUID) -> ChunkReport | None:
    """Read what a chunk run left; `None` where it is nothing, or nothing of this version."""
    found = await _newest(client, flow_run_id, KEY)
    if found is None:
        return None
    try:
        return ChunkReport.model_validate_json(str(found.data))
    except ValidationError as error:
        log.warning("the report of flow run %s is not of this version: %s", flow_run_id, summary(error))
        return None


async def last_beat(client: PrefectClient, flow_run_id: UUID) -> object:
    """Give something that is another one each time a chunk run has shown that it lives."""
    found = await _newest(client, flow_run_id, PROGRESS)
    return found and found.updated


async def _newest(client: PrefectClient, flow_run_id: UUID, key: str) -> Kept | None:
    kept = await client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]), key=ArtifactFilterKey(any_=[key])
        ),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    return kept[0] if kept else None
