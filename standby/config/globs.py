"""Which analyzers plans have in common, by their globs: decided, not tried out. Globs are those of `fnmatchcase`."""

from __future__ import annotations

import string
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product

from standby.config.plan import RecoveryPlan, RegionPair
from standby.document import Document

ID_CHARACTERS = string.ascii_lowercase + string.ascii_uppercase + string.digits + "-_."
"""Characters that an analyzer's id may have; the first ones are the first in an example."""

LONGEST_ID = 64  # Characters an analyzer's id may have (REFERENCE, *The analyzer*)
LONGEST_TAG = 256
MOST_STATES = 20_000  # Where deciding would take more steps than this, the globs count as having a name in common
Globs = Sequence[str]
_Rest = tuple[str, ...]  # The parts of a glob that are left behind the beginning of a name
_State = tuple[frozenset[_Rest], ...]


@dataclass(frozen=True)
class Write:
    """One pair of one plan: where it writes, and which analyzers."""

    plan: RecoveryPlan
    pair: RegionPair

    @property
    def name(self) -> str:
        return f"plan {self.plan.name} (from {self.pair.source})"

    def what_keeps_apart(self, other: Write) -> str:
        if self.plan.name == other.plan.name:
            return "put each source into a plan of its own, with an include, exclude or target_id that keeps them apart"
        keys = "an include, exclude or target_id"
        if self.pair.source == other.pair.source:
            keys = "an include, exclude, tags, base or target_id"
        return f"give one of them {keys} that keeps them apart"

    def shares_with(self, other: Write) -> str | None:
        """Give the id of a copy that both may write at one target, as an example; `None` where that cannot be."""
        # Analyzers that come along because others need them are not seen here: the resources alone know those.
        if self.pair.source == other.pair.source and self.plan.target_id == other.plan.target_id:
            # Both choose from the same analyzers, so one that both write has to pass the filters of both.
            filters: dict[str, list[Globs]] = {}
            for tag in (*self.plan.tags, *other.plan.tags):
                key, _, glob = tag.partition("=")
                filters.setdefault(key, []).append([glob])
            if any(common_name(it, characters=_around(it), longest=LONGEST_TAG) is None for it in filters.values()):
                return None
            if common_name([self.plan.base, other.plan.base]) is None:
                return None
        wanted, unwanted = zip(self._globs(), other._globs(), strict=True)
        return common_name([globs for groups in wanted for globs in groups], [*unwanted[0], *unwanted[1]])

    def _globs(self) -> tuple[list[Globs], list[Globs]]:
        """Give globs on ids of copies: one of each list must match, and of these none."""
        before, _, after = self.plan.target_id.partition("{id}")
        groups = (self.plan.include, ["?*"], self.plan.exclude)
        included, any_id, excluded = ([f"{before}{glob}{after}" for glob in globs] for globs in groups)
        return [included, any_id], [excluded]


PLACE_OF_ID = "{id}"  # Stands for the source's id in a plan's `target_id`


def original_id(template: str, copy: str) -> str:
    """Give the id at the source of what is called as a copy is; of anything else, its own."""
    before, _, after = template.partition(PLACE_OF_ID)
    bare = copy.removeprefix(before).removesuffix(after)
    return bare if bare and template.replace(PLACE_OF_ID, bare) == copy else copy


class Scope(Document):
    """Which analyzers of a primary a plan is about."""

    # Id of an analyzer at a resource by its id at the primary; by resource, as far as that is known.
    names: Mapping[str, Mapping[str, str]] = {}
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    target_id: str = "{id}"
    # Whatever the globs match belongs to it, too: nothing else chooses, or it is unknown yet what there is.
    open: bool = True

    @property
    def known(self) -> frozenset[str]:
        """The analyzers, by their ids at the primary, that are known to belong to it."""
        return frozenset(name for names in self.names.values() for name in names)

    def has(self, analyzer: str) -> bool:
        return analyzer in self.known or (self.open and self._matches(analyzer))

    def has_at(self, resource: str, analyzer: str) -> bool:
        """Say whether an analyzer of a resource that serves for the primary belongs to it."""
        if resource in self.names and analyzer in self.names[resource].values():
            return True
        if not self.open and resource in self.names:
            return False
        return self._matches(analyzer) or self._matches(original_id(self.target_id, analyzer))

    def shared_with(self, other: Scope) -> tuple[str, ...]:
        """Name analyzers of the primary that belong to both; where neither knows any, an example of what might."""
        both = {name for name in self.known if other.has(name)} | {name for name in other.known if self.has(name)}
        if both or not self.open or not other.open:
            return tuple(sorted(both))
        example = common_name([self.include, other.include], [*self.exclude, *other.exclude])
        return () if example is None or self.known or other.known else (example,)

    def _matches(self, analyzer: str) -> bool:
        return matches(analyzer, self.include) and not matches(analyzer, self.exclude)


