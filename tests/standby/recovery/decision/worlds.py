"""Worlds made by chance: blips and noise in all of them, and one outage in some."""

from __future__ import annotations

import random

from tests.standby.recovery.decision.world import BLIP, OUTAGE, PERIOD, Manner, Spell, World

APART = 2 * PERIOD
"""Seconds of health between two disruptions: closer together they are one, for who looks once a period."""

DISRUPTIONS: tuple[Manner, ...] = ("refuses", "hangs", "fails")

NOISES: tuple[Manner, ...] = ("throttles", "denies")


def calm_world(seed: int) -> World:
    """Make a world in which nothing is to be done."""
    chance = _chance(seed)
    seconds = 20 * PERIOD
    return _noisy(chance, World(seconds=seconds, source=tuple(_blips(chance, 0.0, seconds)), seed=seed))


def dark_world(seed: int) -> World:
    """Make a world in which the source is lost at some moment, after blips."""
    chance = _chance(seed)
    # Now and then at the very moment of a probe, or just after it.
    begin = chance.choice([10 * PERIOD, 10 * PERIOD + 3.01, chance.uniform(9 * PERIOD, 11 * PERIOD)])
    outage = Spell(begin, begin + chance.uniform(OUTAGE, 4 * OUTAGE), chance.choice(DISRUPTIONS))
    before = tuple(_blips(chance, 0.0, begin - APART))
    return _noisy(chance, World(seconds=outage.end, source=(*before, outage), seed=seed))


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
        blips.append(Spell(moment, moment + long, chance.choice([*DISRUPTIONS, *NOISES])))
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
    return World(
        seconds=world.seconds,
        source=world.source,
        observers=observers,
        flaky=flaky,
        lost=lost,
        slow=chance.choice([0.5, 2.5] if lost else [0.5, 2.5, 5.5]),
        restarts=restarts,
        seed=world.seed,
    )
