"""Files that hold knowledge only: what is lost of them costs a forecast or a hint, never a recovery."""

from __future__ import annotations

import logging
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from standby.config.explanation import summary
from standby.vault.filesystem import Objects

log = logging.getLogger("standby.vault")

M = TypeVar("M", bound=BaseModel)


async def read_knowledge(objects: Objects, path: str, model: type[M]) -> M:
    """Read a file; one that is not there, or cannot be understood, is as good as a new one.

    Args:
        objects: the vault.
        path: of the file.
        model: what it holds; made without arguments, it is a new one.

    Raises:
        VaultUnavailable: it cannot be told what it holds.
    """
    content = await objects.read(path)
    if not content:
        return model()
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        log.warning("%s cannot be read and is begun anew: %s", objects.where(path), summary(error))
        return model()
