"""An error as its cause and the one thing to do about it, for people and for programs."""

from __future__ import annotations

from standby.errors import StandbyError, sentence
from standby.service.models import JsonValue


def cause_of(error: StandbyError) -> str:
    """Give the cause with the codes that the service gave, without a full stop."""
    told = str(error)
    if error.next_action:
        told = told.removesuffix(sentence(error.next_action))
    return told.rstrip().removesuffix(".")


def error_document(kind: str, cause: str, next_action: str) -> dict[str, JsonValue]:
    """Give the JSON document of a command that ended with an error."""
    return {"error": {"kind": kind, "cause": cause, "next_action": next_action}}
