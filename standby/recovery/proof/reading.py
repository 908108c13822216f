"""An analysis as digests: what was read of a document never leaves this module.

Live and stored results are compared alike. A digest is made with a salt, the content and the path of the field, so
that equal values of two fields or two baselines cannot be seen to be equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from standby.document import JsonObject
from standby.recovery.proof.records import Reading

AUTOMATIC = "automatic"  # The method of a field whose schema names none


@dataclass(frozen=True)
class Expected:
    """What the definition of an analyzer lets expect of each of its readings."""

    # By category, "" for the analyzer itself, by path of a field: extract, classify, generate or AUTOMATIC.
    methods: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    categories: frozenset[str] = frozenset()  # of which a child analyzer reads fields

    def method(self, content: str, path: str) -> str:
        """Give the method of a field of a content, by its key in a `Reading`."""
        raise NotImplementedError


def read_analysis(analysis: Any, salt: bytes) -> Reading:
    """Make digests of an analysis that succeeded: of two readings with the same salt, equal values have equal ones."""
    raise NotImplementedError


def methods_of(definition: JsonObject, children: Mapping[str, JsonObject]) -> Expected:
    """Say what is expected of an analyzer's readings.

    Args:
        children: definitions by id of the custom analyzers that it refers to, at any depth; others may be there, too.
    """
    raise NotImplementedError
