"""For which primary a resource is to serve."""

from __future__ import annotations

import pytest

from standby.config.plan import RecoveryPlan
from standby.errors import StandbyError
from standby.fencing import Assignment, Fence, Phase
from standby.recovery.assignments import AlreadyActive, NotAPrimary, NotATarget, SeveralPrimaries, choose_primary

PLAN = RecoveryPlan.model_validate(
    {
        "name": "p",
        "pairs": [
            {"source": "east", "targets": ["west", "north"]},
            {"source": "south", "targets": ["west", "east"]},
        ],
    }
)


def fence(**active: str) -> Fence:
    sides = {"east": "east", "south": "south", **active}
    return Fence(plan="p", epoch=1, assignments={primary: Assignment(active=name) for primary, name in sides.items()})


@pytest.mark.parametrize(
    ("to", "named", "now", "primary"),
    [
        ("north", "", fence(), "east"),
        ("west", "south", fence(), "south"),
        ("west", "", fence(east="west"), "south"),
        ("south", "", fence(south="west"), "south"),
        # East serves for itself, so it can only be meant to serve for the south.
        ("east", "", fence(), "south"),
    ],
)
def test_it_is_the_only_source_that_it_can_be(to: str, named: str, now: Fence, primary: str) -> None:
    assert choose_primary(PLAN, now, to=to, named=named) == primary


@pytest.mark.parametrize(
    ("to", "named", "now", "error"),
    [
        ("west", "", fence(), SeveralPrimaries),
        ("north", "", fence(east="north"), AlreadyActive),
        ("nowhere", "", fence(), NotATarget),
        ("north", "south", fence(), NotATarget),
        ("north", "west", fence(), NotAPrimary),
    ],
)
def test_what_cannot_be_told_is_asked_back(to: str, named: str, now: Fence, error: type[StandbyError]) -> None:
    with pytest.raises(error):
        choose_primary(PLAN, now, to=to, named=named)


def test_a_switch_that_is_under_way_can_be_gone_on_with_or_taken_back() -> None:
    side = Assignment(active="east", phase=Phase.SWITCHING, target="north")
    under_way = Fence(plan="p", epoch=1, assignments={"east": side, "south": Assignment(active="east")})
    for to in ("north", "east"):
        assert choose_primary(PLAN, under_way, to=to) == "east"
