"""The guards, each one question about a decision input, and the decision: act, wait or refuse, by their answers."""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial

from standby.config.durations import roughly
from standby.config.plan import serves_rest
from standby.fencing import Phase
from standby.recovery.decision.automation import position_words
from standby.recovery.decision.evidence import (
    EARLIER_GAP,
    EARLIER_SAME_LOOK,
    SHORTEST_GAP,
    OutageEvidence,
    proved_at,
    weigh,
)
from standby.recovery.decision.input import (
    NEVER_FORCED,
    Candidate,
    CopyAge,
    Decision,
    DecisionInput,
    Fitness,
    Guard,
    GuardOutcome,
    GuardResult,
    Outcome,
    Restorable,
)
from standby.recovery.readiness.document import with_parents
from standby.recovery.snapshots.fidelity import Fidelity
from standby.text import counted, some_of

PASS, WAIT, REFUSE = GuardOutcome.PASS, GuardOutcome.WAIT, GuardOutcome.REFUSE
Answer = tuple[GuardOutcome, str]  # Of one guard, and why; where the reason is empty, there is nothing to say


def off_switch(given: DecisionInput) -> Answer:
    """Ask whether outages may start anything at all."""
    switch = given.automation
    if switch.on:
        return PASS, "automation is on"
    text = f"a{position_words(switch)[1:]}"
    if given.requested_by == "operator":
        return PASS, f"{text}; this does not stop an operator"
    return REFUSE, text


def already_active(given: DecisionInput, to: str | None) -> Answer:
    """Ask whether there is anything to do."""
    if outage_is_elsewhere(given):
        text = f"the outage is at {given.outage_of}, but {given.active} serves for {given.primary}"
    elif to is None:
        text = f"no resource but {given.active} could serve for {given.primary}"
    elif to == given.active:
        text = f"{to} serves for {given.primary} already (epoch {given.epoch})"
    else:
        return PASS, f"{given.active} serves (epoch {given.epoch})"
    return REFUSE, text


def one_at_a_time(given: DecisionInput, to: str | None) -> Answer:
    """Ask whether another failover is under way, or waits to be committed."""
    # An operator may resume what another run left unfinished, or roll it back: the fence allows one run at a time. A
    # failover that is not committed stands in the way of another planned one only: what it led to may be lost as well.
    operator = given.requested_by == "operator"
    for primary, each in sorted(given.assignments.items()):
        if each.phase is Phase.SWITCHING and each.run_id != given.run_id:
            text = f"run {each.run_id} is failing {primary} over to {each.target}, or was interrupted"
            may_take_up = to in {each.target, each.active, each.previous} if operator else given.rules > 1
            if may_take_up and primary == given.primary:
                return PASS, f"{text}; this resumes it or rolls it back"
            return REFUSE if operator else WAIT, text
    assignment = given.assignment
    if assignment.phase is Phase.ACTIVATED and not (operator and to == assignment.previous):
        text = f"the failover to {assignment.active} by run {assignment.run_id} is not committed"
        return REFUSE if given.planned or given.rules == 1 else PASS, text
    return PASS, "no other failover is under way"


def cool_down(given: DecisionInput) -> Answer:
    """Ask whether the last failover is long enough ago."""
    needed = given.policy.cool_down
    if given.assignment.phase is Phase.SWITCHING and given.rules > 1:
        return PASS, "it was begun already"
    if given.assignment.since is None:
        return PASS, f"{given.primary} was never failed over"
    elapsed = given.asked_at - given.assignment.since
    text = f"the last failover was {roughly(elapsed)} ago, and the cool-down is {roughly(needed)}"
    return PASS if elapsed >= needed else REFUSE, text


STALE = 3  # Probe periods after which a look says nothing of the present


def quorum(given: DecisionInput, evidence: OutageEvidence) -> Answer:
    """Ask for enough independent and recent observations, one of them by the run that decides."""
    # Where the source answers again it refuses.
    newest = evidence.newest
    if newest is None:
        return WAIT, f"no observation says whether {given.active} is healthy"
    age = (given.asked_at - newest.at).total_seconds()
    if newest.healthy:
        return REFUSE, f"{given.active} answers: {newest.observer} found it {newest.health} {age:.0f} s ago"
    oldest = max(given.policy.probe_every * STALE, SHORTEST_GAP).total_seconds()
    if (given.asked_at - newest.ended).total_seconds() > oldest:
        text = f"the newest observation of {given.active} is {age:.0f} s old, and it may be {oldest:.0f} s at most"
        return WAIT, text
    own = given.own_probe
    if own is None or own.healthy is not False or (given.asked_at - own.ended).total_seconds() > oldest:
        detail = f": {own.summary}" if own is not None and own.summary else ""
        text = f"{given.observer}, which decides, did not itself see a probe of {given.active} fail recently{detail}"
        return WAIT, text
    needed = given.policy.quorum
    seen_by = f", by {', '.join(evidence.observers)}" if evidence.observers else ""
    text = f"{len(evidence.counted)} unhealthy observations in a row{seen_by}"
    if evidence.alerts:
        more = "count as one more" if evidence.votes > len(evidence.counted) else "alone prove nothing"
        text += f"; alerts of {', '.join(evidence.alerts)} {more}"
    text += f"; {needed} are needed"
    return PASS if evidence.votes >= needed else WAIT, text


