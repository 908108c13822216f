"""Worlds made by chance: blips and noise in all of them, and one outage in some."""

from __future__ import annotations

import random
from dataclasses import replace

from standby.recovery.decision.evidence import CLOCKS
from tests.standby.recovery.decision.world import BLIP, DISRUPTIONS, OUTAGE, PERIOD, Manner, Spell, World

APART = 2 * PERIOD
"""Seconds of health between two disruptions: closer together they are one, for who looks once a period."""

NOISES: tuple[Manner, ...] = ("throttles", "denies")

DEGRADED: tuple[Manner, ...] = ("slow", "no listing", "no defaults")

LATE = 3 * PERIOD
"""Seconds for which a watch may be missing."""


def calm_world(seed: int) -> World:
    """Make a world in which nothing is to be done."""
    chance = _chance(seed)
    seconds = 20 * PERIOD
    world = World(seconds=seconds, source=tuple(_blips(chance, 0.0, seconds)), seed=seed)
    return _strange(chance, _alarmed(chance, _noisy(chance, world)))


def degraded_world(seed: int) -> World:
    """Make a world in which the source serves slowly or in part for a long time, with blips before and after."""
    chance = _chance(seed)
    seconds = 20 * PERIOD
    begin, end = chance.uniform(2, 6) * PERIOD, chance.uniform(10, 16) * PERIOD
    blips = (*_blips(chance, 0.0, begin - APART), *_blips(chance, end + APART, seconds))
    degraded = Spell(begin, end, chance.choice(DEGRADED))
    return _strange(chance, _alarmed(chance, World(seconds=seconds, source=(*blips, degraded), seed=seed)))


def dark_world(seed: int) -> World:
    """Make a world in which the source is lost at some moment, after blips."""
    chance = _chance(seed)
    # Now and then at the very moment of a probe, or just after it.
    begin = chance.choice([10 * PERIOD, 10 * PERIOD + 3.01, chance.uniform(9 * PERIOD, 11 * PERIOD)])
    outage = Spell(begin, begin + chance.uniform(OUTAGE, 4 * OUTAGE), chance.choice(DISRUPTIONS))
    before = tuple(_blips(chance, 0.0, begin - APART))
    world = World(seconds=outage.end, source=(*before, outage), seed=seed)
    return _alarmed(chance, _noisy(chance, world))


def quiet_world(seed: int) -> World:
    """Make a world in which nothing happens but one outage."""
    chance = _chance(seed)
    begin = chance.uniform(2 * PERIOD, 3 * PERIOD)
    outage = Spell(begin, begin + 3 * OUTAGE, DISRUPTIONS[seed % len(DISRUPTIONS)])
    return World(seconds=outage.end, source=(outage,), slow=0.5, seed=seed)


def strange_world(seed: int) -> World:
    """Make a world with a long outage, clocks that differ, and a watch that is late, or that nobody has."""
    chance = _chance(seed)
    begin = chance.uniform(9 * PERIOD, 11 * PERIOD)
    outage = Spell(begin, begin + 4 * OUTAGE, chance.choice(DISRUPTIONS))
    world = World(seconds=outage.end, source=(*_blips(chance, 0.0, begin - APART), outage), seed=seed)
    return _strange(chance, _alarmed(chance, world))


def isolated_world(seed: int) -> World:
    """Make a world in which the machine that watches and evaluates loses its own network."""
    chance = _chance(seed)
    begin = chance.uniform(2 * PERIOD, 6 * PERIOD)
    lost = Spell(begin, begin + chance.uniform(OUTAGE, 3 * OUTAGE), chance.choice(["refuses", "hangs"]))
    return World(seconds=20 * PERIOD, isolated={"watch@a": (lost,)}, seed=seed)


def doubly_dark_world(seed: int) -> World:
    """Make a world in which the target is dark, too, when the source is lost, and comes back later."""
    chance = _chance(seed)
    begin = chance.uniform(3 * PERIOD, 6 * PERIOD)
    source = Spell(begin, begin + 20 * PERIOD, chance.choice(DISRUPTIONS))
    dark = chance.uniform(OUTAGE + PERIOD, 12 * PERIOD)
    standby = Spell(begin - chance.uniform(0, PERIOD), begin + dark, chance.choice(DISRUPTIONS))
    return World(seconds=source.end, source=(source,), standby=(standby,), seed=seed)


def _chance(seed: int) -> random.Random:
    return random.Random(seed)


def _blips(chance: random.Random, begin: float, end: float) -> list[Spell]:
    blips = []
    moment = begin + chance.uniform(0, 2 * APART)
    while moment < end - BLIP:
        long = chance.choice([chance.uniform(0.1, BLIP), chance.uniform(0.9 * BLIP, BLIP)])
        blips.append(Spell(moment, moment + long, chance.choice([*DISRUPTIONS, *NOISES, *DEGRADED])))
        moment += long + APART + chance.uniform(0, 2 * APART)
    return blips


def _noisy(chance: random.Random, world: World) -> World:
    """Add packet loss, slow answers and, half of the time, a second observer that may be flaky or restart."""
    observers: tuple[tuple[str, float], ...] = (("watch@a", 0.0),)
    flaky: dict[str, float] = {}
    restarts: dict[str, tuple[Spell, ...]] = {}
    if chance.random() < 0.5:
        observers = (*observers, ("watch@b", chance.uniform(0, PERIOD)))
        if chance.random() < 0.5:
            flaky["watch@b"] = chance.uniform(0.2, 1.0)
        else:
            gone = chance.uniform(0, world.seconds)
            name = chance.choice(["watch@a", "watch@b"])
            restarts[name] = (Spell(gone, gone + chance.uniform(0, 4 * PERIOD), "refuses"),)
    lost = chance.choice([0.0, 0.02, 0.05])
    slow = chance.choice([0.5, 2.5] if lost else [0.5, 2.5, 5.5])
    return replace(world, observers=observers, flaky=flaky, lost=lost, slow=slow, restarts=restarts)


def _alarmed(chance: random.Random, world: World) -> World:
    """Add alerts, most of them false, at any time, half of the time."""
    if chance.random() < 0.5:
        return world
    alerts = [(chance.uniform(0, world.seconds), chance.random() < 0.4) for _ in range(chance.randint(1, 30))]
    return replace(world, alerts=tuple(sorted(alerts)))


def _strange(chance: random.Random, world: World) -> World:
    """Let another machine evaluate, with a clock of its own, or let the watch be missing for a while; or both."""
    ahead = {name: chance.uniform(-1, 1) * CLOCKS.total_seconds() / 2 for name in ("a", "b", "c")}
    evaluates = chance.choice(["evaluation@a", "evaluation@c"])
    gone = [chance.uniform(0, world.seconds) for _ in range(chance.randint(0, 3))]
    missing = tuple(Spell(begin, begin + chance.uniform(0, LATE), "refuses") for begin in gone)
    # Where one observer is broken, another one has to look: nobody could tell them apart otherwise.
    restarts = world.restarts or ({} if world.flaky else {"watch@a": missing})
    return replace(world, clocks=ahead, evaluates=evaluates, restarts=restarts)
