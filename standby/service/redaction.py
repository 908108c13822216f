"""Texts of the service made fit to be shown: one line, bounded, and without anything secret."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import quote

from standby.text import clean

MOST_CHARACTERS = 300  # A message of the service is cut there

HIDDEN = "***"
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Signatures of storage URLs, and tokens: the service may quote what it was given.
_ALWAYS_SECRET = re.compile(r"(?i)(?<=[?&]sig=)[^&\s'\"]+|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?")


def hidden(text: str, secrets: Iterable[str] = ()) -> str:
    """Hide in a text what is secret by its looks, and the given secrets in any usual encoding."""
    spellings = {spelling for secret in secrets if secret for spelling in _spellings(secret)}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, HIDDEN)
    return _ALWAYS_SECRET.sub(HIDDEN, text)


def _spellings(secret: str) -> tuple[str, ...]:
    in_json = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
    return secret, quote(secret, safe=""), quote(secret), *in_json


def one_line(text: str, secrets: Iterable[str] = ()) -> str:
    """Bring a text to one printable line of bounded length, without secrets and with no full stop at its end."""
    text = hidden(text, secrets)
    return clean(" ".join(clean(text, len(text)).split()), MOST_CHARACTERS).rstrip(". ")


def code_of(value: object) -> str | None:
    """Take an error code or a request id as it is, or not at all."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


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
