"""What a drill must leave as it is: the real fence, and what the real sinks were told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from standby.recovery.activation.publishing import read_back
from standby.recovery.activation.sink import SinkFailed
from standby.recovery.context import RecoveryContext

UNKNOWN = "unknown"
"""Stands for what cannot be read."""


async def seen_now(context: RecoveryContext) -> Mapping[str, str]:
    """Give the digest of everything real that a failover would change, by what it is."""
    fence = f"recovery/{context.plan.name}/fence.json"
    seen = {f"fence {context.vault.where(fence)}": _digest(await context.vault.read(fence))}
    told = await read_back(context.sinks, context.plan.name)
    for sink, activation in zip(context.sinks, told, strict=True):
        if activation is None or isinstance(activation, SinkFailed):
            seen[sink.name] = UNKNOWN
        else:
            seen[sink.name] = _digest(activation.model_dump_json().encode())
    return seen


def _digest(content: bytes | None) -> str:
    return hashlib.sha256(content or b"").hexdigest()
