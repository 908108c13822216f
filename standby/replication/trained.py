"""Trained behaviour: what is known of it, and what takes its place only on an explicit order.

A definition can be put back, a training cannot. So nothing that labelled data trained is overwritten by what it did
not train, or by one that may be older, unless that is ordered for the analyzer by its id; and before
anything untrained takes its place, the trained one is copied beside itself.

What was rebuilt has the definition of its original and looks trained. The list of rebuilt analyzers (`ledger.py`)
tells them apart; where that is lost, the lines of restores in the audit log do.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from enum import Enum
from itertools import count
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from standby.concurrency import do_for_each
from standby.document import Document
from standby.replication import verdict as verdicts
from standby.replication.fingerprint import fingerprint, same_meaning
from standby.replication.items import PlanItem, Records, fitting_id
from standby.replication.ledger import Rebuilt, RebuiltThere, add_rebuilt, read_rebuilt
from standby.replication.verdict import Action, CopyRecord, Sighting, Verdict
from standby.service.models import Analyzer
from standby.vault.documents import Stored, change_document, parse_stored, read_document
from standby.vault.errors import VaultError
from standby.vault.storage import Storage

log = logging.getLogger("standby.replication")


class Guard(Enum):
    """Why a trained analyzer is overwritten only on an explicit order."""

    UNTRAINED = "its replacement does not have this training"
    UNKNOWN = "no record says that it is an older copy of its replacement"


def guard(verdict: Verdict, expected: Sighting, found: Sighting | None, last: CopyRecord | None) -> Guard | None:
    """Say why what a target holds, of which `last` is the copy, must not be overwritten without its id being given."""
    if found is None or not found.has_training:
        return None
    if expected.rebuilt or not expected.trained:
        return Guard.UNTRAINED
    is_older_copy = (
        verdict is not Verdict.FOREIGN and last is not None and not verdicts.is_trained_again(found, last.target)
    )
    return None if is_older_copy else Guard.UNKNOWN


def guarded(item: PlanItem, why: Guard, side_copy_of: Callable[[str, Sighting], str]) -> PlanItem:
    """Say why a trained analyzer stays, or under which id it is kept before another one takes its place."""
    if item.action is Action.REPLACE and why is Guard.UNTRAINED and item.found is not None:
        return replace(item, kept_as=side_copy_of(item.target_analyzer, item.found))
    # Of what was trained again since it was copied, the verdict says more.
    is_told = why is Guard.UNKNOWN and item.verdict in {Verdict.TARGET_AHEAD, Verdict.DIVERGED}
    if item.action is Action.REFUSE and item.verdict in verdicts.OVERWRITABLE and not is_told:
        return replace(item, reason=_guarded_words(why, item))
    return item


def _guarded_words(why: Guard, item: PlanItem) -> str:
    there, source, target = item.target_analyzer, item.source, item.target
    force = f"--force {item.analyzer}"
    if why is Guard.UNKNOWN:
        cause = f"Labelled data trained {there} at {target}, and no record says that it is an older copy from {source}"
        advice = f"Rename one of the two, or overwrite it with {force}: its training cannot be restored"
    else:
        made = "was rebuilt from a definition" if item.expected.rebuilt else "has no labelled data"
        cause = f"{there} at {target} has its training, and the one at {source} {made}"
        advice = (
            f"Fail over to {target}, then fail back, which copies it to {source}; or overwrite it with {force}, "
            f"which keeps it at {target} under another id first"
        )
    return f"{cause}. {advice}."


def force_warnings(item: PlanItem) -> tuple[str, ...]:
    """Say what a replacement costs that was asked for by its id."""
    if item.action is not Action.REPLACE or item.found is None or not item.found.has_training:
        return ()
    there = f"the trained {item.target_analyzer} of {item.target}"
    if item.kept_as:
        return (f"Before that, {there} is kept under another id.",)
    if item.verdict is Verdict.SOURCE_AHEAD and item.last is not None:
        return ()
    return (f"Only the definition of {there} is saved: its training cannot be restored.",)


_KEPT = re.compile(r"_kept_\d{8}(_\d+)?$")


def is_side_copy(name: str) -> bool:
    """Say whether an id is that of a trained analyzer which was kept beside the one that took its place."""
    return _KEPT.search(name) is not None


def side_copy_names(analyzer: str, day: date) -> Iterator[str]:
    for number in count(1):
        ending = f"_kept_{day:%Y%m%d}{f'_{number}' if number > 1 else ''}"
        yield fitting_id(analyzer, ending)


def is_side_copy_of(there: Sighting | None, found: Sighting) -> bool:
    """Say whether an analyzer keeps another one of its resource as it is now; one clock dated both."""
    if there is None or there.created_at is None or not same_meaning(there.fingerprint, found.fingerprint):
        return False
    return found.changed_at is not None and there.created_at >= found.changed_at


def side_copy(item: PlanItem, kept_as: str, found: Sighting) -> PlanItem:
    """Give the copy of a target's analyzer beside itself, to be made like any other one."""
    # Inferred: that a copy within a resource carries the training; the service takes one without a grant (recording).
    return replace(
        item,
        source=item.target,
        analyzer=item.target_analyzer,
        target_analyzer=kept_as,
        verdict=Verdict.MISSING,
        action=Action.COPY,
        needs=(),
        models=(),
        expected=found,
        found=None,
        last=None,
        kept_as="",
    )


