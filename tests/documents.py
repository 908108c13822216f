"""Sample documents with canaries in them, what the emulated service read there, and where that is found again."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest

from standby.emulator.world import ResourceState

SAID = "canary Quendelberg"  # In a line of every document


def document(number: int, *lines: str) -> bytes:
    """A page with text: a PDF, as far as the emulated service reads one."""
    shown = "".join(f"({line}) Tj\n" for line in (f"{SAID} {number}", *lines))
    return f"%PDF-1.4\n1 0 obj <</Type /Page>> endobj\nBT\n{shown}ET\n%%EOF\n".encode()


def noting_what_is_read(patch: pytest.MonkeyPatch) -> set[str]:
    """Give what the emulated service reads in documents from now on, but for what is too short to be told again."""
    found = {SAID, base64.b64encode(document(0)).decode()[:40]}
    keep = ResourceState.keep_result

    def remember(self: ResourceState, operation: str, analyzer: str, result: Any) -> None:
        found.update(value for value in _values(json.loads(result.ended)) if re.search(r"\d", value[6:]))
        keep(self, operation, analyzer, result)

    patch.setattr(ResourceState, "keep_result", remember)
    return found


def _values(answer: Any) -> Iterator[str]:
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name == "markdown" or (name.startswith("value") and not isinstance(value, list | dict)):
                yield from str(value).splitlines()
            else:
                yield from _values(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from _values(value)


def holding(places: Mapping[str, bytes], read: Collection[str]) -> set[str]:
    """Name the places that hold something of a document; a number counts where it is no part of a longer one."""
    found = set()
    for name, content in places.items():
        for value in read:
            pattern = rb"(?<![\d.])" + re.escape(value.encode()) + rb"(?!\d)"
            if value.encode() in content and re.search(pattern, content):
                found.add(f"{name}: {value}")
    return found
