"""The progress of parts adds up."""

from __future__ import annotations

from standby.replication.chunks import Tally
from standby.replication.items import Progress, Status


def test_the_whole_is_told_after_every_change_of_a_part() -> None:
    told: list[Progress] = []
    tally = Tally(5, told.append)
    first, second = tally.part(), tally.part()
    first(Progress(2, 1, ((Status.SUCCEEDED, 1),)))
    second(Progress(3, 3, ()))
    first(Progress(2, 0, ((Status.SUCCEEDED, 1), (Status.FAILED, 1))))
    assert [(progress.total, progress.in_flight, progress.done) for progress in told] == [
        (5, 1, 1),
        (5, 4, 1),
        (5, 3, 2),
    ]
    assert dict(told[-1].ended)[Status.FAILED] == 1
