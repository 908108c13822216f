"""The outage evidence in the observations of one resource: who saw it fail, since when, and who contradicts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from standby.config.plan import SAME_LOOK, FailoverPolicy
from standby.recovery.probe import Observation

GAP = 1.5  # Probe periods without a look after which nothing is known of the time between: a new streak begins
SHORTEST_GAP = timedelta(seconds=15)  # However short the period is: a look may take most of this
EARLIER_GAP = 3  # The same, by the first rules
EARLIER_SAME_LOOK = 0.75  # `SAME_LOOK`, by the first rules
REGULAR = 1.1  # Probe periods at most between two probes of an observer that keeps probing
OWN_LOOKS = 2  # Looks of our own that an alert can only add to
CLOCKS = timedelta(seconds=5)  # By how much the clocks of two machines may differ


@dataclass(frozen=True)
class OutageEvidence:
    """The present streak of unhealthy looks of our own, and what stands against it."""

    # Unhealthy looks with no healthy one after them, oldest first; without those at its beginning that somebody else
    # had just contradicted.
    streak: tuple[Observation, ...]
    counted: tuple[Observation, ...]  # those of them that count, one per observer and part of a probe period
    alerts: tuple[str, ...]  # who else reports an outage; together they count as one more observation at most
    newest: Observation | None
    contradicting: tuple[str, ...]  # observers whose own newest look, less than a probe period old, is healthy
    clocks: timedelta
    # The last healthy look before the streak; `None` where none is known. The outage began between it and the first of
    # the streak.
    healthy_until: datetime | None = None

    @property
    def since(self) -> datetime | None:
        return self.streak[0].at if self.streak else None

    @property
    def lasted(self) -> timedelta:
        """How long the outage lasted at least."""
        return max(map(self.lasted_until, self.streak), default=timedelta())

    def lasted_until(self, last: Observation) -> timedelta:
        """Say how long an outage lasted at least, if a look was the last that failed."""
        # A look that fails proves that its last try found nothing: an earlier one may just have been lost on its way.
        # So the time between two looks counts, or between their last tries if that is shorter.
        spans = (
            min(last.at - first.at, _last_tries(last)[0] - _last_tries(first)[1]) - apart
            for first, apart in self.beginnings(last)
        )
        return max([timedelta(), *spans])

    def beginnings(self, last: Observation) -> Iterator[tuple[Observation, timedelta]]:
        """Give the first look, and the first by the clock of the last one; with by how much the clocks may differ."""
        for first in self.streak[:1]:
            yield first, timedelta() if _clock(first) == _clock(last) else self.clocks
        yield from ((look, timedelta()) for look in self.streak if _clock(look) == _clock(last))

    @property
    def votes(self) -> int:
        return len(self.counted) + bool(self.alerts and len(self.counted) >= OWN_LOOKS)

    @property
    def observers(self) -> tuple[str, ...]:
        return tuple(sorted({observation.observer for observation in self.counted}))


def weigh(
    observations: Sequence[Observation],
    resource: str,
    now: datetime,
    policy: FailoverPolicy,
    *,
    since: datetime | None = None,  # when the resource began to serve; nothing earlier counts
    gap: float = GAP,
    same: float = SAME_LOOK,  # share of a probe period within which two looks of one observer count once
    clocks: timedelta = CLOCKS,  # by how much the clocks of two machines may differ
) -> OutageEvidence:
    """Find the present streak.

    Only looks of our own prove an outage. A healthy one, whoever made it, ends the streak before it; one that cannot
    tell does nothing. An outage has not begun where another observer, who keeps looking, was just well served: so an
    observer with a broken network of its own does not make a blip longer than it is. Alerts can confirm an outage, and
    neither begin, nor lengthen, nor end one.

    A look dated up to a probe period ahead counts as of now, since clocks differ; what is dated further ahead is
    ignored.
    """
    said = [look for look in observations if look.resource == resource and look.healthy is not None]
    said = [look.model_copy(update={"at": min(look.at, now)}) for look in said if look.at <= now + policy.probe_every]
    believed = sorted((look for look in said if since is None or look.at > since + clocks), key=_order)
    known = [look for look in believed if not look.alert]
    longest = max(policy.probe_every * gap, SHORTEST_GAP)
    streak = _undisputed(_streak(known, longest, clocks), known, now, policy.probe_every * REGULAR)
    fresh = now - policy.probe_every
    by_observer = {look.observer: look for look in known}
    healthy = max((look.ended for look in known if look.healthy), default=None)
    alerts = {look.observer: look for look in believed if look.alert and (healthy is None or look.at > healthy)}
    # However long before the outage: nothing is known of the time between.
    before = [look.at for look in known if streak and look.healthy and look.at <= streak[0].at]
    return OutageEvidence(
        streak=tuple(streak),
        counted=_apart(streak, policy.probe_every * same),
        alerts=tuple(sorted(name for name, last in alerts.items() if not last.healthy)),
        newest=known[-1] if known else None,
        contradicting=tuple(sorted(name for name, last in by_observer.items() if last.healthy and last.at > fresh)),
        clocks=clocks,
        healthy_until=max(before, default=None),
    )


def proved_at(evidence: OutageEvidence, policy: FailoverPolicy) -> datetime | None:
    """Say when quorum and minimum outage were first both met; `None` where they are not."""
    if evidence.votes < policy.quorum:
        return None
    own = max(min(OWN_LOOKS, policy.quorum), policy.quorum - (evidence.votes - len(evidence.counted)))
    enough = evidence.counted[own - 1].at
    late = (look for look in evidence.streak if look.at >= enough)
    proofs = (look.ended for look in late if evidence.lasted_until(look) >= policy.minimum_outage)
    return min(proofs, default=None)


def provable_at(evidence: OutageEvidence, look: Observation, policy: FailoverPolicy) -> datetime | None:
    """Say from when on a look of the same observer that fails like this one proves the minimum outage.

    `None` where no outage was seen to begin.
    """
    moments = (
        max(first.at, _last_tries(first)[1] - (_last_tries(look)[0] - look.at)) + apart
        for first, apart in evidence.beginnings(look)
    )
    begun = min(moments, default=None)
    return None if begun is None else begun + policy.minimum_outage


def _last_tries(look: Observation) -> tuple[datetime, datetime]:
    """Give when the last tries of its checks began: the first of them, and the last."""
    after = [check.last_try for check in look.checks] or [0.0]
    return look.at + timedelta(seconds=min(after)), look.at + timedelta(seconds=max(after))


def _clock(look: Observation) -> str:
    """Name the machine by whose clock a look is dated; see `observer_here`."""
    return look.observer.rpartition("@")[2]


def _order(seen: Observation) -> tuple[object, ...]:
    # The oldest first; of two at one moment the healthy one counts as later. Remaining ties are broken by observer and
    # result, so that the order of the input does not matter.
    tries = tuple(check.last_try for check in seen.checks)
    return (seen.at, seen.healthy is True, seen.observer, seen.seconds, seen.summary, tries)


def _streak(known: Sequence[Observation], gap: timedelta, clocks: timedelta) -> list[Observation]:
    """Give the unhealthy looks that began after every healthy one had ended, back to where nobody looked for long."""
    healthy: dict[str, datetime] = {}
    for look in known:
        if look.healthy:
            healthy[_clock(look)] = max(look.ended, healthy.get(_clock(look), look.ended))
    streak: list[Observation] = []
    for look in reversed(known):
        ours = _clock(look)
        if any(look.at <= ended + (timedelta() if ours == clock else clocks) for clock, ended in healthy.items()):
            continue
        if streak and streak[-1].at - look.ended > gap:
            break
        streak.append(look)
    return streak[::-1]


def _undisputed(
    streak: Sequence[Observation], known: Sequence[Observation], now: datetime, regular: timedelta
) -> list[Observation]:
    def disputes(observer: str, unhealthy: Observation) -> bool:
        """Say whether an observer found it healthy just before, and has kept probing since."""
        looks = [look for look in known if look.observer == observer]
        before = [look for look in looks if look.at <= unhealthy.at]
        after = [look.at for look in looks if look.at > unhealthy.at]
        if not before or not before[-1].healthy or unhealthy.at - before[-1].at > regular:
            return False
        return min(after, default=now) - before[-1].at <= regular

    for position, look in enumerate(streak):
        others = {other.observer for other in known} - {look.observer}
        if not any(disputes(name, look) for name in others):
            return list(streak[position:])
    return []


def _apart(streak: Sequence[Observation], same: timedelta) -> tuple[Observation, ...]:
    """Give those that count: of one observer only such as are a while apart."""
    counted: list[Observation] = []
    last: dict[str, datetime] = {}
    for look in streak:
        before = last.get(look.observer)
        if before is None or look.at - before >= same:
            counted.append(look)
            last[look.observer] = look.at
    return tuple(counted)
