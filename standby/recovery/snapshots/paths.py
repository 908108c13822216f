"""Where a plan's snapshots are in a store. Nothing is shared between plans, so that one can tidy up alone."""

from __future__ import annotations


def index_path(plan: str) -> str:
    """Give the list of a plan's snapshots."""
    return f"snapshots/{plan}/index.jsonl"


def manifest_path(plan: str, snapshot: str) -> str:
    """Give the manifest of a snapshot."""
    return f"snapshots/{plan}/{snapshot}.json"


def seal_path(plan: str, snapshot: str) -> str:
    """Give the signature of a manifest."""
    return f"snapshots/{plan}/{snapshot}.sig"


def object_path(plan: str, digest: str) -> str:
    """Give the object that has a definition."""
    return f"objects/{plan}/{digest[:2]}/{digest}"