def kept_words(copy: PlanItem) -> str:
    return (
        f"The trained {copy.analyzer} of {copy.target} is kept there as {copy.target_analyzer}; "
        "delete it when it is no longer needed."
    )


def still_there(known: RebuiltThere, there: Mapping[str, Analyzer]) -> RebuiltThere:
    """Give what was rebuilt and is still there as the incarnation that was built."""
    return {name: each for name, each in known.items() if each.is_incarnation_of(there.get(name))}


MOST_READS = 16  # Files that are read at the same time
RESTORE_BEGUN = "restore.begun"
CLOCKS = timedelta(minutes=5)  # How far the clocks of two regions, or of one and us, may be apart
UNENDED = timedelta(hours=1)  # How long a restore is taken to have built that did not write its end


class _Facts(Document):
    to: str = ""
    snapshot: str = ""
    fidelity: dict[str, str] = Field(default_factory=dict)
    rebuilt: tuple[Rebuilt, ...] | None = None


class _RestoreLine(Stored):
    """What of a restore's line in the audit log matters here."""

    at: AwareDatetime
    action: Literal["restore.begun", "restore.ended"] = Field(alias="deed")
    plan: str
    run_id: str
    facts: _Facts


async def known_rebuilt(vault: Storage, resource: str, there: Mapping[str, Analyzer]) -> RebuiltThere:
    """Say what of a resource's analyzers was rebuilt, by all that the vault knows."""
    # It is for those who are about to overwrite something, because it reads the audit logs of all plans: the list of
    # what was rebuilt may be lost, or be an older one.
    listed = still_there(await read_rebuilt(vault, resource), there)
    logs = [found.path for found in await vault.list("audit/") if found.path.endswith(".jsonl")]
    contents = await do_for_each(logs, vault.read, MOST_READS)
    audited: dict[str, Rebuilt] = {}
    for path, content in zip(logs, contents, strict=True):
        lines = _restore_lines(vault.where(path), content or b"")
        audited |= still_there(_audited(lines, resource, there), there)
    return {**audited, **listed}


def _audited(restores: Iterable[_RestoreLine], resource: str, there: Mapping[str, Analyzer]) -> dict[str, Rebuilt]:
    found: dict[str, Rebuilt] = {}
    begun: dict[str, _RestoreLine] = {}
    for line in restores:
        if line.facts.to != resource:
            continue
        earlier = begun.pop(line.run_id, None)
        if line.action == RESTORE_BEGUN:
            begun[line.run_id] = line
        elif line.facts.rebuilt is not None:
            found |= {each.analyzer: each for each in line.facts.rebuilt}
            continue
        if earlier is not None:
            found |= _inferred(earlier, line.at, there)
    for line in begun.values():
        found |= _inferred(line, line.at + UNENDED, there)
    return found


def _inferred(begun: _RestoreLine, until: datetime, there: Mapping[str, Analyzer]) -> dict[str, Rebuilt]:
    """Infer from dates what a restore built that did not say it: one that was killed, or of an earlier version."""
    found: dict[str, Rebuilt] = {}
    for name, fidelity in begun.facts.fidelity.items():
        analyzer = there.get(name)
        made_at = analyzer.created_at if analyzer else None
        if analyzer and made_at and begun.at - CLOCKS <= made_at <= until + CLOCKS and fidelity != "exact":
            definition = analyzer.definition()
            found[name] = Rebuilt(
                analyzer=name,
                created_at=made_at,
                fingerprint=fingerprint(definition),
                fidelity=fidelity,
                trained=bool(definition.get("knowledgeSources")),
                origin="",
                original=name,
                plan=begun.plan,
                snapshot=begun.facts.snapshot,
            )
    return found


