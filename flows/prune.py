"""Remove flow runs that have ended from the Prefect server, since a watch alone makes thousands a day."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactFilter, FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from standby.config.durations import Duration
from standby.flows import bootstrap, health, outcome
from standby.text import counted

LOOKS = ["watch", "prune"]  # Flows that only look, or do this
MOST = 5_000  # Runs that one run removes: the next one goes on
PAGE = 50  # Runs that are removed at once, with their pages


@flow(name="prune", flow_run_name="prune", persist_result=False)
async def prune(looks: Duration, others: Duration) -> State[Any]:
    """Remove the runs of Standby's deployments that ended long ago, with what they left in Prefect.

    A run that has not ended is never removed, nor is the last run of a deployment, nor a page that is still the
    latest. What recovery needs is in the vault, not in these runs.

    Args:
        looks: How long runs of watch are kept, and cancelled runs of what is scheduled; such as 6h.
        others: How long all other runs are kept; such as 90d.
    """
    now = datetime.now(UTC)
    pruning = Pruning()
    async with get_client() as client:
        await pruning.remove(client, _ended(now - looks), LOOKS)
        await pruning.remove(client, _ended(now - looks, {StateType.CANCELLED}), [*health.SCHEDULED])
        await pruning.remove(client, _ended(now - others))
    message = f"{counted(pruning.runs, 'run')} and {counted(pruning.pages, 'page')} were removed."
    return await outcome.FlowOutcome("Completed", message, {"runs": pruning.runs, "pages": pruning.pages}).finish()


def _ended(before: datetime, states: Iterable[StateType] = TERMINAL_STATES, **more: Any) -> FlowRunFilter:
    ended = {"state": {"type": {"any_": list(states)}}, "end_time": {"before_": before}}
    return FlowRunFilter.model_validate({"tags": {"all_": [bootstrap.TAG]}, **ended, **more})


def to_remove(found: Sequence[FlowRun], last: set[UUID]) -> list[FlowRun]:
    """Leave the last run of each deployment, and in any case what has not ended."""
    return [run for run in found if run.state is not None and run.state.is_final() and run.id not in last]


@dataclass
class Pruning:
    """What was removed so far."""

    runs: int = 0
    pages: int = 0
    _last: dict[UUID | None, set[UUID]] = field(default_factory=dict)  # runs that stay, by deployment

    async def remove(self, client: PrefectClient, wanted: FlowRunFilter, flows: list[str] | None = None) -> None:
        """Remove runs with what they left, the oldest first."""
        of_flows = FlowFilter.model_validate({"name": {"any_": flows}}) if flows else None
        stay = 0
        while self.runs < MOST:
            order = FlowRunSort.EXPECTED_START_TIME_ASC
            found = await client.read_flow_runs(
                flow_filter=of_flows, flow_run_filter=wanted, sort=order, limit=PAGE, offset=stay
            )
            if not found:
                return
            for deployment in {run.deployment_id for run in found} - self._last.keys():
                self._last[deployment] = await _last_of(client, deployment) if deployment else set()
            doomed = to_remove(found, set().union(*self._last.values()))
            stay += len(found) - len(doomed)
            await self._remove_pages(client, [run.id for run in doomed])
            for run in doomed:
                with suppress(ObjectNotFound):
                    await client.delete_flow_run(run.id)
            self.runs += len(doomed)

    async def _remove_pages(self, client: PrefectClient, runs: list[UUID]) -> None:
        """Remove what is no longer the latest of its kind; Prefect keeps it when its run is removed."""
        of_runs = {"flow_run_id": {"any_": runs}}
        latest = ArtifactCollectionFilter.model_validate(of_runs)
        stay = {each.latest_id for each in await client.read_latest_artifacts(artifact_filter=latest)}
        left = ArtifactFilter.model_validate(of_runs)
        while doomed := [each.id for each in await client.read_artifacts(artifact_filter=left) if each.id not in stay]:
            for artifact in doomed:
                with suppress(ObjectNotFound):
                    await client.delete_artifact(artifact)
            self.pages += len(doomed)


async def _last_of(client: PrefectClient, deployment: UUID) -> set[UUID]:
    """Give the last run of a deployment that ended, and the last that was not cancelled."""
    last = set()
    for states in (TERMINAL_STATES, TERMINAL_STATES - {StateType.CANCELLED}):
        ended = _ended(datetime.now(UTC), states, deployment_id={"any_": [deployment]})
        found = await client.read_flow_runs(flow_run_filter=ended, sort=FlowRunSort.END_TIME_DESC, limit=1)
        last |= {run.id for run in found}
    return last
