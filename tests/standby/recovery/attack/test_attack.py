"""Whatever is attacked, and whenever a run is killed: what must hold holds, and once calm it ends well."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.standby.recovery.attack.machine import Process, booted
from tests.standby.recovery.attack.model import PRIMARY, Model, named_by, records_of
from tests.standby.recovery.attack.world import ANALYZERS, FAMILY, PLAN, RESOURCES, Outage, Ran, World

REASON = ("--reason", "an attack")
FAILOVERS = st.tuples(
    st.just("failover"),
    st.just(PLAN),
    st.just("--to"),
    st.sampled_from(RESOURCES),
    st.just("--yes"),
).flatmap(
    lambda order: st.sampled_from(
        [
            order,
            (*order, "--planned"),
            (*order, "--unplanned"),
            (*order, "--unplanned", "--force", "cool-down"),
            (*order, "--force", "cool-down"),
            (*order, "--unplanned", "--force", "cool-down", "--force", "sinks"),
            (*order, "--unplanned", "--force", "readiness", "--force", "cool-down", "--force", "sync"),
        ]
    )
)
OTHERS = st.sampled_from(
    [
        ("replicate", PLAN),
        ("replicate", PLAN, "--on-existing", "replace"),
        ("replicate", PLAN, "--on-existing", "replace", "--force", "taught"),
        ("check", PLAN),
        ("status", PLAN),
        ("snapshot", PLAN),
        ("restore", PLAN, "--to", "west"),
        ("restore", PLAN, "--to", "east"),
        ("commit", PLAN, "--yes"),
        ("failback", PLAN, "--yes"),
        ("failback", PLAN, "--yes", "--keep", "invoice=standby", "--keep", "taught=standby", "--force", "taught"),
        ("drill", PLAN, "--to", "west"),
        ("automation", "off", *REASON),
        ("automation", "on"),
    ]
)
EVALUATIONS = st.sampled_from([("watch",), ("watch",), *(("evaluate", name) for name in RESOURCES)])
ORDERS = st.one_of(FAILOVERS, OTHERS, EVALUATIONS)


class Attack(RuleBasedStateMachine):
    """Whatever may happen.

    Attributes:
        steps: one for each that was done in this process.
    """

    steps: ClassVar[list[int]] = []

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.world = World(folder)
        self.model = Model(self.world)
        self.stack.enter_context(booted(self.world.machine))
        self.older: dict[str, bytes] = {}
        self.older_map: bytes | None = None
        self.older_heard: Any = None
        self.story: list[str] = []
        self.stuck = False
        self.end = 0
        self.watched = False

    @invariant()
    def is_counted(self) -> None:
        self.steps.append(1)

    @initialize(end=st.integers(0, 3), automatic=st.sampled_from([True, True, False]))
    def begin(self, end: int, automatic: bool) -> None:
        self.end = end % 2
        self.watched = end > 1
        self.world.configure(automatic=automatic)
        for name in ANALYZERS:
            self.model.author("east", name)
        for order in (("replicate", PLAN), ("commit", PLAN, "--yes"), ("snapshot", PLAN)):
            self.done(*order)
        self.remember()

    def remember(self) -> None:
        files = [path for path in self.world.vault.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
        self.older = {str(path.relative_to(self.world.vault)): path.read_bytes() for path in files}
        self.older_map = self.world.file.read_bytes() if self.world.file.exists() else None
        self.older_heard = self.world.hook.heard

    def order(self, *order: str, process: Process | None = None) -> Ran | None:
        self.model.before(order)
        ran = self.world.run(*order, process=process)
        self.story.append(str(ran) if ran is not None else f"standby {' '.join(order)} -> killed")
        self.model.after(order, ran)
        self.model.records_are_whole()
        self.model.check()
        return ran

    def done(self, *order: str, status: int = 0) -> Ran:
        ran = self.order(*order)
        assert ran is not None
        self.stuck = ran.status != status
        assert not self.stuck, "\n".join(self.story[-12:])
        return ran

    # What people and the world do.

    @rule(where=st.sampled_from([*RESOURCES, PRIMARY, PRIMARY]), name=st.sampled_from(ANALYZERS), patch=st.booleans())
    def edit(self, where: str, name: str, patch: bool) -> None:
        # Nobody edits what is being deleted: the service would take the edit away with it.
        self.model.author(where, name, patch=patch and self.world.can_be_edited(where, name))
        self.story.append(f"{name} is edited at {where}")

    @rule(where=st.sampled_from(RESOURCES), name=st.sampled_from(sorted(set(ANALYZERS) - FAMILY)))
    def delete(self, where: str, name: str) -> None:
        self.model.delete(where, name)
        self.story.append(f"{name} is deleted at {where}")

    @rule(
        where=st.sampled_from(["west", "north"]),
        name=st.sampled_from(ANALYZERS),
        status=st.sampled_from(["failed", "creating", "deleting"]),
    )
    def spoil(self, where: str, name: str, status: str) -> None:
        if where != self.model.serving and self.world.holds(where, name) is not None:
            self.model.forget(where, name)
            self.world.spoil(where, name, status)
            self.story.append(f"{name} at {where} is {status}")

    @rule(where=st.sampled_from([*RESOURCES, PRIMARY]), how=st.sampled_from(["none", "refuse", "hang", "unavailable"]))
    def outage(self, where: str, how: Outage) -> None:
        self.world.outages[where] = how
        self.story.append(f"{where}: {how}")

    @rule(
        file=st.sampled_from(["well", "fails", "deleted", "older"]),
        hook=st.sampled_from(["well", "fails", "hangs", "older"]),
        extra=st.sampled_from(["well", "fails"]),
    )
    def sinks(self, file: str, hook: str, extra: str) -> None:
        world = self.world
        self.story.append(f"sinks: file {file}, hook {hook}, extra {extra}")
        world.full = {name for name, mood in (("active", file), ("extra", extra)) if mood == "fails"}
        world.hook.mood = hook if hook in {"fails", "hangs"} else "well"  # type: ignore[assignment]
        if file in {"deleted", "older"}:
            self.model.spoilt("file")
            world.file.unlink(missing_ok=True)
        if file == "older" and self.older_map is not None:
            world.file.write_bytes(self.older_map)
        if hook == "older":
            self.model.spoilt("hook")
            world.hook.heard = self.older_heard

    @rule(full=st.booleans())
    def vault(self, full: bool) -> None:
        self.world.vault_is_full = full
        self.story.append(f"the vault is {'full' if full else 'well'}")

    @rule(seconds=st.sampled_from([10, 120, 7200]))
    def wait(self, seconds: int) -> None:
        self.world.time.seconds += seconds
        self.remember()

    @rule(what=st.sampled_from(["fence", "switch", "log", "head", "ledgers", "index"]), older=st.booleans())
    def lose(self, what: str, older: bool) -> None:
        for name in records_of(self.world)[what]:
            path = self.world.vault / name
            path.unlink(missing_ok=True)
            if older and name in self.older:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.older[name])
        self.model.lose()
        self.story.append(f"{what} is {'put back' if older else 'lost'}")

    # What is run.

    @rule(order=FAILOVERS)
    def fail_over(self, order: tuple[str, ...]) -> None:
        self.order(*order)

    @rule(order=OTHERS)
    def command(self, order: tuple[str, ...]) -> None:
        self.order(*order)

    @rule(order=EVALUATIONS)
    def evaluate(self, order: tuple[str, ...]) -> None:
        self.order(*order)

    @rule(order=ORDERS, boundary=st.integers(1, 110))
    def killed(self, order: tuple[str, ...], boundary: int) -> None:
        self.order(*order, process=Process(dies_at=boundary))

    @rule(
        order=ORDERS,
        other=ORDERS,
        boundary=st.integers(1, 110),
        dies_at=st.one_of(st.none(), st.integers(1, 110)),
    )
    def two_at_once(self, order: tuple[str, ...], other: tuple[str, ...], boundary: int, dies_at: int | None) -> None:
        def meanwhile() -> None:
            self.model.before(other)
            begun = self.world.time.seconds
            ran = self.world.run(*other, process=Process(dies_at=dies_at))
            self.model.stood_still = self.world.time.seconds - begun
            self.story.append(f"meanwhile, at {boundary} of {order[0]}: {ran}")
            if ran is not None:
                self.model.judge_words(ran)

        self.order(*order, process=Process(stops_at=boundary, meanwhile=meanwhile))

    @precondition(lambda self: self.model.lost)
    @rule()
    def go_on_by_force(self) -> None:
        self.order("commit", PLAN, "--yes", "--force", "fence", *REASON)

    def teardown(self) -> None:
        try:
            if self.world.vault.exists() and not self.model.wrong and not self.stuck:
                calm(self)
        finally:
            note("\n".join(self.story))  # Told of a failure only.
            self.stack.close()


ACTION = re.compile(rf"standby (failover|commit|failback) {PLAN}((?: --[a-z]+(?: (?!--)[a-z0-9.=-]+)?)*)")


def calm(attack: Attack) -> None:
    """Let everything be well again, do what is said to do, and see that all ends well."""
    world, model = attack.world, attack.model
    world.outages = dict.fromkeys(RESOURCES, "none")
    world.hook.mood = "well"
    world.full = set()
    world.vault_is_full = False
    world.end_deletions()
    world.time.seconds += 7200
    if not model.records_are_whole():
        # It may refuse, since a failover has not ended: the records are whole again all the same.
        attack.order("commit", PLAN, "--yes", "--force", "fence", *REASON)
        assert model.records_are_whole(), "\n".join(attack.story[-4:])
    attack.done("automation", "on")
    for _ in range(2 if attack.watched else 0):
        attack.order("watch")
    follow(attack)
    attack.done("commit", PLAN, "--yes")
    serving = model.serving
    if serving != PRIMARY:
        known = [name for name in ANALYZERS if world.holds(serving, name)]
        whose = ["primary", "standby"][attack.end]
        chosen = {name: whose if world.is_ready(PRIMARY, name) else "standby" for name in known}
        # What cannot be used where it serves, or refers to what is gone there, stays there, as the refusal says.
        chosen |= {name: "primary" for name in known if not world.can_be_copied(serving, name)}
        keep = [part for name in known for part in ("--keep", f"{name}={chosen[name]}")]
        forced = ["--force", "taught"] if chosen.get("taught") == "standby" else []
        attack.done("failback", PLAN, "--yes", *keep, *forced)
    forced = [part for name in ANALYZERS if world.holds(PRIMARY, name) for part in ("--force", name)]
    attack.done("replicate", PLAN, "--on-existing", "replace", *forced)
    attack.done("check", PLAN)
    attack.order("snapshot", PLAN)  # It tells what it lists again.
    attack.done("snapshot", PLAN)
    attack.done("watch")  # It notes that nothing of what people were told stands any more.
    attack.done("status", PLAN)
    named = {name: named_by(told) for name, told in world.maps().items()}
    assert set(named.values()) == {PRIMARY}, (named, attack.story[-12:])
    assert model.records_are_whole(), attack.story[-12:]
    model.check()


def follow(attack: Attack) -> None:
    """Do what `standby status` says about a failover, until it says nothing more about one."""
    for _ in range(6):
        ran = attack.order("status", PLAN)
        assert ran is not None
        found = [each for each in ACTION.finditer(ran.out) if each[1] != "failback"]
        if not found:
            return
        chosen = found[min(attack.end, len(found) - 1)]
        attack.order(chosen[1], PLAN, *chosen[2].rstrip(".").split(), "--yes")
    raise AssertionError("\n".join(["no end", *attack.story[-14:]]))


@pytest.mark.timeout(3600)
def test_once_calm_it_ends_well_whatever_was_attacked(chaos: bool, record_property: Callable[..., None]) -> None:
    examples, length, most = (10, 50, 2_000) if chaos else (5, 25, 1)
    Attack.steps.clear()
    while len(Attack.steps) < most:
        run_state_machine_as_test(
            Attack,
            settings=settings(
                max_examples=examples,
                stateful_step_count=length,
                # What is drawn anew each time is for the long run: a short one says the same of the same code.
                derandomize=not chaos,
                deadline=None,
                # Nothing is made smaller, which takes ten minutes: the story of a failure is told instead.
                phases=(Phase.reuse, Phase.generate),
                suppress_health_check=list(HealthCheck),
            ),
        )
    record_property("steps", len(Attack.steps))
