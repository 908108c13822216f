"""Whatever people do at both resources between a failover and its failback: no edit is lost, nothing loops."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.failback.failback import fail_back, report_divergence
from standby.recovery.failback.report import Choice, FailbackReport
from standby.replication.verdict import Action
from tests.standby.recovery.failback.world import World
from tests.standby.recovery.stages import DirectStages
from tests.standby.replication.world import recovery_plan

Where = Literal["east", "west"]
Edit = tuple[Where, str, str]
Content = tuple[str, int]
"""What an author wrote, and which labelled data it was trained with: the definition does not say that."""

FROM_THE_START = ("plain", "other", "child", "parent", "trained", "taught")
LATER = ("new", "new-trained")
TRAINED = frozenset({"trained", "taught", "new-trained"})
FAMILY = frozenset({"child", "parent"})
"""What refers to each other stays: a parent without its child is another story."""

DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["east", "west"]),
        st.sampled_from(["patch", "put", "retrain", "delete", "create"]),
        st.sampled_from(FROM_THE_START + LATER),
    ),
    max_size=10,
)
CHOICES = st.fixed_dictionaries({name: st.sampled_from(["home", "standby"]) for name in FROM_THE_START + LATER})
ROUNDS = st.lists(st.tuples(DEEDS, CHOICES), min_size=1, max_size=3)


class Story:
    """A world in which every edit is told from every other."""

    def __init__(self, template: str) -> None:
        self.world = World(recovery_plan(target_id=template, exclude=["theirs*"]))
        self.template = template
        self.number = 0
        for name in FROM_THE_START:
            self.make("east", name)
        self.world.create("west", "theirs")

    def make(self, where: Where, name: str) -> None:
        children = ["child"] if name == "parent" else []
        more = self.fresh(name)
        self.world.create(where, name.removesuffix("-dr"), *children, trained=self.is_trained(name), **more)
        if name.endswith("-dr"):
            made = self.world.at(where).pop(name.removesuffix("-dr"))
            self.world.at(where)[name] = {**made, "analyzerId": name}

    def fresh(self, name: str) -> dict[str, Any]:
        self.number += 1
        told: dict[str, Any] = {"description": f"edit {self.number}"}
        return told | ({"_training": self.number} if self.is_trained(name) else {})

    def is_trained(self, name: str) -> bool:
        return name.removesuffix("-dr") in TRAINED

    def called(self, name: str, where: Where) -> str:
        """What an analyzer is called at a side now."""
        if where == "east":
            return name
        copy = name if name == "child" else self.template.replace("{id}", name)
        return copy if name in FROM_THE_START or copy in self.world.at("west") else name

    def do(self, where: Where, edit: str, analyzer: str) -> None:
        name = self.called(analyzer, where)
        held = self.world.at(where)
        if name not in held:
            self.make(where, name)
        elif edit == "delete" and analyzer not in FAMILY and not self.has_leftover(where, analyzer):
            self.world.delete(where, name)
        elif edit == "retrain" and analyzer in TRAINED:
            self.number += 1
            held[name]["_training"] = self.number
            self.world.retrain(where, name)
        else:
            text = self.fresh(name)["description"]
            (self.world.put if edit in {"put", "create"} else self.world.patch)(where, name, text)

    def has_leftover(self, where: Where, analyzer: str) -> bool:
        """Whether an older analyzer would seem to take the place of one that is deleted."""
        return where == "west" and analyzer in LATER and self.called(analyzer, where) != analyzer

    def content(self, where: Where, analyzer: str) -> Content | None:
        found = self.world.at(where).get(self.called(analyzer, where))
        return None if found is None else content_of(found)

    def contents(self) -> set[Content]:
        return {content_of(each) for where in ("east", "west") for each in self.world.at(where).values()}

    async def run_failback(self, keep: Mapping[str, Choice]) -> FailbackReport:
        async with self.world.context(f"run-{self.number}") as context:
            report = await fail_back(context, "", DirectStages(), keep=keep)
        self.world.pass_time()
        return report

    async def undecided(self) -> set[str]:
        async with self.world.context() as context:
            report = await report_divergence(context)
        assert report is not None
        return set(report.undecided)


def content_of(body: Mapping[str, Any]) -> Content:
    return (body["description"], body.get("_training", 0))


def winner(before: Content | None, primary: Content | None, standby: Content | None, choice: Choice) -> Content | None:
    """What home should serve: the side that has changed; where both have, the one that was chosen."""
    if primary == standby or standby is None or standby == before:
        return primary or standby
    if primary is None or primary == before:
        return standby
    return primary if choice == "home" else standby


async def live_through(rounds: Sequence[tuple[Sequence[Edit], Mapping[str, Choice]]], template: str) -> None:
    story = Story(template)
    world = story.world
    await world.replicate()
    for edits_made, choices in rounds:
        analyzers = FROM_THE_START + LATER
        before = {name: story.content("east", name) for name in analyzers}
        await world.serve_at("west")
        for edit in edits_made:
            story.do(*edit)
        sides = {name: (story.content("east", name), story.content("west", name)) for name in analyzers}
        edits = story.contents()
        conflicts = {
            name
            for name, (primary, there) in sides.items()
            if primary is not None and there is not None and len({before[name], primary, there}) == 3
        }
        assert await story.undecided() == conflicts

        report = await story.run_failback({name: choices[name] for name in conflicts})

        assert (report.state, report.problems) == ("failed_back", ()), report
        for name, (primary, there) in sides.items():
            assert story.content("east", name) == winner(before[name], primary, there, choices[name]), name
            if story.content("east", name) is not None:
                assert story.content("west", name) == story.content("east", name), name
        assert edits <= story.contents() | {content_of(each) for each in world.kept()}
        assert "theirs" not in world.at("east")
        await nothing_more_to_do(story)


async def nothing_more_to_do(story: Story) -> None:
    accepted = dict(story.world.service.accepted)
    forward = await story.world.replicate()
    again = await story.run_failback({})

    assert {item.action for item in forward.items} <= {Action.SKIP}
    assert again.state == "at_home"
    assert story.world.service.accepted == accepted


@given(ROUNDS, st.sampled_from(["{id}", "{id}-dr"]))
def test_no_edit_is_lost_and_nothing_is_copied_to_and_fro(
    rounds: list[tuple[list[Edit], dict[str, Choice]]], template: str
) -> None:
    asyncio.run(live_through(rounds, template))
