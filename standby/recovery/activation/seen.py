"""What the applications of each sink see, and what the vault keeps of what a sink took that cannot be asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from standby.document import Document
from standby.fencing import Fence, Phase
from standby.recovery.activation.sinks import Activation, ActivationSink, Outcomes, SinkFailed, read_back
from standby.text import some_of, utc
from standby.vault.documents import Remembered


class Acknowledged(Document):
    """What one sink is known to have taken."""

    epoch: int | None = None  # of the last map that it took; `None` where it took none
    meaning: str = ""
    serving: Mapping[str, str | None] = {}  # what serves by it, by primary; `None` for nobody
    at: datetime | None = None
    missed: int | None = None  # the epoch of a later map that it is unknown to have taken, and `reason` is why
    reason: str = ""


class SinkRecord(Remembered):
    """What the sinks of a plan took last, by the sink's id. Where it is lost, the map is published to them again."""

    place = "recovery/{plan}/sinks.json"

    sinks: Mapping[str, Acknowledged] = {}

    def after(self, outcomes: Outcomes) -> SinkRecord:
        """Give the record after something was published; of two runs that write at once the higher epoch counts."""
        sinks = dict(self.sinks)
        for name, taken in outcomes.taken.items():
            known = sinks.get(name, Acknowledged())
            if max(known.epoch or 0, known.missed or 0) <= taken.epoch:
                sinks[name] = Acknowledged(
                    epoch=taken.epoch, meaning=taken.meaning, serving=taken.serving, at=taken.as_of
                )
        for name, (epoch, reason) in outcomes.missed.items():
            known = sinks.get(name, Acknowledged())
            if max(known.epoch or 0, known.missed or 0) <= epoch:
                sinks[name] = known.model_copy(update={"missed": epoch, "reason": reason})
        return self.model_copy(update={"sinks": sinks})


class SinkView(Document):
    """What the applications of one sink see."""

    name: str
    required: bool
    readable: bool
    epoch: int | None = None  # of the map that it has; `None` where it has none, or that is not known
    serving: Mapping[str, str | None] = {}  # what serves by it, by primary; `None` for nobody
    # Whether that is the current map; `None` while a failover is under way, and where it is not known.
    current: bool | None = None
    misleads: bool = False  # whether it names something else than the current map, or nothing
    acknowledged_at: datetime | None = None  # when it took that map, where it cannot be asked what it has
    problem: str = ""  # what is not known of it, or went wrong; a sentence without its full stop

    def is_ahead(self, epoch: int) -> bool:
        return self.epoch is not None and self.epoch > epoch

    @property
    def is_wrong(self) -> bool:
        """Whether its applications are misled, or it does not say what they see although it could."""
        return self.misleads or (self.readable and bool(self.problem))

    @property
    def words(self) -> str:
        """What its applications see, as a sentence without its full stop."""
        known = [f"epoch {self.epoch}"] if self.epoch is not None else []
        known += [f"acknowledged {utc(self.acknowledged_at)}"] if self.acknowledged_at else []
        if self.current is False and self.epoch is not None:
            known.append("not current" if self.misleads else "to be published again")
        known += [] if self.required else ["not required"]
        serving = (f"{resource or 'nobody'} serves for {primary}" for primary, resource in self.serving.items())
        what = ", ".join(serving) or ("it has no map" if self.readable and not self.problem else "not known")
        about = f" ({', '.join(known)})" if known else ""
        return f"{self.name}: {what}{about}{'; ' if self.problem else ''}{self.problem}"


async def see_sinks(
    sinks: Sequence[ActivationSink], plan: str, wanted: Activation | None, known: SinkRecord, *, under_way: int = 0
) -> tuple[SinkView, ...]:
    """Say what applications see; nothing is changed. `under_way` is the epoch of a failover that may have told more."""
    views = []
    for sink, each in zip(sinks, await read_back(sinks, plan), strict=True):
        view = _read(sink, each, wanted)
        if not sink.readable:
            view = _recorded(sink, known.sinks.get(sink.id), wanted, under_way)
        if wanted is not None and view.current is False:
            view = view.model_copy(update={"misleads": view.serving != wanted.serving})
        views.append(view)
    return tuple(views)


def _read(sink: ActivationSink, found: Activation | SinkFailed | None, wanted: Activation | None) -> SinkView:
    view = SinkView(name=sink.name, required=sink.required, readable=True)
    if isinstance(found, SinkFailed):
        return view.model_copy(update={"problem": found.cause})
    known = {"epoch": found.epoch, "serving": found.serving} if found else {}
    return view.model_copy(update={**known, "current": wanted and wanted.says_the_same(found)})


def _recorded(sink: ActivationSink, known: Acknowledged | None, wanted: Activation | None, under_way: int) -> SinkView:
    view = SinkView(name=sink.name, required=sink.required, readable=False)
    if known is None:
        return view.model_copy(update={"problem": "no record says what it took"})
    behind = "it is unknown whether a later map reached it" if (known.epoch or 0) < under_way else ""
    current = None if wanted is None else known.meaning == wanted.meaning
    changed = {"epoch": known.epoch, "serving": known.serving, "current": current, "acknowledged_at": known.at}
    return view.model_copy(update={**changed, "problem": known.reason or behind})


def under_way_words(views: Sequence[SinkView], fence: Fence | None) -> tuple[str, ...]:
    """Say which failovers have not ended, and what applications were told of each; without the last full stop."""
    if fence is None:
        return ()
    words = []
    for primary, assignment in fence.assignments.items():
        if assignment.phase is Phase.SWITCHING:
            to = assignment.target or assignment.active
            what = f"rollback to {to}" if to == assignment.active else f"failover of {primary} to {to}"
            text = f"The {what} has not ended"
            told = told_words(views, primary, fence.epoch)
            words.append(f"{text}. {told}" if told else text)
    return tuple(words)


def told_words(views: Iterable[SinkView], primary: str, epoch: int) -> str:
    """Say what applications were told of a failover that has not ended, as a sentence without its full stop.

    It is empty where there is no sink. What a sink has with an earlier epoch than the failover's was told before it.
    """
    told: dict[str, list[str]] = {}
    earlier: dict[str, list[str]] = {}
    unknown: list[str] = []
    for view in views:
        if primary not in view.serving:
            unknown.append(view.name)
            continue
        by = told if (view.epoch or 0) >= epoch else earlier
        name = view.name if view.readable or by is told else f"{view.name}, by its last acknowledgement,"
        by.setdefault(view.serving[primary] or "", []).append(name)
    parts = ["Applications did not learn of it"] if earlier and not told else []
    if told:
        each = [f"that {resource or 'nobody'} serves ({', '.join(names)})" for resource, names in told.items()]
        parts.append(f"Applications were told {' and '.join(each)}")
    for resource, names in earlier.items():
        verb = "names" if len(names) == 1 else "name"
        parts.append(f"{some_of(names)} still {verb} {resource or 'nobody'}")
    if unknown:
        it = "it" if parts else "It"
        parts.append(f"{it} is unknown which map {some_of(unknown)} {'has' if len(unknown) == 1 else 'have'}")
    return "; ".join(parts)
