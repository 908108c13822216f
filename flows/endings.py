"""How a recovery's flow runs end: states that say in the Prefect UI what became of them."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from pydantic import BaseModel

from standby.errors import GuardRefused


def ended(name: str, message: str, report: BaseModel | None = None) -> State[Any]:
    """Give the state of a run that did what it is there for; the report is its result."""
    return Completed(name=name, message=message, data=_data(report))


def fell_short(name: str, message: str, report: BaseModel | None = None) -> State[Any]:
    """Give the state of a run that somebody has to look after."""
    return Failed(name=name, message=message, data=_data(report))


def stopped(message: str) -> State[Any]:
    """Give the state of a run that was told to stop, and did."""
    return Cancelled(message=message)


def refused(error: GuardRefused) -> State[Any]:
    """Give the state of a run that a guard refused: nothing was done, and the error is its result."""
    return Failed(name="Refused", message=str(error), data=error)


def _data(report: BaseModel | None) -> Any:
    return None if report is None else report.model_dump(mode="json")
