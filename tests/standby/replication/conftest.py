"""How properties are tested here."""

from __future__ import annotations

from hypothesis import settings

# On a machine that has other work too, the time of one example says nothing.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