def minimum_outage(given: DecisionInput, evidence: OutageEvidence) -> Answer:
    needed = given.policy.minimum_outage
    text = (
        f"unhealthy for {math.floor(evidence.lasted.total_seconds())} s from the first observation to the latest, "
        f"and {needed.total_seconds():.0f} s are needed"
    )
    return PASS if evidence.streak and evidence.lasted >= needed else WAIT, text


def observers_agree(given: DecisionInput, evidence: OutageEvidence) -> Answer:
    """Ask whether somebody else finds the source healthy."""
    if evidence.contradicting:
        period = given.policy.probe_every.total_seconds()
        return WAIT, f"{', '.join(evidence.contradicting)} found {given.active} healthy within the last {period:.0f} s"
    return PASS, f"no observer finds {given.active} healthy"


def source_answers(given: DecisionInput, evidence: OutageEvidence) -> Answer:
    """Ask whether what serves answers: without that a planned failover has no last sync."""
    newest = evidence.newest
    if newest is None and given.rules > 2:
        newest = given.own_probe  # Just after a failover: for an outage, looks count only once clocks must agree.
    if newest is not None and newest.healthy:
        return PASS, f"{given.active} answers"
    detail = f": {newest.summary}" if newest is not None and newest.summary else ""
    return REFUSE, f"a planned failover needs {given.active} to answer{detail}; if it is lost, fail over unplanned"


def standby_health(given: DecisionInput, candidate: Candidate) -> Answer:
    """Ask whether the target answers now. After an outage it waits for that; an operator is refused at once."""
    seen = candidate.observation
    if seen is not None and seen.healthy:
        text = f"is degraded, but serves: {seen.summary}" if seen.degraded else "is healthy"
        return PASS, f"{candidate.resource} {text}"
    detail = "was not probed" if seen is None else f"is not known to be healthy: {seen.summary}"
    if seen is not None and seen.healthy is False:
        detail = f"is unhealthy: {seen.summary}"
    return REFUSE if given.requested_by == "operator" else WAIT, f"{candidate.resource} {detail}"


def readiness(given: DecisionInput, candidate: Candidate) -> Answer:
    """Ask whether the target has what it needs, or will have it once the failover has restored what it lacks."""
    # Where it does not answer, that is not known yet.
    fitness = candidate.fitness
    if fitness is None:
        outcome = REFUSE if given.requested_by == "operator" else WAIT
        return outcome, f"it is unknown whether {candidate.resource} is ready"
    if fitness.state == "ready":
        return PASS, f"{candidate.resource} is ready"
    kept = {each.analyzer: each for each in fitness.restorable}
    needed = [kept[name] for name in fitness.lacking] if kept.keys() >= set(fitness.lacking) else []
    restored = _after_a_restore(candidate.resource, needed) if needed else None
    if restored is not None and restored[0] is PASS:
        return restored
    if out := _left_out(given, fitness, Guard.READINESS, fitness.unusable):
        return PASS, _without(candidate.resource, out, fitness)
    if restored is not None:
        return restored
    detail = "is not ready" if fitness.state == "not_ready" else "is not known to be ready"
    reasons = some_of((reason.rstrip(".") for reason in fitness.reasons), between="; ")
    return REFUSE, f"{candidate.resource} {detail}{': ' + reasons if reasons else ''}"


def staleness(given: DecisionInput, candidate: Candidate) -> Answer:
    """Ask whether a copy is too old to serve, unless its source is known not to have changed."""
    limit = given.policy.staleness
    fitness = candidate.fitness or Fitness(state="unknown")
    copies = fitness.copies
    unusable = _left_out(given, fitness, Guard.READINESS, fitness.unusable)
    # What is not there at all is left out by that force, too.
    forced = fitness.unusable if Guard.READINESS in given.forced else {}
    old = [copy for copy in _stale(given, fitness) if copy.analyzer not in unusable]
    stale = [copy for copy in old if copy.analyzer not in forced or copy.verified_at is not None]
    out = _left_out(given, fitness, Guard.STALENESS, _stale_words(stale, limit) | unusable)
    if stale and out:
        text = _without(candidate.resource, {name: out[name] for name in out if name not in unusable}, fitness)
        return PASS, text
    if stale:
        names = some_of(copy.analyzer for copy in stale)
        return REFUSE, f"{len(stale)} of {len(copies)} copies were not verified within {roughly(limit)}: {names}"
    return PASS, f"{len(copies)} copies are younger than {roughly(limit)}, or their source has not changed"


