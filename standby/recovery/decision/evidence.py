"""The outage evidence in the observations of one resource: who saw it fail, since when, and who contradicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from standby.config.plan import FailoverPolicy
from standby.recovery.probe import Observation

GAP = 3
"""Probe periods without an observation, after which nothing is known about the time between."""

SAME_LOOK = 0.75
"""Share of a probe period within which two observations of one observer count once: schedules are uneven."""

REGULAR = 1.1
"""Probe periods at most between two probes of an observer that keeps probing."""


@dataclass(frozen=True)
class OutageEvidence:
    """The present streak of unhealthy observations, and what stands against it.

    Attributes:
        streak: unhealthy observations with no healthy one after them, oldest first; without those at its
            beginning that somebody else had just contradicted.
        counted: those of them that count, one per observer and probe period.
        contradicting: observers whose own newest observation, less than a probe period old, is healthy.
        healthy_until: the last healthy look before the streak; `None` where none is known. The outage began
            between it and the first of the streak.
    """

    streak: tuple[Observation, ...]
    counted: tuple[Observation, ...]
    newest: Observation | None
    contradicting: tuple[str, ...]
    healthy_until: datetime | None = None

    @property
    def since(self) -> datetime | None:
        """When the first of the streak was made."""
        return self.streak[0].at if self.streak else None

    @property
    def lasted(self) -> timedelta:
        """The time from the first to the latest of the streak: the outage lasted at least that long."""
        return self.streak[-1].at - self.streak[0].at if self.streak else timedelta()

    @property
    def observers(self) -> tuple[str, ...]:
        """Who made those that count."""
        return tuple(sorted({observation.observer for observation in self.counted}))


def weigh(observations: Sequence[Observation], resource: str, now: datetime, policy: FailoverPolicy) -> OutageEvidence:
    """Find the present streak.

    A healthy observation, whoever made it, ends the streak before it; one that cannot tell does nothing. An
    outage has not begun where another observer, who keeps looking, was just well served: so an observer
    with a broken network of its own does not make a blip longer than it is.

    One dated up to a probe period ahead counts as of now, since clocks differ; what is dated further ahead is
    ignored.
    """
    known = _in_order(observations, resource, now, policy.probe_every)
    streak = _undisputed(_streak(known, policy.probe_every * GAP), known, now, policy.probe_every * REGULAR)
    fresh = now - policy.probe_every
    by_observer = {observation.observer: observation for observation in known}
    return OutageEvidence(
        streak=tuple(streak),
        counted=_one_a_period(streak, policy.probe_every * SAME_LOOK),
        newest=known[-1] if known else None,
        contradicting=tuple(sorted(name for name, last in by_observer.items() if last.healthy and last.at > fresh)),
        healthy_until=_healthy_before(known, streak),
    )


def proved_at(evidence: OutageEvidence, policy: FailoverPolicy) -> datetime | None:
    """Say when quorum and minimum outage were first both met; `None` where they are not."""
    if len(evidence.counted) < policy.quorum:
        return None
    enough = evidence.counted[policy.quorum - 1].at
    begun = evidence.streak[0].at
    proofs = (
        observation.ended
        for observation in evidence.streak
        if observation.at >= enough and observation.at - begun >= policy.minimum_outage
    )
    return min(proofs, default=None)


def _in_order(observations: Sequence[Observation], resource: str, now: datetime, ahead: timedelta) -> list[Observation]:
    """Give those that are healthy or unhealthy, oldest first; of two at one moment the healthy one counts as later.

    What is left of a tie goes by who looked and what was seen, so that the order they come in means nothing.
    """
    believed = [
        observation.model_copy(update={"at": min(observation.at, now)})
        for observation in observations
        if observation.resource == resource and observation.healthy is not None and observation.at <= now + ahead
    ]
    return sorted(believed, key=_order)


def _order(seen: Observation) -> tuple[datetime, bool, str, str]:
    return (seen.at, seen.healthy is True, seen.observer, seen.model_dump_json())


def _streak(known: Sequence[Observation], gap: timedelta) -> list[Observation]:
    streak: list[Observation] = []
    for observation in reversed(known):
        if observation.healthy or (streak and streak[-1].at - observation.at > gap):
            break
        streak.append(observation)
    return streak[::-1]


def _healthy_before(known: Sequence[Observation], streak: Sequence[Observation]) -> datetime | None:
    """Give the last healthy look before an outage; however long ago, since nothing is known of the time between."""
    begun = streak[0].at if streak else None
    looks = [each.at for each in known if each.healthy and begun is not None and each.at <= begun]
    return max(looks, default=None)


def _undisputed(
    streak: Sequence[Observation], known: Sequence[Observation], now: datetime, regular: timedelta
) -> list[Observation]:
    for position, observation in enumerate(streak):
        others = {other.observer for other in known} - {observation.observer}
        if not any(_disputes(name, observation, known, now, regular) for name in others):
            return list(streak[position:])
    return []


def _disputes(
    observer: str, unhealthy: Observation, known: Sequence[Observation], now: datetime, regular: timedelta
) -> bool:
    """Say whether an observer found it healthy just before, and has kept probing since."""
    looks = [look for look in known if look.observer == observer]
    before = [look for look in looks if look.at <= unhealthy.at]
    after = [look.at for look in looks if look.at > unhealthy.at]
    if not before or not before[-1].healthy or unhealthy.at - before[-1].at > regular:
        return False
    return min(after, default=now) - before[-1].at <= regular


def _one_a_period(streak: Sequence[Observation], same: timedelta) -> tuple[Observation, ...]:
    counted: list[Observation] = []
    last: dict[str, datetime] = {}
    for observation in streak:
        before = last.get(observation.observer)
        if before is None or observation.at - before >= same:
            counted.append(observation)
            last[observation.observer] = observation.at
    return tuple(counted)
