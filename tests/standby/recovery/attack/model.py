"""What must hold whatever happens: two resources are never named, epochs only grow, nothing that was made is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from standby.config.plan import FailoverPolicy
from standby.recovery.failover.outage import UNSETTLED, AnswerState
from standby.recovery.watch import patience
from tests.standby.recovery.attack.world import FLOWS, HISTORY, PLAN, RESOURCES, TRAINED, Ran, World
from tests.standby.replication.world import START

EXITS = frozenset({0, 1, 2, 3, 4})
PRIMARY = "east"
PATIENCE = patience(FailoverPolicy()).total_seconds()
REQUIRED = frozenset({"file", "hook"})
"""Sinks without which nothing is switched."""

Content = tuple[str, int]
"""What an author wrote, and which labelled data it was trained with: the definition does not say that."""


def named_by(told: Mapping[str, Any] | None) -> str | None:
    """Give the resource that a map names."""
    endpoint = told["sources"].get(PRIMARY) if told else None
    return endpoint["resource"] if endpoint else None


@dataclass
class Model:
    """What was seen so far, and what was wrong with it.

    Attributes:
        made: what people made, and nobody but Standby replaced or deleted since.
        excused: sinks that somebody spoilt, or that were passed by force; until they are published to.
        sacrificed: what somebody orders to be replaced, with a training that no vault can keep.
        lost: somebody lost a file of the vault since the records were last whole.
        stood_still: for how many seconds a run was stopped in its middle.
    """

    world: World
    made: set[Content] = field(default_factory=set)
    excused: set[str] = field(default_factory=set)
    forced: bool = False
    sacrificed: set[Content] = field(default_factory=set)
    lost: bool = False
    stood_still: float = 0.0
    epochs: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    number: int = 0
    served: str = PRIMARY
    begun_at: datetime = START

    def __post_init__(self) -> None:
        self.world.changed = self.on_publication
        self.world.fenced = self.on_fence

    # What people do.

    def author(self, where: str, name: str, *, patch: bool = False) -> None:
        """Somebody makes or edits an analyzer."""
        self.number += 1
        self.forget(where, name)
        text = f"edit-{self.number:04}-"
        if patch:
            self.world.patch(where, name, text)
        else:
            self.world.author(where, name, text, self.number if name in TRAINED else 0)
        self.made.add(self.content(where, name))

    def delete(self, where: str, name: str) -> None:
        self.forget(where, name)
        self.world.delete(where, name)

    def forget(self, where: str, name: str) -> None:
        """Let an author do away with what is there."""
        if self.world.holds(where, name) is not None:
            self.made.discard(self.content(where, name))

    def content(self, where: str, name: str) -> Content:
        found = self.world.holds(where, name)
        assert found is not None
        return (found["description"], found.get("_training", 0))

    def spoilt(self, sink: str) -> None:
        """Somebody changes what a sink holds."""
        self.excused.add(sink)
        self.epochs.pop(sink, None)

    def lose(self) -> None:
        """Somebody loses records."""
        self.lost = True
        self.epochs.pop("fence", None)

    # What Standby does.

    def on_publication(self, sink: str) -> None:
        maps = self.world.maps()
        told = maps[sink]
        if told is None:
            return
        if not self.forced:
            self.excused.discard(sink)
        self._grow(sink, told["epoch"])
        named = {name: named_by(each) for name, each in maps.items() if name in REQUIRED - self.excused}
        if len({each for each in named.values() if each is not None}) > 1 and not self.forced:
            self.wrong.append(f"two resources are named: {named}")

    def on_fence(self) -> None:
        fence = self.world.fence()
        if fence is not None:
            self._grow("fence", fence["epoch"])

    def _grow(self, where: str, epoch: int) -> None:
        if epoch < self.epochs.get(where, 0):
            self.wrong.append(f"the epoch at {where} went from {self.epochs[where]} to {epoch}")
        self.epochs[where] = epoch

    @property
    def serving(self) -> str:
        """The resource that serves by the fence."""
        fence = self.world.fence()
        return str(fence["sides"][PRIMARY]["active"]) if fence else PRIMARY

    def before(self, order: tuple[str, ...]) -> None:
        """Note what an order allows."""
        self.begun_at = self.world.time.now()
        self.served = self.serving
        self.forced = self.forced or "--force" in order
        self.sacrificed |= self._given_up(order)

    def _given_up(self, order: tuple[str, ...]) -> set[Content]:
        """Give what is trained and may be replaced, since an order names it."""
        # Whoever keeps the primary's gives up what is trained where it serves, and nothing else.
        places = RESOURCES if "taught" in order else (self.served,) if "taught=primary" in order else ()
        return {self.content(where, name) for where in places for name in TRAINED if self.world.holds(where, name)}

    def after(self, order: tuple[str, ...], ran: Ran | None) -> None:
        """Judge a step; a command that was killed says nothing."""
        if ran is not None:
            self.judge_words(ran)
            self._judge_answers(ran)
        self.stood_still = 0.0
        replaced = self.sacrificed & self.made - self._at_resources()
        self.made = self.made - replaced | {(text, 0) for text, _ in replaced}  # Its definition is kept all the same.
        self.sacrificed = set()
        if self.forced:
            self.forced = False
            others = (None, self.serving)
            self.excused |= {name for name, each in self.world.maps().items() if named_by(each) not in others}
        self.check()

    def _judge_answers(self, ran: Ran) -> None:
        """Whatever attends to a plan whose resource is down acts, or people were told of it recently."""
        looks = ran.order[0] == "watch" or ran.order == ("evaluate", self.served)
        if ran.order[0] not in FLOWS or not looks or self.lost or self.world.outages[self.served] == "none":
            return
        if not ran.answers and self.stood_still > PATIENCE:
            return  # A watch whose time passed while it stood still has made too few looks: the next one attends.
        states = {answer.state for answer in ran.answers}
        acted = states == {AnswerState.CARRIED_OUT}
        told = states <= UNSETTLED and self.world.told_at > self.begun_at - HISTORY
        if not ran.answers or not (acted or told):
            self.wrong.append(f"{self.served} is down, and nobody acts or is told: {ran}")

    def judge_words(self, ran: Ran) -> None:
        if ran.status not in EXITS:
            self.wrong.append(f"an exit status that is none: {ran}")
        if "defect in Standby" in ran.err or "Traceback" in ran.err + ran.out:
            self.wrong.append(f"a defect: {ran}")
        if ran.status == 4 and ran.order[0] not in FLOWS and "→" not in ran.err + ran.out:
            self.wrong.append(f"no next action: {ran}")

    def check(self) -> None:
        self._nothing_is_lost()
        assert not self.wrong, "\n".join(self.wrong)

    def _nothing_is_lost(self) -> None:
        missing = self.made - self._at_resources()
        if not missing:
            return
        files = [path.read_bytes() for path in self.world.vault.rglob("*") if path.is_file()]
        for text, training in sorted(missing):
            if training:
                self.wrong.append(f"the training {training} of {text} is nowhere")
            elif not any(text.encode() in content for content in files):
                self.wrong.append(f"{text} is nowhere")

    def _at_resources(self) -> set[Content]:
        return {
            (found.get("description", ""), found.get("_training", 0))
            for where in RESOURCES
            for found in self.world.cloud.region(where).analyzers.values()
        }

    def records_are_whole(self) -> bool:
        """Say what `standby audit verify` finds; it may find something only where somebody lost files."""
        ran = self.world.run("audit", "verify")
        assert ran is not None
        if ran.status == 0:
            self.lost = False
            return True
        if not self.lost:
            self.wrong.append(f"nobody lost anything: {ran}")
        elif "--force fence" not in ran.out + ran.err:
            self.wrong.append(f"it does not say how to go on: {ran}")
        return False


def records_of(world: World) -> dict[str, list[str]]:
    """Name the files of the vault that may be lost."""
    return {
        "fence": [f"recovery/{PLAN}/fence.json"],
        "switch": [f"recovery/{PLAN}/switch.json"],
        "log": [f"audit/{PLAN}.jsonl", f"audit/{PLAN}.head.json"],
        "head": [f"audit/{PLAN}.head.json"],
        "ledgers": [str(path.relative_to(world.vault)) for path in (world.vault / "ledger").rglob("*.jsonl")],
        "index": [f"snapshots/{PLAN}/index.jsonl"],
    }
