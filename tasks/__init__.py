"""One step of a copy each: thin Prefect tasks over `standby.replication.steps`."""

from standby.tasks.copy import add_defaults, authorize, copy, poll, validate_deployments, verify

__all__ = ["add_defaults", "authorize", "copy", "poll", "validate_deployments", "verify"]
