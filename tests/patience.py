"""How long tests wait for what must come: only something that hangs takes as long, on the slowest machine."""

PATIENCE = 300.0
"""Seconds; below the limit of pytest-timeout, so that the test that waits says what for."""
