"""The steps without Prefect, each tried again by its own condition."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from standby.clock import Clock
from standby.config.plan import RetryPolicy
from standby.replication import steps
from standby.replication.items import PlanItem
from standby.replication.steps import Receipt, RunContext, Verified
from standby.service.protocols import CopyAuthorization

log = logging.getLogger("standby.replication")

T = TypeVar("T")


@dataclass(frozen=True)
class DirectSteps:
    """The plain functions of `steps`, bound to one run."""

    context: RunContext

    async def add_defaults(self, target: str, additions: Mapping[str, str]) -> None:
        """Add model names to a target's defaults."""
        policy = self.context.recovery_plan.retries.validate_deployments
        step = partial(steps.add_defaults, self.context, target, additions)
        await self._again(policy, steps.is_transient, step)

    async def authorize(self, item: PlanItem) -> CopyAuthorization:
        """Ask the source for a grant."""
        policy = self.context.recovery_plan.retries.authorize
        step = partial(steps.authorize, self.context, item)
        return (await self._again(policy, steps.authorize_again, step))[0]

    async def validate_deployments(self, item: PlanItem) -> tuple[str, ...]:
        """Check the models at the target; give warnings."""
        policy = self.context.recovery_plan.retries.validate_deployments
        step = partial(steps.validate_deployments, self.context, item)
        return (await self._again(policy, steps.validate_again, step))[0]

    async def copy(self, item: PlanItem, authorization: CopyAuthorization) -> Receipt:
        """Start the copy."""
        policy = self.context.recovery_plan.retries.copy_
        step = partial(steps.copy, self.context, item, authorization)
        receipt, attempts = await self._again(policy, steps.copy_again, step)
        return replace(receipt, attempts=attempts)

    async def poll(self, item: PlanItem, receipt: Receipt) -> None:
        """Wait for the copy's end."""
        policy = self.context.recovery_plan.retries.poll
        await self._again(policy, steps.poll_again, partial(steps.poll, self.context, item, receipt))

    async def verify(self, item: PlanItem) -> Verified:
        """Compare the copy with what was planned."""
        policy = self.context.recovery_plan.retries.verify
        step = partial(steps.verify, self.context, item)
        return (await self._again(policy, steps.verify_again, step))[0]

    async def _again(
        self, policy: RetryPolicy, worth_it: Callable[[BaseException], bool], step: Callable[[], Awaitable[T]]
    ) -> tuple[T, int]:
        return await try_again(policy, worth_it, step, self.context.clock)


async def try_again(
    policy: RetryPolicy,
    worth_it: Callable[[BaseException], bool],
    step: Callable[[], Awaitable[T]],
    clock: Clock,
) -> tuple[T, int]:
    """Run a step as often as its policy and its condition allow.

    The delays are the policy's own list, as Prefect takes them: stamina's would be an exponential between
    two bounds.

    Returns:
        The step's result, and how often it was tried.
    """
    for attempt in range(1, policy.attempts):
        try:
            return await step(), attempt
        except Exception as error:
            if not worth_it(error):
                raise
            delay = policy.delays[min(attempt, len(policy.delays)) - 1]
            delay *= random.uniform(1 - policy.jitter, 1 + policy.jitter)  # noqa: S311 - spreads load, no secret
            log.info("trying again in %.1f s after: %s", delay, error)
            await clock.sleep(delay)
    return await step(), policy.attempts