def approvals(given: DecisionInput) -> Answer:
    """Ask whether enough persons approve; nothing is said where one is enough, as in earlier decisions."""
    needed, names = given.policy.approvals, " and ".join(each.by for each in given.approvals)
    if needed == 1:
        return PASS, ""
    if len(given.approvals) >= needed:
        return PASS, f"approved by {names}"
    so_far = f"{needed} different persons have to approve it, and so far {names or 'nobody who gave a name'} does"
    # After an outage they are asked once everything else holds, and counted again before anything begins.
    return PASS if given.requested_by == "outage" else REFUSE, so_far


def _stale_words(stale: Iterable[CopyAge], limit: timedelta) -> dict[str, str]:
    return {copy.analyzer: f"{copy.analyzer} was not verified within {roughly(limit)}" for copy in stale}


def _left_out(given: DecisionInput, fitness: Fitness, guard: Guard, unusable: Mapping[str, str]) -> dict[str, str]:
    """Give what the failover leaves out; nothing where it may not, or where nothing would be left to serve."""
    may = serves_rest(given.policy, planned=given.planned) and guard not in given.forced
    found = with_parents(unusable, fitness.needs) if may else {}
    return found if len(found) < fitness.analyzers else {}


def _without(resource: str, out: Mapping[str, str], fitness: Fitness) -> str:
    causes = some_of(dict.fromkeys(cause.rstrip(".") for cause in out.values()), between="; ")
    share = f"{len(out)} of {counted(fitness.analyzers, 'analyzer')}"
    return f"{resource} serves without {share}, which {'is' if len(out) == 1 else 'are'} left out: {causes}"


def left_out(given: DecisionInput, candidate: Candidate | None) -> dict[str, str]:
    """Give what a failover to a target leaves out, by the guards that leave something out."""
    fitness = candidate.fitness if candidate is not None else None
    if fitness is None or candidate is None:
        return {}
    out = _left_out(given, fitness, Guard.READINESS, fitness.unusable)
    if stale := _stale(given, fitness):
        out = _left_out(given, fitness, Guard.STALENESS, _stale_words(stale, given.policy.staleness) | out) or out
    return out


def withheld(given: DecisionInput, decision: Decision) -> dict[str, str]:
    """Give what a decision leaves out although the target may have it, or could have it restored: old or doubtful."""
    # What the target does not have is found out by who prepares it: it may be there by then.
    fitness = next((each.fitness for each in given.candidates if each.resource == decision.to), None)
    if fitness is None:
        return {}
    doubtful = {each.analyzer for each in fitness.restorable if each.fidelity is Fidelity.UNFAITHFUL}
    absent = with_parents(fitness.unusable, fitness.needs).keys() - doubtful
    return {name: cause for name, cause in decision.left_out.items() if name not in absent}


def _stale(given: DecisionInput, fitness: Fitness) -> list[CopyAge]:
    kept = {each.analyzer: each.seen_at for each in fitness.restorable}
    now, limit = given.asked_at, given.policy.staleness
    return [copy for copy in fitness.copies if is_stale(copy, now, limit, kept.get(copy.analyzer))]


def _after_a_restore(resource: str, needed: list[Restorable]) -> Answer:
    lost = counted(len(needed), "analyzer")
    oldest = min(needed, key=lambda each: each.seen_at)
    snapshot = f"snapshot {oldest.snapshot} of {oldest.seen_at:%Y-%m-%d %H:%M} UTC"
    has = f"{resource} lacks {lost}, which {snapshot} has"
    unfaithful = [each for each in needed if each.fidelity is Fidelity.UNFAITHFUL]
    if not unfaithful:
        return PASS, has
    names = some_of(each.analyzer for each in unfaithful)
    doubt = unfaithful[0].doubt.rstrip(".")
    return REFUSE, f"{has}, but {names} would be unfaithful{': ' + doubt if doubt else ''}"


def is_stale(copy: CopyAge, now: datetime, limit: timedelta, kept_at: datetime | None = None) -> bool:
    """Say whether a copy is too old to serve; where it is restored, the source had that at `kept_at`."""
    if copy.source_changed is False:
        return False
    # What the target lacks becomes as old as the snapshot that it is restored from.
    since = kept_at or copy.verified_at
    return since is None or now - since > limit


