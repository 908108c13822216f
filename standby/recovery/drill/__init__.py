"""Rehearsing a failover, and what is kept of it."""
