"""The steps without Prefect, each tried again by its own condition."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import stamina

from standby.config.plan import RetryPolicy
from standby.replication import retrying, steps
from standby.replication.context import RunContext
from standby.replication.planning import PlanItem
from standby.replication.steps import Receipt, Verified
from standby.service.authorization import CopyAuthorization

T = TypeVar("T")


@dataclass(frozen=True)
class DirectSteps:
    """The plain functions of `steps`, bound to one run."""

    context: RunContext

    async def add_defaults(self, target: str, additions: Mapping[str, str]) -> None:
        """Add model names to a target's defaults."""
        await steps.add_defaults(self.context, target, additions)

    async def authorize(self, item: PlanItem) -> CopyAuthorization:
        """Ask the source for a grant."""
        policy = self.context.recovery_plan.retries.authorize
        return (await _again(policy, retrying.authorize_again, lambda: steps.authorize(self.context, item)))[
            0
        ]

    async def validate_deployments(self, item: PlanItem) -> tuple[str, ...]:
        """Check the models at the target; give warnings."""
        policy = self.context.recovery_plan.retries.validate_deployments
        check = lambda: steps.validate_deployments(self.context, item)  # noqa: E731
        return (await _again(policy, retrying.validate_again, check))[0]

    async def copy(self, item: PlanItem, authorization: CopyAuthorization) -> Receipt:
        """Start the copy."""
        policy = self.context.recovery_plan.retries.copy_
        start = lambda: steps.copy(self.context, item, authorization)  # noqa: E731
        receipt, attempts = await _again(policy, retrying.copy_again, start)
        return replace(receipt, attempts=attempts)

    async def poll(self, item: PlanItem, receipt: Receipt) -> None:
        """Wait for the copy's end."""
        policy = self.context.recovery_plan.retries.poll
        await _again(policy, retrying.poll_again, lambda: steps.poll(self.context, item, receipt))

    async def verify(self, item: PlanItem) -> Verified:
        """Compare the copy with what was planned."""
        policy = self.context.recovery_plan.retries.verify
        return (await _again(policy, retrying.verify_again, lambda: steps.verify(self.context, item)))[0]


async def _again(
    policy: RetryPolicy, worth_it: Callable[[Exception], bool], step: Callable[[], Awaitable[T]]
) -> tuple[T, int]:
    """Run a step as often as its policy and its condition allow; give its result and the number of tries."""
    async for attempt in stamina.retry_context(
        on=worth_it,
        attempts=policy.attempts,
        wait_initial=policy.delays[0],
        wait_max=policy.delays[-1],
        timeout=None,
    ):
        with attempt:
            return await step(), attempt.num
    raise AssertionError("stamina ends with a result or an error")