def matches(name: str, globs: Iterable[str]) -> bool:
    """Say whether a name matches one of some globs; letter case counts."""
    return any(fnmatchcase(name, glob) for glob in globs)


def scope_of(plan: RecoveryPlan, names: Mapping[str, Mapping[str, str]], *, complete: bool = True) -> Scope:
    """Give the analyzers of a primary that a plan is about; `complete` names are all that its filters choose now."""
    by_id_alone = not plan.tags and plan.base == ("*",) and plan.modified_since is None
    known, is_open = {resource: dict(ids) for resource, ids in names.items()}, by_id_alone or not complete
    return Scope(names=known, include=plan.include, exclude=plan.exclude, target_id=plan.target_id, open=is_open)


def common_name(
    wanted: Sequence[Globs],
    unwanted: Sequence[Globs] = (),
    *,
    characters: Collection[str] = ID_CHARACTERS,  # those that a name may have
    longest: int = LONGEST_ID,  # characters of the longest name that counts
) -> str | None:
    """Find a shortest name that one glob of each list matches, and none of the unwanted; `None` where there is none.

    All globs are followed at once, a character at a time, and each combination of what is left of them only once.
    Where deciding takes too long, a glob stands in place of the name.
    """
    written = [[tuple(_parts(glob)) for glob in globs] for globs in (*wanted, *unwanted)]
    parts = {part for globs in written for glob in globs for part in glob}
    alphabet = _told_apart(parts - {"*"}, characters)
    fitting = {character: {part for part in parts if fnmatchcase(character, part)} for character in alphabet}
    must = len(wanted)
    begin: _State = tuple(map(_past_stars, written))
    known, reached = {begin}, [("", begin)]
    for _ in range(longest + 1):
        for name, state in reached:
            ends = [() in rests for rests in state]
            if all(ends[:must]) and not any(ends[must:]):
                return name
        further = []
        for (name, state), character in product(reached, alphabet):
            after: _State = tuple(_after(rests, fitting[character]) for rests in state)
            if all(after[:must]) and after not in known:
                known.add(after)
                further.append((name + character, after))
        if len(known) > MOST_STATES:
            return wanted[0][0]
        reached = further
    return None


def _after(rests: Collection[_Rest], fitting: Collection[str]) -> frozenset[_Rest]:
    """Give what is left of globs behind one more character, which these parts of them match."""
    return _past_stars(rest if rest[0] == "*" else rest[1:] for rest in rests if rest and rest[0] in fitting)


def _past_stars(rests: Iterable[_Rest]) -> frozenset[_Rest]:
    found = set()
    for each in rests:
        rest = each
        found.add(rest)
        while rest[:1] == ("*",):
            rest = rest[1:]
            found.add(rest)
    return frozenset(found)


def _parts(glob: str) -> Iterator[str]:
    """Cut a glob into stars and parts that match one character each."""
    position = 0
    while position < len(glob):
        end = position + 1
        if glob[position] == "[":
            # A bracket right behind the opening one, or behind its !, is one of the characters.
            first = end + (glob[end : end + 1] == "!")
            closing = glob.find("]", first + (glob[first : first + 1] == "]"))
            end = closing + 1 if closing >= 0 else end
        yield glob[position:end]
        position = end


def _told_apart(parts: Collection[str], characters: Collection[str]) -> list[str]:
    """Give one character of each kind that the parts of globs tell apart."""
    kinds: dict[tuple[bool, ...], str] = {}
    for character in characters:
        kinds.setdefault(tuple(fnmatchcase(character, part) for part in parts), character)
    return list(kinds.values())


def _around(groups: Sequence[Globs]) -> str:
    """Give characters of all kinds that some globs on any text tell apart: theirs, and the next ones to them."""
    theirs = {ord(character) for globs in groups for glob in globs for character in glob} | {ord("a")}
    near = {code + step for code in theirs for step in (-1, 0, 1)}
    return "".join(chr(code) for code in sorted(near) if 0 <= code <= 0x10FFFF)
