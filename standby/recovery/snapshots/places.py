"""What an analyzer is called at each resource of a plan, whose copies may have other ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from standby.config.plan import RecoveryPlan
from standby.replication.naming import PLACE_OF_ID, TargetNames, referenced_anywhere
from standby.service.models import JsonValue


def home_id(plan: RecoveryPlan, analyzer: str, at: str, home: str, referenced: Collection[str]) -> str:
    """Give the id that an analyzer has at its source.

    Args:
        plan: has the rule for the ids of copies.
        analyzer: id where it is.
        at: resource where it is.
        home: the source.
        referenced: analyzers that others at that resource refer to; these keep their ids.
    """
    if at == home or analyzer in referenced:
        return analyzer
    before, _, after = plan.target_id.partition(PLACE_OF_ID)
    is_a_copy = analyzer.startswith(before) and analyzer.endswith(after)
    bare = analyzer[len(before) : len(analyzer) - len(after)] if is_a_copy else ""
    return bare or analyzer


def ids_at(
    plan: RecoveryPlan, at: str, to: str, home: str, definitions: Mapping[str, Mapping[str, JsonValue]]
) -> dict[str, str]:
    """Give the ids that the analyzers of one resource have at another.

    Args:
        plan: has the rule for the ids of copies.
        at: where they are, as a source or in its place.
        to: where they are to be.
        home: the source in whose place the first one serves.
        definitions: everything that is there.
    """
    if at == to:
        return {analyzer: analyzer for analyzer in definitions}
    referenced = referenced_anywhere(definitions)
    bare = {analyzer: home_id(plan, analyzer, at, home, referenced) for analyzer in definitions}
    if to == home:
        return bare
    names = TargetNames(plan.target_id, referenced, ())
    return {analyzer: analyzer if analyzer in referenced else names.of(own) for analyzer, own in bare.items()}
