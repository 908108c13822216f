"""One step of a copy each: thin Prefect tasks over `standby.replication.steps`."""

from tasks.add_defaults import add_defaults
from tasks.authorize import authorize
from tasks.copy import copy
from tasks.poll import poll
from tasks.validate_deployments import validate_deployments
from tasks.verify import verify

__all__ = ["add_defaults", "authorize", "copy", "poll", "validate_deployments", "verify"]
