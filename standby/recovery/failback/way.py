"""Where a failback leads, and from where: read off the fence."""

from __future__ import annotations

from dataclasses import dataclass

from standby.config.plan import RecoveryPlan
from standby.fencing import Fence, Phase
from standby.recovery.failback.errors import NotAHome, SeveralHomes
from standby.recovery.failover.errors import SwitchUnfinished


@dataclass(frozen=True)
class Way:
    """The way back of one source of a plan.

    Attributes:
        standby: what serves in its place, or did until the switch; `None` where nothing did.
        is_back: home serves already.
        is_switching: the switch has begun, and has not ended.
    """

    home: str
    standby: str | None
    is_back: bool
    is_switching: bool


def choose_home(plan: RecoveryPlan, fence: Fence, home: str | None) -> str:
    """Give the source to bring back: the one that was named, or the only one that it can be.

    Raises:
        NotAHome: the one that was named is no source.
        SeveralHomes: it is not clear which.
    """
    if home is not None:
        if home not in fence.sides:
            raise NotAHome(plan.name, home, fence.sides)
        return home
    away = [
        name for name, side in fence.sides.items() if name != side.active or side.phase is not Phase.STEADY
    ]
    candidates = away or list(fence.sides)
    if len(candidates) > 1:
        raise SeveralHomes(plan.name, candidates)
    return candidates[0]


def way_back(fence: Fence, home: str, unfinished: str | None) -> Way:
    """Say from where a source is to be brought back.

    Args:
        fence: which side serves.
        home: the source.
        unfinished: the standby of a failback that was begun and has not ended.

    Raises:
        SwitchUnfinished: a switch that leads elsewhere has to end first.
    """
    side = fence.sides[home]
    if side.phase is Phase.SWITCHING:
        if side.active == home or side.target != home:
            raise SwitchUnfinished(fence.plan, home, side.target or side.active, side.active)
        return Way(home, side.active, is_back=False, is_switching=True)
    if side.active != home:
        return Way(home, side.active, is_back=False, is_switching=False)
    return Way(home, unfinished or side.previous, is_back=True, is_switching=False)