_STOPPING = frozenset({WAIT, REFUSE})
_OF_THE_OUTAGE = {
    Guard.QUORUM: quorum,
    Guard.MINIMUM_OUTAGE: minimum_outage,
    Guard.OBSERVERS_AGREE: observers_agree,
}
_AFTER_PROOF_AT_FIRST = frozenset({Guard.FENCE, Guard.STANDBY_HEALTH, Guard.READINESS, Guard.STALENESS})
"""What did not count while an outage was not proved, by the first rules."""


def evidence_of(given: DecisionInput) -> OutageEvidence:
    """Weigh what was observed of the resource that serves, since it began to."""
    if given.rules == 1:
        looks = [look.model_copy(update={"alert": False}) for look in given.observations]
        by_first_rules = partial(weigh, gap=EARLIER_GAP, same=EARLIER_SAME_LOOK, clocks=timedelta())
        return by_first_rules(looks, given.active, given.asked_at, given.policy)
    # While a failover is under way, `since` is when that began.
    since = None if given.assignment.phase is Phase.SWITCHING else given.assignment.since
    return weigh(given.observations, given.active, given.asked_at, given.policy, since=since)


def decide(given: DecisionInput) -> Decision:
    """Decide. The same input always leads to the same decision.

    The first candidate that could serve, with the fewest analyzers left out, is judged; where none could, the first
    that may soon; otherwise the first.
    """
    evidence, is_outage = evidence_of(given), given.requested_by == "outage"
    candidate, of_the_target = _choose(given)
    to = candidate.resource if candidate is not None else None
    answers = {
        Guard.FENCE: (REFUSE, given.records_lost),
        Guard.OFF_SWITCH: off_switch(given),
        Guard.ALREADY_ACTIVE: already_active(given, to),
        Guard.ONE_AT_A_TIME: one_at_a_time(given, to),
        Guard.COOL_DOWN: cool_down(given),
    }
    if is_outage:
        for guard, ask in _OF_THE_OUTAGE.items():
            answers[guard] = ask(given, evidence)
    elif given.planned:
        answers[Guard.SOURCE_ANSWERS] = source_answers(given, evidence)
    reasons = (*_said(given, answers), *of_the_target, *_said(given, {Guard.APPROVALS: approvals(given)}))
    proof = proved_at(evidence, given.policy) if is_outage else None
    return Decision(
        outcome=_outcome(given, reasons),
        needs_approval=is_outage and not given.policy.automatic,
        to=to,
        reasons=reasons,
        detected_at=min(proof, given.asked_at) if proof is not None else None,
        unhealthy_since=evidence.since if is_outage else None,
        healthy_until=evidence.healthy_until if is_outage else None,
        left_out=left_out(given, candidate),
    )


def _choose(given: DecisionInput) -> tuple[Candidate | None, tuple[GuardResult, ...]]:
    judged: list[tuple[Candidate, tuple[GuardResult, ...]]] = []
    for candidate in given.candidates:
        answers = {
            Guard.STANDBY_HEALTH: standby_health(given, candidate),
            Guard.READINESS: readiness(given, candidate),
            Guard.STALENESS: staleness(given, candidate),
            Guard.RESIDENCY: (REFUSE, candidate.outside.removesuffix(".")),
        }
        judged.append((candidate, _said(given, answers)))
    for stopping in (_STOPPING, frozenset({REFUSE})):
        if able := [each for each in judged if not any(result.outcome in stopping for result in each[1])]:
            # Of several, the one that leaves out the fewest; then the plan's preference decides.
            return min(able, key=lambda each: len(left_out(given, each[0])))
    return judged[0] if judged else (None, ())


def _said(given: DecisionInput, answers: Mapping[Guard, Answer]) -> tuple[GuardResult, ...]:
    """Give the answers that say something, forced where that was ordered and can be."""
    forced = {*given.forced} - NEVER_FORCED
    by_force = {guard for guard, (outcome, _) in answers.items() if guard in forced and outcome in _STOPPING}
    return tuple(
        GuardResult(guard=guard, outcome=GuardOutcome.FORCED if guard in by_force else outcome, text=text)
        for guard, (outcome, text) in answers.items()
        if text
    )


def _outcome(given: DecisionInput, reasons: tuple[GuardResult, ...]) -> Outcome:
    """While an outage is not proved, no other reason against a failover counts, nor has to be told."""
    refusing = {result.guard for result in reasons if result.outcome is REFUSE}
    at_once = refusing & _OF_THE_OUTAGE.keys() if given.rules > 1 else refusing - _AFTER_PROOF_AT_FIRST
    if at_once or outage_is_elsewhere(given):
        return Outcome.REFUSE
    if any(result.outcome is WAIT for result in reasons):
        return Outcome.WAIT
    return Outcome.REFUSE if refusing else Outcome.ACT


def outage_is_elsewhere(given: DecisionInput) -> bool:
    """Say whether the outage that was reported is not that of the resource that serves."""
    return bool(given.outage_of) and given.outage_of != given.active
