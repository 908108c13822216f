"""A recovery inside a flow run: everything it needs comes from blocks, and a Prefect variable can be its sink."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import httpx
from prefect import exceptions, runtime, types, variables
from prefect.context import FlowRunContext

from standby.blocks.store import load_what_is_usable
from standby.config.configuration import Configuration
from standby.config.sinks import VariableSink
from standby.flows.errors import SlotTaken
from standby.flows.limits import NO_SLOT, hold
from standby.recovery.activation import sinks
from standby.recovery.context import RecoveryContext, open_recovery, open_sinks
from standby.tasks.stage import MOST_OF_A_NAME
from standby.text import clean


@asynccontextmanager
async def recovering(plan: str, *, scratch: str = "", by: str = "") -> AsyncIterator[RecoveryContext]:
    """Open what a recovery of a plan needs, with a scratch resource that no plan uses; no resource is called yet."""
    configuration = await load_what_is_usable(plan, scratch=scratch)
    async with open_in_flow(configuration, plan, by) as context:
        yield context


def open_in_flow(configuration: Configuration, plan: str, by: str = "") -> AbstractAsyncContextManager[RecoveryContext]:
    """Open what a recovery of a plan needs, of blocks that are loaded already."""
    return open_recovery(
        configuration,
        plan,
        via="prefect",
        sinks=partial(open_sinks, variable=VariableActivation),
        # Where no deployment started it, somebody at this machine did.
        actor=_who_started(by) if runtime.deployment.id else "",
        run_id=str(runtime.flow_run.id),
    )


NOBODY = {"AUTOMATION", "SCHEDULE", "DEPLOYMENT"}  # What starts runs and is no person, as Prefect calls it


def _who_started(claimed: str) -> str:
    """Name the person who started this run, where Prefect knows one (its Cloud does) or one is claimed, and the run."""
    run = f"flow run {runtime.flow_run.name}"
    found = FlowRunContext.get()
    by = found.flow_run.created_by if found and found.flow_run else None
    known = "" if by is None or (by.type or "").upper() in NOBODY else by.display_value or ""
    name = known or claimed.strip()
    return clean(f"{name}, {run}", MOST_OF_A_NAME) if name else run


PATIENCE = 5.0  # Seconds to wait for another run that writes the same variable: it takes it a moment
ANSWER = 20.0  # Seconds that the Prefect server may take in all

NO_ANSWER = (httpx.HTTPError, exceptions.PrefectException, OSError, RuntimeError, ValueError)
"""How calls to Prefect fail: no connection or time, a refusal, a closed client, an answer of another version."""

log = logging.getLogger("standby.flows")


def variable_limit(name: str) -> str:
    """Give the name of the limit by which plans write a variable one after the other."""
    return f"standby-variable-{name}"


class VariableActivation:
    """A Prefect variable that flows and applications read, and several plans may share.

    It holds 5,000 characters (Prefect 3.9), so an analyzer that is called by its own id is left out of it:
    a reader of the variable uses an analyzer's own id where none is listed.
    """

    def __init__(self, settings: VariableSink) -> None:
        self._variable = settings.name
        self.name = self.id = f"variable {settings.name}"
        self.required = settings.required
        self.readable = True
        self._published: sinks.Activation | None = None
        self._slot = True

    async def publish(self, activation: sinks.Activation) -> None:
        wanted = _short(activation)
        try:
            async with asyncio.timeout(ANSWER), self._alone():
                maps = await self._maps(wanted.plan)
                found = maps.plans.get(wanted.plan)
                sinks.must_follow(self.name, found, wanted)
                if not wanted.says_the_same(found):
                    await self._write(sinks.ActiveMaps(plans={**maps.plans, wanted.plan: wanted}))
        except NO_ANSWER as error:
            raise self._no_answer(error) from None
        self._published = activation

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep other plans from writing the variable meanwhile, as far as Prefect does that.

        A server that was restarted may never give a slot back, and no failover waits for that. What two plans write
        at once may then be lost for one of them; it is published again as soon as that is seen.
        """
        async with AsyncExitStack() as stack:
            try:
                if self._slot:
                    await stack.enter_async_context(hold(variable_limit(self._variable), PATIENCE))
            except (SlotTaken, *NO_SLOT) as error:
                self._slot = False  # It is not waited for a second time.
                log.warning("%s is written without Prefect's slot: %s", self.name, type(error).__name__)
            yield

    async def read(self, plan: str) -> sinks.Activation | None:
        """Give what the variable says of a plan; the whole map, where this process published it."""
        try:
            found = (await self._maps(plan)).plans.get(plan)
        except NO_ANSWER as error:
            raise self._no_answer(error) from None
        whole = self._published
        return whole if whole is not None and whole.says_the_same(found) else found

    async def _maps(self, plan: str) -> sinks.ActiveMaps:
        content = await variables.Variable.aget(self._variable)
        if content is None:
            return sinks.ActiveMaps()
        advice = "Name another variable under activation, or delete this variable"
        return sinks.read_maps(self.name, self.name, json.dumps(content).encode(), plan, advice)

    async def _write(self, maps: sinks.ActiveMaps) -> None:
        length = len(maps.model_dump_json().encode())
        if length > types.MAX_VARIABLE_VALUE_LENGTH:
            reason = f"the map has {length} characters, and a Prefect variable holds {types.MAX_VARIABLE_VALUE_LENGTH}"
            action = "Use a file or a webhook instead, or a variable of its own for each plan"
            raise sinks.SinkFailed(self.name, reason, action)
        await variables.Variable.aset(self._variable, maps.model_dump(mode="json"), overwrite=True)

    def _no_answer(self, error: Exception) -> sinks.SinkFailed:
        reason = f"the Prefect server did not accept it ({type(error).__name__})"
        return sinks.SinkFailed(self.name, reason, "Check that the server answers, then run again")


def _short(activation: sinks.Activation) -> sinks.Activation:
    """Leave out the analyzers that are called by their own ids."""
    sources: dict[str, sinks.ActiveEndpoint | None] = {}
    for primary, endpoint in activation.sources.items():
        renamed = {own: called for own, called in endpoint.analyzers.items() if own != called} if endpoint else {}
        sources[primary] = endpoint and endpoint.model_copy(update={"analyzers": renamed})
    return activation.model_copy(update={"sources": sources})