def _restore_lines(where: str, content: bytes) -> Iterator[_RestoreLine]:
    for text in content.splitlines():
        if b'"restore.' in text:
            try:
                yield parse_stored(where, text, _RestoreLine)
            except ValidationError:
                continue  # Whether the log is whole is another question: `standby audit verify`.


async def note_rebuilt(vault: Storage, item: PlanItem, copied: Analyzer) -> None:
    """List a copy of what was rebuilt as rebuilt, too; the record of the copy says the same."""
    known = (await read_rebuilt(vault, item.source)).get(item.analyzer) or Rebuilt(
        analyzer=item.analyzer,
        created_at=item.expected.created_at,
        fingerprint=item.expected.fingerprint,
        fidelity="unfaithful",
        trained=True,
        origin=item.source,
        original=item.analyzer,
        plan="",
    )
    dates = {"created_at": copied.created_at, "changed_at": copied.last_modified_at}
    entry = known.model_copy(update={"analyzer": item.target_analyzer, **dates})
    try:
        await add_rebuilt(vault, item.target, [entry])
    except VaultError as error:
        log.warning("that %s at %s is a copy of a rebuilt one is not listed: %s", entry.analyzer, item.target, error)


class CopyBegun(Stored):
    """A copy about to be asked for, and what the target has before; the ledger's record of it may never be written."""

    analyzer: str
    source: Sighting
    found: Sighting | None
    begun_at: AwareDatetime


async def note_begun(vault: Storage, api_version: str, item: PlanItem, now: datetime) -> None:
    """Write down that a copy is begun: of a trained analyzer before it is, because a training looks like a copy."""
    begun = CopyBegun(analyzer=item.analyzer, source=item.expected, found=item.found, begun_at=now)
    path = _begun_path(api_version, item.source, item.target, item.target_analyzer)
    try:
        await change_document(vault, path, CopyBegun, lambda _: begun)
    except VaultError as error:
        # It only matters where this run is killed: no copy waits for it.
        log.warning("the begin of the copy of %s could not be recorded: %s", item.analyzer, error)


async def with_begun(
    vault: Storage,
    api_version: str,
    pair: tuple[str, str],
    records: Records,
    there: Mapping[str, Analyzer],
    ignore: Sequence[str],
) -> Records:
    """Add to a ledger the copies that a run began and did not record: it was killed, or did not find them good.

    What is trained needs that only where it has an earlier record: without one, what is equal and was made later
    counts as the copy.
    """
    # What the target holds that the ledger does not know so.
    doubtful = [
        (name, analyzer)
        for name, analyzer in there.items()
        if analyzer.status not in {"ready", "creating", "deleting"}
        or name not in records
        or records[name].target.created_at != analyzer.created_at
    ]
    if not doubtful:
        return records
    listed = {each.path for each in await vault.list(_begun_path(api_version, *pair))}
    noted = {
        name: verdicts.sight(analyzer, analyzer.definition(), ignore)
        for name, analyzer in doubtful
        if _begun_path(api_version, *pair, name) in listed
    }

    async def read(name: str) -> CopyBegun | None:
        return await read_document(vault, _begun_path(api_version, *pair, name), CopyBegun)

    notes = await do_for_each(noted, read, MOST_READS)
    made = {
        name: _record_of(note, found)
        for (name, found), note in zip(noted.items(), notes, strict=True)
        if note is not None and _is_made_by(note, found, records.get(name))
    }
    return {**records, **made}


def _is_made_by(note: CopyBegun, found: Sighting, last: CopyRecord | None) -> bool:
    if found.created_at is None or (last is not None and last.copied_at >= note.begun_at):
        return False
    if note.found is not None and note.found.created_at == found.created_at:
        return False
    if _is_trained(found) and (last is None or not same_meaning(found.fingerprint, note.source.fingerprint)):
        return False
    return abs(found.created_at - note.begun_at) <= UNENDED


def _record_of(note: CopyBegun, found: Sighting) -> CopyRecord:
    target = replace(found, rebuilt=note.source.rebuilt)
    if not _is_trained(found):
        target = replace(target, fingerprint=note.source.fingerprint, status=verdicts.UNFINISHED)
    return CopyRecord(note.source, target, note.begun_at, note.analyzer)


def _is_trained(found: Sighting) -> bool:
    return found.has_training and found.status == "ready"


def _begun_path(api_version: str, source: str, target: str, analyzer: str = "") -> str:
    return f"begun/{api_version}/{source}_{target}/{analyzer}{'.json' if analyzer else ''}"
