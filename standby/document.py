"""JSON, and the bases of the models that are read from people or written as JSON."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast

import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue, field_validator
from pydantic_core import from_json, to_json

__all__ = ["JsonValue"]  # What is given on of pydantic; all else is its own

JsonObject = dict[str, JsonValue]


def from_home(path: Path) -> Path:
    """Put the home folder of who runs this where a path begins with `~`, or that of somebody else for `~name`."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"begins with {path.parts[0]}, but no user of that name has a home folder here") from None


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it; a device or a pipe is written to, not replaced."""
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


LocalPath = Annotated[Path, AfterValidator(from_home)]  # A path of this machine as people write it


def json_text(document: JsonValue, *, ensure_ascii: bool = False) -> str:
    """Write JSON that people may look at: escaped is whatever a terminal might act upon, or an editor not show."""
    try:
        # Several times faster, of what may be hundreds of thousands of items.
        text = to_json(document, indent=1).decode()
    except ValueError:
        text = json.dumps(document, indent=1, ensure_ascii=False)
    # Only inside of its strings there is anything of that kind.
    return re.sub(
        r"[^\n -~]",
        lambda found: found[0] if found[0].isprintable() and not ensure_ascii else json.dumps(found[0])[1:-1],
        text,
    )


class Document(BaseModel):
    """A value that crosses a boundary: frozen, read by a field's name or by the key that it has in JSON."""

    model_config = ConfigDict(frozen=True, validate_by_name=True, serialize_by_alias=True, defer_build=True)

    @field_validator("*")
    @classmethod
    def _in_utc(cls, value: Any) -> Any:
        """Take a moment without an offset for UTC: it could be compared with no other one."""
        return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


class Strict(BaseModel):
    """A part of what an operator writes: a misspelt key is an error, and no error quotes what was written."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


def digest_of(content: bytes) -> str:
    """Give the digest that names a file and proves its content: SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


_FRACTION = re.compile(r"[:,\[]-?[0-9]+[.eE]")
_LAST_CHARACTERS = re.compile("[\ue000-\U0010ffff]")  # What RFC 8785 may write, or sort, otherwise than `json.dumps`


def canonical(value: JsonValue) -> bytes:
    """Write a value as canonical JSON (RFC 8785): the same however it was written."""
    # The standard library's encoder is many times faster, and most values hold nothing else.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    is_plain = not _FRACTION.search(f":{text}") and (text.isascii() or not _LAST_CHARACTERS.search(text))
    return text.encode() if is_plain else rfc8785.dumps(value)


def digest_of_json(value: JsonValue) -> str:
    """Give the SHA-256 of a value's canonical JSON."""
    return digest_of(canonical(value))


MOST_LEVELS = 100  # Values nested deeper than this are not worked with; the deepest known analyzer has 12 levels
_CUT_LEVEL = MOST_LEVELS + 10  # Where all is too deep, nothing below this is read: enough is left to see that
_MARK = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def read_json(content: bytes) -> JsonValue:
    """Read JSON with whatever odd value in it, so that this costs no more than itself: `oddity` tells.

    Bytes that are not UTF-8 become halves of surrogate pairs, and a number of too many digits becomes infinite.

    Raises:
        ValueError: it is not JSON.
    """
    with suppress(ValueError):
        # It reads faster and refuses what is odd, down to 200 levels; of what it takes it makes the same.
        return cast(JsonValue, from_json(content, allow_inf_nan=False))
    text = content.decode("utf-8-sig", "surrogateescape")
    try:
        found: JsonValue = json.loads(text, parse_int=_integer, strict=False)
    except RecursionError:
        found = json.loads(_cut(text), parse_int=_integer, strict=False)
    return found


def oddity(value: JsonValue) -> str:
    """Say what about a value keeps others from reading or hashing it; empty where nothing does."""
    if _is_too_deep(value):
        return f"is nested deeper than {MOST_LEVELS} levels"
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "has text that is not Unicode"
    except ValueError:
        return "has a number that is not valid or too large"
    return ""


def _is_too_deep(value: JsonValue) -> bool:
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def as_text(value: JsonValue) -> bytes:
    """Write a value as JSON, to be kept and read again; `ValueError` where anything about it is odd."""
    text = to_json(value)
    # Many times faster than to ask, and nearly always enough to know.
    may_be_deep = text.count(b"{") + text.count(b"[") >= MOST_LEVELS
    if (may_be_deep and _is_too_deep(value)) or ((b"NaN" in text or b"Infinity" in text) and oddity(value)):
        raise ValueError("odd")
    return text


def _integer(digits: str) -> float:
    try:
        return int(digits)
    except ValueError:  # Python reads so many digits and no more.
        return float("inf")


def _cut(text: str) -> str:  # Empties what is nested deeper than can be read
    kept: list[str] = []
    level = begin = 0
    for mark in _MARK.finditer(text):
        if mark[0] in {"[", "{"}:
            level += 1
            if level == _CUT_LEVEL:
                kept.append(text[begin : mark.end()])
                begin = len(text)
        elif mark[0] in {"]", "}"}:
            if level == _CUT_LEVEL:
                begin = mark.start()
            level -= 1
    return "".join(kept) + text[begin:]
