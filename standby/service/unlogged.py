"""Keeps addresses that are secrets themselves out of httpx's log, which names every one that it calls."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SECRET: ContextVar[bool] = ContextVar("standby_secret_address", default=False)


class _Silence(logging.Filter):
    def filter(self, _record: logging.LogRecord) -> bool:
        return not _SECRET.get()


logging.getLogger("httpx").addFilter(_Silence())


@contextmanager
def secret_address() -> Iterator[None]:
    """Have httpx not log what is called inside: a signature or a token is a part of its address."""
    token = _SECRET.set(True)
    try:
        yield
    finally:
        _SECRET.reset(token)
