"""Where each resource of a plan is drawn: sources on the left, targets on the right, a line for each pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from standby.fencing import Fence, Phase
from standby.recovery.readiness.document import Readiness, State

WIDTH = 720
BOX_WIDTH = 220
BOX_HEIGHT = 58
GAP = 24
MARGIN = 12


@dataclass(frozen=True)
class Box:
    """One resource.

    Attributes:
        x: left edge, in units of the drawing.
        y: upper edge.
        role: what it does now, in a few words.
        serves: whether it serves somebody.
    """

    name: str
    region: str
    x: float
    y: float
    role: str
    serves: bool


@dataclass(frozen=True)
class Arrow:
    """One pair, from the right edge of its source to the left edge of its target.

    Attributes:
        label_y: where its state is written: above a line that rises, below one that falls.
    """

    home: str
    target: str
    x1: float
    y1: float
    x2: float
    y2: float
    label_y: float
    state: State


@dataclass(frozen=True)
class RegionMap:
    """The drawing, in units of its own."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def draw_map(readiness: Sequence[Readiness], fence: Fence, regions: Mapping[str, str]) -> RegionMap:
    """Place every resource once; a source that is another's target, too, stays among the sources."""
    homes = list(dict.fromkeys(each.home for each in readiness))
    targets = [name for name in dict.fromkeys(each.target for each in readiness) if name not in homes]
    height = max(len(homes), len(targets)) * (BOX_HEIGHT + GAP) - GAP + 2 * MARGIN
    places = {**_column(homes, MARGIN, height), **_column(targets, WIDTH - MARGIN - BOX_WIDTH, height)}
    roles = _roles(fence)
    boxes = tuple(
        Box(name, regions.get(name, ""), x, y, roles.get(name, "stands by"), serves=name in roles)
        for name, (x, y) in places.items()
    )
    return RegionMap(WIDTH, height, boxes, tuple(_arrow(each, places) for each in readiness))


def _column(names: Sequence[str], x: float, height: float) -> dict[str, tuple[float, float]]:
    tall = len(names) * (BOX_HEIGHT + GAP) - GAP
    top = (height - tall) / 2
    return {name: (x, top + number * (BOX_HEIGHT + GAP)) for number, name in enumerate(names)}


def _roles(fence: Fence) -> dict[str, str]:
    roles: dict[str, str] = {}
    for home, side in fence.sides.items():
        told = "serves" if side.active == home else f"serves for {home}"
        if side.phase is Phase.SWITCHING:
            told = f"served until a switch to {side.target} began"
        elif side.phase is Phase.ACTIVATED:
            told = f"{told}, not committed"
        roles[side.active] = f"{roles[side.active]}; {told}" if side.active in roles else told
    return roles


def _arrow(readiness: Readiness, places: Mapping[str, tuple[float, float]]) -> Arrow:
    (x1, y1), (x2, y2) = places[readiness.home], places[readiness.target]
    middle = BOX_HEIGHT / 2
    # Both may be sources, one above the other: then the line goes along their right edges.
    end = x2 + BOX_WIDTH if x2 <= x1 else x2
    return Arrow(
        home=readiness.home,
        target=readiness.target,
        x1=x1 + BOX_WIDTH,
        y1=y1 + middle,
        x2=end,
        y2=y2 + middle,
        label_y=y2 + middle + (18 if y2 > y1 else -8),
        state=readiness.state,
    )
