"""The facts of an audit line in words, for the terminal and for the page."""

from __future__ import annotations

import json

from standby.recovery.audit_line import AuditLine
from standby.service.models import JsonValue

LONGEST_FACT = 200
"""Characters of a fact that are shown."""


def facts_told(line: AuditLine) -> str:
    """Put the facts of a line one after the other."""
    return ", ".join(f"{name} {_fact(value)}" for name, value in line.facts.items())


def _fact(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_FACT else f"{text[:LONGEST_FACT]}…"
