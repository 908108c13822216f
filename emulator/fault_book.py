"""The faults that are yet to happen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emulator.faults import CallKind, Delay, FaultRule, Instead, Twist


@dataclass(frozen=True)
class Happening:
    """What happens to one call.

    Attributes:
        delay: seconds.
        instead: what takes the place of the answer.
        twist: what the service does wrong inside.
    """

    delay: float = 0.0
    instead: Instead | None = None
    twist: Twist | None = None


NOTHING = Happening()


class _Armed:
    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self._to_pass = rule.after
        self._left = rule.times

    @property
    def spent(self) -> bool:
        return self._left == 0

    def count(self) -> bool:
        """Count a matching call, and say whether the fault may happen to it."""
        if self._to_pass:
            self._to_pass -= 1
            return False
        return True

    def spend(self) -> None:
        if self._left is not None:
            self._left -= 1


class FaultBook:
    """Rules in the order they came.

    To one call all delays happen that are due, but only one fault that takes the place of the answer and
    one twist of the service's work: the others wait for the next call.
    """

    def __init__(self, rules: Iterable[FaultRule] = ()) -> None:
        self._armed = [_Armed(rule) for rule in rules]

    def add(self, rules: Iterable[FaultRule]) -> None:
        """Add rules behind those that are there."""
        self._armed.extend(_Armed(rule) for rule in rules)

    def clear(self) -> None:
        """Forget all rules."""
        self._armed.clear()

    def next(self, resource: str, kind: CallKind, analyzer: str | None) -> Happening:
        """Say what happens to a call, and use up the rules that say so."""
        if not self._armed:
            return NOTHING
        delay, instead, twist = 0.0, None, None
        waiting = [
            armed for armed in self._armed if armed.rule.matches(resource, kind, analyzer) and armed.count()
        ]
        # Those that take the place of the answer come first: a call that is not carried out spends no twist.
        for armed in sorted(waiting, key=lambda armed: isinstance(armed.rule.fault, Twist)):
            fault = armed.rule.fault
            if isinstance(fault, Delay):
                delay += fault.seconds
            elif isinstance(fault, Instead) and instead is None:
                instead = fault
            elif isinstance(fault, Twist) and twist is None and (instead is None or instead.process):
                twist = fault
            else:
                continue
            armed.spend()
        self._armed = [armed for armed in self._armed if not armed.spent]
        return Happening(delay, instead, twist)
