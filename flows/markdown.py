"""Text that the Prefect UI shows as a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table; nothing where it has no rows."""
    lines = [_row(row) for row in rows]
    return "\n".join([_row(head), _row("---" for _ in head), *lines]) if lines else ""


def page(*parts: str) -> str:
    """Put parts below each other, without those that are empty."""
    return "\n\n".join(part for part in parts if part)


def bullets(lines: Iterable[str]) -> str:
    """Write a list."""
    return "\n".join(f"- {_inline(line)}" for line in lines)


def seconds(value: float | None) -> str:
    """Write seconds as people read them."""
    if value is None:
        return "not known"
    minutes, rest = divmod(value, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if value >= 100 else f"{value:.1f} s"


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(_inline(str(cell)).replace('|', chr(92) + '|') for cell in cells)} |"


def _inline(text: str) -> str:
    return " ".join(text.split())
