"""The base of a recovery's errors."""

from __future__ import annotations

from standby.errors import StandbyError


class RecoveryError(StandbyError):
    """Base of this package's errors."""
