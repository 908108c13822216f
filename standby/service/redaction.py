"""Texts of the service made fit to be shown: one line, bounded, and without anything secret."""

import json
import logging
import re
from base64 import b64encode
from urllib.parse import quote

from pydantic import SecretStr

from standby.text import clean

MOST_CHARACTERS = 300  # A message of the service is cut there
MOST_SEARCHED = 100_000  # Of a longer one, the rest is not even looked at
HIDDEN = "***"
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# Signatures of storage URLs, and tokens: the service may quote what it was given.
_ALWAYS_SECRET = re.compile(r"(?i)(?<=[?&]sig=)[^&\s'\"]+|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?")


MOST_KEPT = 500  # Secrets that are known at once: those of the copies in flight, and the keys of resources
LEAST_SECRET = 6  # Characters of one: less would hide ordinary words


_GAP = "[\\s\\x00-\\x1f\\x7f-\\x9f\\xad\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]"
"""What may stand between the characters of a secret that was broken, such as a line end, and not be seen."""

_GAPS = re.compile(f"{_GAP}+")


# What this process holds that is secret, the one that was used last at the end, with every usual spelling of it:
# whoever is sent it may quote it later.
_kept: dict[str, set[str]] = {}
_longest_first: list[str] = []


def keep_secret(secret: SecretStr | None) -> None:
    """Have it hidden from now on in whatever a service says: in messages, codes, ids, headers and links."""
    if secret is None or len(value := secret.get_secret_value()) < LEAST_SECRET:
        return
    known = _kept.pop(value, None)
    _kept[value] = known or _spellings(value)
    if known is None:
        if len(_kept) > MOST_KEPT:
            del _kept[next(iter(_kept))]  # Which was not used for longest.
        _longest_first[:] = sorted({each for every in _kept.values() for each in every}, key=len)[::-1]


def hidden(text: str) -> str:
    """Hide in a text of a service what is secret by its looks, and every secret that it may have from us."""
    squeezed = _squeezed(text)
    for spelling in _longest_first:
        if spelling in squeezed:
            broken = f"{_GAP}*".join(map(re.escape, spelling))
            text = re.sub(broken, HIDDEN, text, flags=re.IGNORECASE)
            squeezed = _squeezed(text)
    return _ALWAYS_SECRET.sub(HIDDEN, text)


def _squeezed(text: str) -> str:
    return _GAPS.sub("", text).lower()


def _spellings(secret: str) -> set[str]:
    in_json = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
    content = secret.encode("utf-8", "surrogatepass")
    # Whatever stands before or after it in the same Base64, these characters are its own.
    in_base64 = [
        b64encode(bytes(before) + content).decode()[(4 * before + 2) // 3 : (before + len(content)) * 8 // 6]
        for before in range(3)
    ]
    in_urls = [each.replace("+", "-").replace("/", "_") for each in in_base64]
    written = {secret, quote(secret, safe=""), quote(secret), *in_json, content.hex(), *in_base64, *in_urls}
    return {short for each in written if len(short := _squeezed(each)) >= LEAST_SECRET}


def one_line(text: str) -> str:
    """Bring a text to one printable line of bounded length, without secrets and with no full stop at its end."""
    text = hidden(text[:MOST_SEARCHED])
    return clean(" ".join(clean(text, len(text)).split()), MOST_CHARACTERS).rstrip(". ")


def code_of(value: object) -> str | None:
    """Take an error code or a request id as it is, or not at all."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) and hidden(value) == value else None


def _has_no_secret(record: logging.LogRecord) -> bool:
    return hidden(said := record.getMessage()) == said


# They log addresses, of which a signature or a token may be a part, and what servers answer in headers.
for _name in ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy"):
    logging.getLogger(_name).addFilter(_has_no_secret)
