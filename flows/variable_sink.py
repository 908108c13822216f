"""The active endpoint map in a Prefect variable, which several plans may share.

A variable holds 5,000 characters (Prefect 3.9). So an analyzer that is called by its own id is left out of
it: whoever reads the variable calls by its own id whatever is not listed.
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.exceptions import PrefectException
from prefect.types import MAX_VARIABLE_VALUE_LENGTH
from prefect.variables import Variable
from pydantic import ValidationError

from flows.errors import SlotTaken
from flows.leases import hold
from standby.config.sinks import Sink, VariableSink
from standby.recovery.activation.opening import open_sinks
from standby.recovery.activation.sinks import (
    Activation,
    ActivationBook,
    ActivationSink,
    ActiveEndpoint,
    SinkFailed,
    must_follow,
)

PATIENCE = 30.0
"""Seconds that another run is waited for, which writes the same variable."""


class VariableActivation:
    """A Prefect variable that flows and applications read."""

    def __init__(self, settings: VariableSink) -> None:
        """Prepare; nothing is read or written yet."""
        self._variable = settings.name
        self._told: Activation | None = None

    @property
    def name(self) -> str:
        """The variable, as configured."""
        return f"variable {self._variable}"

    async def publish(self, activation: Activation) -> None:
        """Put the map into the variable, beside those of other plans."""
        told = _short(activation)
        try:
            async with hold(f"standby-variable-{self._variable}", PATIENCE):
                book = await self._book()
                found = book.plans.get(told.plan)
                must_follow(self.name, found, told)
                if found != told:
                    await self._write(ActivationBook(plans={**book.plans, told.plan: told}))
        except SlotTaken as error:
            raise SinkFailed(self.name, error.cause) from None
        except (httpx.HTTPError, PrefectException, ConcurrencySlotAcquisitionError) as error:
            raise self._no_answer(error) from None
        self._told = activation

    async def read(self, plan: str) -> Activation | None:
        """Give what the variable says of a plan; whole, where this process told it."""
        try:
            found = (await self._book()).plans.get(plan)
        except (httpx.HTTPError, PrefectException) as error:
            raise self._no_answer(error) from None
        whole = self._told
        return whole if whole is not None and found == _short(whole) else found

    async def _book(self) -> ActivationBook:
        content = await Variable.aget(self._variable)
        if content is None:
            return ActivationBook()
        try:
            return ActivationBook.model_validate(content)
        except ValidationError:
            # Somebody else's: what it says would be lost.
            reason = "it holds something else than an active endpoint map, which is not overwritten"
            raise SinkFailed(self.name, reason, "Name another variable under activation, or delete this one") from None

    async def _write(self, book: ActivationBook) -> None:
        length = len(book.model_dump_json().encode())
        if length > MAX_VARIABLE_VALUE_LENGTH:
            raise SinkFailed(
                self.name,
                f"the map has {length} characters, and a Prefect variable holds {MAX_VARIABLE_VALUE_LENGTH}",
                "Use a file or a webhook instead, or a variable of its own for each plan",
            )
        await Variable.aset(self._variable, book.model_dump(mode="json"), overwrite=True)

    def _no_answer(self, error: Exception) -> SinkFailed:
        return SinkFailed(
            self.name,
            f"the Prefect server does not take it ({type(error).__name__})",
            "See that it answers, then run again",
        )


def open_flow_sinks(sinks: Sequence[Sink]) -> Sequence[ActivationSink]:
    """Make the sinks of a configuration where there is Prefect."""
    return open_sinks(sinks, variable=VariableActivation)


def _short(activation: Activation) -> Activation:
    """Leave out the analyzers that are called by their own ids."""
    return activation.model_copy(
        update={"sources": {primary: _renamed(endpoint) for primary, endpoint in activation.sources.items()}}
    )


def _renamed(endpoint: ActiveEndpoint | None) -> ActiveEndpoint | None:
    if endpoint is None:
        return None
    analyzers = {own: called for own, called in endpoint.analyzers.items() if own != called}
    return endpoint.model_copy(update={"analyzers": analyzers})
