"""Placeholder until H1 lands."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from standby.config.vault import Place
from standby.vault.storage import Storage


def open_object_storage(place: Place) -> AbstractAsyncContextManager[Storage]:
    raise NotImplementedError
