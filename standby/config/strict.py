"""The base of everything in the configuration: frozen, and nothing unknown in it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A part of the configuration; a misspelt key is an error, and errors never quote what was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
