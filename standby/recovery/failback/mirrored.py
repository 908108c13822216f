"""What the ledger of one direction says, as the ledger of another direction says it.

Without it each direction would take the copies of the other for edits, and copy them back: a copy trained by
labelled data is another incarnation of the same definition, and looks newer than what it was copied from.
"""

from __future__ import annotations

from standby.recovery.context import RecoveryContext
from standby.replication.ledger import read_ledger, write_ledger
from standby.replication.planned import Records
from standby.replication.verdict import CopyRecord


async def mirror_ledgers(context: RecoveryContext, home: str, standby: str) -> None:
    """Let both directions of a pair know the last verified copy of each analyzer, whichever way it went.

    Raises:
        LedgerBusy: another run is at this pair.
    """
    version = context.connections[home].resource.api_version
    async with (
        write_ledger(context.vault, home, standby, version) as forward,
        write_ledger(context.vault, standby, home, version) as backward,
    ):
        backward.record(newer_than(backward.records, turned_around(forward.records)))
        forward.record(newer_than(forward.records, turned_around(backward.records)))


async def record_equal(context: RecoveryContext, home: str, standby: str, equal: Records) -> None:
    """Let both directions of a pair know what was just found equal, and what each knows of copies.

    Raises:
        LedgerBusy: another run is at this pair.
    """
    version = context.connections[home].resource.api_version
    async with (
        write_ledger(context.vault, home, standby, version) as forward,
        write_ledger(context.vault, standby, home, version) as backward,
    ):
        forward.record(_unknown(forward.records, equal))
        backward.record(_unknown(backward.records, turned_around(equal)))
    await mirror_ledgers(context, home, standby)


async def relate_standbys(context: RecoveryContext, home: str, source: str, target: str) -> None:
    """Let the ledger between two standbys know what their copies from the same home have in common.

    Raises:
        LedgerBusy: another run is at this pair.
    """
    version = context.connections[home].resource.api_version
    at_source = await read_ledger(context.vault, home, source, version)
    at_target = await read_ledger(context.vault, home, target, version)
    async with write_ledger(context.vault, source, target, version) as between:
        between.record(newer_than(between.records, related(at_source.records, at_target.records)))


def _unknown(known: Records, records: Records) -> dict[str, CopyRecord]:
    def sightings(record: CopyRecord | None) -> object:
        return record and (record.source, record.target)

    return {
        name: record for name, record in records.items() if sightings(known.get(name)) != sightings(record)
    }


def turned_around(records: Records) -> dict[str, CopyRecord]:
    """Give copies as if they had gone the other way; of several copies of an analyzer, the last one."""
    turned: dict[str, CopyRecord] = {}
    for name, record in sorted(records.items(), key=lambda entry: entry[1].copied_at):
        turned[record.analyzer or name] = CopyRecord(record.target, record.source, record.copied_at, name)
    return turned


def related(at_source: Records, at_target: Records) -> dict[str, CopyRecord]:
    """Give copies of one home at two standbys as if they had been copied from the first to the second.

    Neither was edited since, where it is still what its own copy was; that is all a record is asked for.
    """
    sources = turned_around(at_source)
    between: dict[str, CopyRecord] = {}
    for name, there in at_target.items():
        here = sources.get(there.analyzer or name)
        if here is not None:
            copied_at = min(here.copied_at, there.copied_at)
            between[name] = CopyRecord(here.source, there.target, copied_at, here.analyzer)
    return between


def newer_than(known: Records, records: Records) -> dict[str, CopyRecord]:
    """Leave out what is known already, or known better."""
    return {
        name: record
        for name, record in records.items()
        if name not in known or known[name].copied_at < record.copied_at
    }
