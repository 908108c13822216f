"""The steps of a copy as task runs, with the retries of one plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from prefect.utilities.annotations import opaque

from standby.replication.context import RunContext
from standby.replication.planning import PlanItem
from standby.replication.steps import Receipt, Verified
from standby.service.authorization import CopyAuthorization
from tasks.add_defaults import add_defaults
from tasks.authorize import authorize
from tasks.conditions import retry_options
from tasks.copy import copy
from tasks.poll import poll
from tasks.validate_deployments import validate_deployments
from tasks.verify import verify


class TaskSteps:
    """Each step awaited as a task: plain `await` costs a fifth of what `.submit` does."""

    def __init__(self, context: RunContext) -> None:
        """Bind the tasks to one run.

        Args:
            context: what the steps work with.
        """
        retries = context.recovery_plan.retries
        # Prefect searches what a task is given for futures, at any depth; there are none in here.
        self._context = cast(RunContext, opaque(context))
        self._add_defaults = add_defaults.with_options(**retry_options(retries.validate_deployments))
        self._authorize = authorize.with_options(**retry_options(retries.authorize))
        self._validate = validate_deployments.with_options(**retry_options(retries.validate_deployments))
        self._copy = copy.with_options(**retry_options(retries.copy_))
        self._poll = poll.with_options(**retry_options(retries.poll))
        self._verify = verify.with_options(**retry_options(retries.verify))

    async def add_defaults(self, target: str, additions: Mapping[str, str]) -> None:
        """Add model names to a target's defaults."""
        await self._add_defaults(self._context, target, additions)

    async def authorize(self, item: PlanItem) -> CopyAuthorization:
        """Ask the source for a grant."""
        return await self._authorize(self._context, item)

    async def validate_deployments(self, item: PlanItem) -> tuple[str, ...]:
        """Check the models at the target; give warnings."""
        return await self._validate(self._context, item)

    async def copy(self, item: PlanItem, authorization: CopyAuthorization) -> Receipt:
        """Start the copy."""
        return await self._copy(self._context, item, authorization)

    async def poll(self, item: PlanItem, receipt: Receipt) -> None:
        """Wait for the copy's end."""
        await self._poll(self._context, item, receipt)

    async def verify(self, item: PlanItem) -> Verified:
        """Compare the copy with what was planned."""
        return await self._verify(self._context, item)
