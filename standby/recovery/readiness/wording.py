"""The sentences of readiness, each once: for the terminal, the Prefect artifact and the HTML page."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from standby.config.durations import format_duration, roughly
from standby.errors import sentence
from standby.recovery.proof.records import Proof, verdict_words
from standby.recovery.readiness.document import AnalyzerPoint, Bucket, Facts, Readiness, Standing, State
from standby.recovery.runs import RtoForecast
from standby.replication.needs import Severity
from standby.replication.pacing import Spread
from standby.replication.verdict import HOLDS_NOTHING
from standby.service.models import UNREADABLE
from standby.text import counted, some_of, totals

MOST_NAMED = 3  # Analyzers that a text names before it only counts them


@dataclass(frozen=True)
class Kind:
    bucket: Bucket
    severity: Severity
    explanation: str = ""


@dataclass(frozen=True)
class Subject:
    kind: Kind
    names: tuple[str, ...]
    standings: Sequence[Standing]
    facts: Facts

    @property
    def them(self) -> str:
        return some_of(self.names)

    @property
    def are(self) -> str:
        return "is" if len(self.names) == 1 else "are"

    @property
    def were(self) -> str:
        return "was" if len(self.names) == 1 else "were"

    @property
    def where(self) -> str:
        return self.facts.destination

    @property
    def plan(self) -> str:
        return self.facts.plan.name

    @property
    def last_verified(self) -> str:
        """Say since when the worst of them may differ from the source."""
        moments = [each.verified_at for each in self.standings]
        known = [moment for moment in moments if moment is not None]
        if len(known) < len(moments):
            return "some of them never verified" if known else "never verified"
        return f"last verified {roughly(max(timedelta(), self.facts.now - min(known)))} ago"

    def copy(self, *, over: bool = False) -> str:
        """Say how analyzers get to where they would be needed, over older ones or not."""
        if self.facts.is_failback:
            return f"Run standby failback {self.plan}, which copies what is missing or older"
        if self.facts.switched or not self.facts.source_asked or self.facts.source_failure is not None:
            return f"Rebuild from a snapshot with standby restore {self.plan} --to {self.where}"
        options = f" --on-existing {'replace' if self.facts.can_replace else 'version'}"
        return f"Run standby replicate {self.plan}{options if over else ''}"


Words = tuple[str, str]  # What is so, and what to do about it; both without a full stop


def _blocked(about: Subject) -> Words:
    cause = about.kind.explanation.rstrip(".")
    action = f"Fix this, then run standby replicate {about.plan}"
    return f"{about.them} cannot be copied to {about.where}: {cause}", action


def _broken(about: Subject) -> Words:
    states = ", ".join(sorted({str(each.status) for each in about.standings}))
    # What failed is always overwritten; what cannot be read never is, whatever the policy says.
    over = not {each.status for each in about.standings} <= HOLDS_NOTHING | {UNREADABLE}
    action = about.copy(over=over)
    if UNREADABLE in states:
        action = f"Correct or delete the unreadable analyzers at {about.where}, then {action[0].lower()}{action[1:]}"
    return f"{about.them} {about.are} at {about.where} but cannot be used (status: {states})", action


def _child(about: Subject) -> Words:
    need = "needs" if len(about.names) == 1 else "need"
    return f"{about.them} {need} {about.kind.explanation}, which cannot be used at {about.where}", about.copy()


def _creating(about: Subject) -> Words:
    command = "failback" if about.facts.is_failback else "replicate"
    action = f"Wait until this has ended; standby {command} {about.plan} waits for it, too"
    return f"{about.them} {about.are} still being built at {about.where}", action


def _differing(about: Subject, how: str) -> Words:
    forced = " ".join(f"--force {name}" for name in about.names[:MOST_NAMED])
    overwrite = f"overwrite {about.where} with standby replicate {about.plan} {forced}"
    if not about.facts.can_replace:
        overwrite = f"to copy again, delete the wrong analyzers there and run standby replicate {about.plan}"
    return (
        f"{about.them} {how}, so {about.where} would answer differently from {about.facts.primary}",
        f"See the difference with standby check {about.plan}; {overwrite}",
    )


def _unverified(about: Subject) -> Words:
    primary, equal = about.facts.primary, "it is equal" if len(about.names) == 1 else "they are equal"
    text = f"{about.them} {about.are} at {about.where}, but no record says whether {equal} to {primary}'s"
    return text, f"When {primary} answers, compare with standby check {about.plan}"


def _stale(about: Subject) -> Words:
    primary = about.facts.primary
    if about.facts.is_failback:
        return f"{about.them} at {about.where} {about.are} not equal to the analyzers that serve now", about.copy()
    if about.kind.explanation:
        text = f"It is unknown whether {about.them} changed at {primary} since the copy ({about.last_verified})"
        return text, f"When {primary} answers, compare with standby check {about.plan}"
    return _behind(about), about.copy(over=True)


def _rpo_missed(about: Subject) -> Words:
    allowed = about.facts.plan.objectives.rpo
    within = f"; the plan allows {format_duration(allowed)}" if allowed else ""
    return f"{_behind(about)}{within}", about.copy(over=True)


def _behind(about: Subject) -> str:
    return f"{about.them} at {about.where} {about.are} behind {about.facts.primary}, {about.last_verified}"


WORDS: Mapping[Bucket, Callable[[Subject], Words]] = {
    Bucket.MISSING: lambda about: (f"{about.them} {about.are} not at {about.where}", about.copy()),
    Bucket.BLOCKED: _blocked,
    Bucket.BROKEN: _broken,
    Bucket.CREATING: _creating,
    Bucket.CHILD: _child,
    Bucket.EDITED: lambda about: _differing(about, f"{about.were} edited at {about.where}"),
    Bucket.DIVERGED: lambda about: _differing(about, f"{about.were} edited at both resources since the last copy"),
    Bucket.FOREIGN: lambda about: _differing(about, f"at {about.where} {about.were} not copied by Standby"),
    Bucket.UNVERIFIED: _unverified,
    Bucket.STALE: _stale,
    Bucket.RPO_MISSED: _rpo_missed,
}


def rebuilt_words(facts: Facts) -> Words:
    """Say what a restore rebuilt at the target though labelled data trained it, and how to get a real copy."""
    names = facts.rebuilt
    it, was = ("it", "was") if len(names) == 1 else ("them", "were")
    forced = " ".join(f"--force {name}" for name in names[:MOST_NAMED])
    command = f"standby replicate {facts.plan.name} --target {facts.target} {forced}"
    action = f"Copy {it} again from {facts.primary} with {command}"
    if facts.switched or not facts.source_asked or facts.source_failure is not None:
        then = "serves again" if facts.switched else "answers"
        action = f"When {facts.primary} {then}, copy {it} again from there with {command}"
    return (
        f"{some_of(names)} at {facts.target} {was} rebuilt by a restore and may give other results than at "
        f"{facts.primary}, where labelled data trained {it}",
        action,
    )


def proof_reason_words(facts: Facts, bucket: Bucket, names: Sequence[str]) -> Words:
    """Say what sample documents say of some analyzers at the target, or that none was asked."""
    them, where, plan = some_of(names), f"at {facts.target}", facts.plan.name
    command = f"standby compare {plan} --to {facts.target}"
    proofs = [facts.proofs[name] for name in names if name in facts.proofs]
    tried = [each for each in proofs if each.last_try]
    later = f"; tried again since, without a verdict: {_why(each.why_open for each in tried)}" if tried else ""
    match bucket:
        case Bucket.PROOF_DIFFERS:
            forced = " ".join(f"--force {name}" for name in names[:MOST_NAMED])
            again = f"standby replicate {plan} --target {facts.target} {forced}"
            causes = _why(each.reason for each in proofs)
            text = f"{them} {where} answered sample documents differently from {facts.primary}: {causes}"
            return f"{text}{later}", f"Correct that, or copy again with {again}; then run {command}"
        case Bucket.PROOF_OLD:
            oldest = roughly(facts.now - min(each.compared_at for each in proofs))
            allowed = facts.plan.objectives.proof
            within = f", and the plan allows {format_duration(allowed)}" if allowed else ""
            return f"The last proof by document of {them} {where} is {oldest} old{within}{later}", f"Run {command}"
        case Bucket.NO_VERDICT:
            text = f"Sample documents gave no verdict on {them} {where}: {_why(each.why_open for each in proofs)}"
            before = f"; before that: {_found(tried, facts.now)}" if tried else ""
            return f"{text}{before}", f"Correct that, then run {command}"
    return f"No document has compared {them} {where} with {facts.primary} since the copy", f"Run {command}"


def _why(texts: Iterable[str]) -> str:
    return some_of(dict.fromkeys(each.rstrip(".") for each in texts), between="; ")


def _found(proofs: Sequence[Proof], now: datetime) -> str:
    oldest = roughly(max(timedelta(), now - min(each.compared_at for each in proofs)))
    return f"{verdict_words(proofs)}; {'the oldest ' if len(proofs) > 1 else ''}{oldest} ago"


def proof_words(readiness: Readiness) -> str:
    """Say what the last comparison by document found at a target, as the end of a sentence."""
    return sentence(_found(readiness.proofs, readiness.assessed_at)) if readiness.proofs else "none."


def missing_words(missing: Collection[str], resource: str) -> str:
    """Say which analyzers are left out where a resource serves, all by name, without a full stop."""
    are = "is" if len(missing) == 1 else "are"
    return f"{counted(len(missing), 'analyzer')} {are} left out at {resource}: {', '.join(sorted(missing))}"


STATES = {State.READY: "ready", State.NOT_READY: "not ready", State.UNKNOWN: "unknown"}


def state_words(readiness: Readiness) -> str:
    return f"{readiness.primary} → {readiness.target}: {STATES[readiness.state]}"


def headline(found: Sequence[Readiness]) -> str:
    """Say in a few words which targets of a plan could take over: "west ready, north not ready"."""
    several = len({each.primary for each in found}) > 1

    def words(each: Readiness) -> str:
        if each.is_failback:
            return f"{each.primary} {STATES[each.state]} for a failback"
        return f"{each.target} {STATES[each.state]}{f' for {each.primary}' if several else ''}"

    return ", ".join(map(words, found))


def plan_words(found: Iterable[Readiness]) -> str:
    counts = Counter(readiness.state for readiness in found)
    return totals({STATES[state]: counts[state] for state in State}, none="no target")


def serving_words(readiness: Readiness) -> str:
    """Say what serves, and whether the primary itself was asked and answered."""
    place = "" if readiness.active == readiness.primary else f" for {readiness.primary}"
    asked = "" if readiness.source_answered else f"; judged without an answer from {readiness.primary}"
    if any(reason.bucket is Bucket.SWITCH_UNDER_WAY for reason in readiness.reasons):
        return f"{readiness.active} served{place} until a failover began, which has not ended{asked}."
    return f"{readiness.active} serves{place}{asked}."


def points_words(readiness: Readiness) -> str:
    if readiness.is_failback:
        return "RPO: none for a failback, which copies everything before the primary serves again."
    known = len(readiness.points)
    if readiness.rpo_seconds is None:
        changed = sum(point.source_changed is True for point in readiness.points)
        lost = sum(bool(point.lost) for point in readiness.points)
        beyond = f"; {lost} cannot be recovered" if lost else ""
        return f"RPO: the plan has none; {changed} of {known} behind the source{beyond}."
    rpo = f"RPO {format_duration(timedelta(seconds=readiness.rpo_seconds))}"
    others = [point for point in readiness.points if point.met is not True]
    met = f"{rpo}: met by {known - len(others)} of {known}"
    if not others:
        return f"{met}."
    worst = max(others, key=lambda it: (bool(it.lost), it.met is False, it.age_seconds is None, it.age_seconds or 0.0))
    return f"{met}; worst is {worst.analyzer}, {_last_verified(worst)}."


def point_words(point: AnalyzerPoint, now: datetime) -> str:
    if point.lost:
        return f"cannot be recovered: {point.lost}"
    changed = {
        True: "the source has changed",
        False: "the source has not changed",
        None: "unknown whether the source has changed",
    }
    last = f"; {_last_verified(point)}" if point.source_changed is not False else ""
    at = f" ({point.verified_at:%Y-%m-%d %H:%M} UTC)" if point.verified_at and point.verified_at < now else ""
    return f"{changed[point.source_changed]}{last}{at}"


def _last_verified(point: AnalyzerPoint) -> str:
    if point.lost:
        return "which cannot be recovered"
    if point.age_seconds is None:
        return "never verified"
    ago = f"{roughly(timedelta(seconds=point.age_seconds))} ago"
    if point.restored:
        return f"restored from the snapshot of {ago}"
    return f"equal at least until {ago}" if point.at_least else f"last verified {ago}"


def forecast_words(rto: RtoForecast) -> str:
    return f"{rto_name(rto)}: {rto.basis}" if rto.lost else f"{span_words(rto)}. {rto.basis}"


def rto_name(rto: RtoForecast) -> str:
    return f"RTO {format_duration(timedelta(seconds=rto.objective))}" if rto.objective else "RTO"


def span_words(rto: RtoForecast) -> str:
    """Say how long a failover would take, without a full stop."""
    named = rto_name(rto)
    if rto.lost:
        return f"{named}: {some_of(rto.lost)} cannot be recovered"
    if rto.median is None or rto.high is None:
        return f"{named}: no forecast"
    held = {True: ", within the objective", False: ", which may miss the objective", None: ""}[rto.met]
    return f"{named}: {Spread(rto.median, rto.high)}{held}"


def drill_words(readiness: Readiness) -> str:
    drill, now = readiness.last_drill, readiness.assessed_at
    if drill is None:
        return "none."
    ended = f"{roughly(max(timedelta(), now - drill.ended_at))} ago, in {drill.seconds:.0f} s"
    return f"passed {ended}." if drill.passed else sentence(f"failed {ended}: {drill.reason}")
